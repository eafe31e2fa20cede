"""Drawing in units that scale with the window: panels, lines and text in the viewer's own typeface."""

from __future__ import annotations

import io
import re
from collections import OrderedDict
from importlib import resources
from typing import Literal

import pygame

from longlive_env.viewer.scripts import BOX, OWN, Scripts
from longlive_env.viewer.theme import CAP, INK, LINE, PAD_CAP, PANEL, RADIUS, TEXT, Colour

KEPT_TEXTS_BYTES, KEPT_FONTS = 4 << 20, 40
FONTS = "fonts"
KEY_SIZE = 0.58  # of the letters on a key, in its height

Align = Literal["left", "centre", "right"]

# Parts that a line may be broken between, each with the space before it: single ideographs, kana and wide
# punctuation, and words of all other text.
_WIDE = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uff60"
_PIECES = re.compile(rf"(\s*)([{_WIDE}]|[^\s{_WIDE}]+)")


class Typeface:
    """The viewer's fonts, with a cache of recently drawn texts.

    Characters that its own fonts lack are drawn with a system font, or as boxes.
    """

    def __init__(self) -> None:
        pygame.font.init()
        folder = resources.files("longlive_env.viewer") / FONTS
        self._data = {
            bold: (folder / f"Inter-{'SemiBold' if bold else 'Regular'}.otf").read_bytes()
            for bold in (False, True)
        }
        self._scripts = Scripts(self._data[False])
        self._fonts: OrderedDict[tuple[int, bool, str], pygame.font.Font] = OrderedDict()
        self._texts: OrderedDict[tuple[str, int, bool, Colour], pygame.Surface] = OrderedDict()
        self._texts_bytes = 0

    def font(self, pixels: int, bold: bool, face: str = OWN) -> pygame.font.Font:
        """Return a font of this size, from a system font's file if given."""
        key = (pixels, bold, face)
        if key not in self._fonts:
            self._fonts[key] = pygame.font.Font(face or io.BytesIO(self._data[bold]), pixels)
            self._fonts[key].bold = bold and face != OWN
            while len(self._fonts) > KEPT_FONTS:
                self._fonts.popitem(last=False)
        self._fonts.move_to_end(key)
        return self._fonts[key]

    def width(self, text: str, pixels: int, bold: bool) -> int:
        """Return the width of a rendered text."""
        runs = self._scripts.runs(_drawable(text))
        return sum(self._run_width(face, run, pixels, bold) for face, run in runs)

    def render(self, text: str, pixels: int, bold: bool, colour: Colour) -> pygame.Surface:
        """Render a text."""
        key = (text, pixels, bold, colour)
        if key in self._texts:
            self._texts.move_to_end(key)
            return self._texts[key]
        runs = self._scripts.runs(_drawable(text))
        if len(runs) == 1 and runs[0][0] == OWN:
            picture = self._run(OWN, runs[0][1], pixels, bold, colour)
        else:
            picture = self._joined(runs, pixels, bold, colour)
        self._texts[key] = picture
        self._texts_bytes += _nbytes(picture)
        while self._texts_bytes > KEPT_TEXTS_BYTES and len(self._texts) > 1:
            self._texts_bytes -= _nbytes(self._texts.popitem(last=False)[1])
        return picture

    def _joined(self, runs: list[tuple[str, str]], pixels: int, bold: bool, colour: Colour) -> pygame.Surface:
        """Render runs side by side on one baseline, with the line height of the viewer's own font."""
        own = self.font(pixels, bold)
        widths = [self._run_width(face, run, pixels, bold) for face, run in runs]
        picture = pygame.Surface((sum(widths), own.get_height()), pygame.SRCALPHA)
        left = 0
        for (face, run), width in zip(runs, widths, strict=True):
            font = own if face == BOX else self.font(pixels, bold, face)
            above = own.get_ascent() - font.get_ascent()
            picture.blit(self._run(face, run, pixels, bold, colour), (left, above))
            left += width
        return picture

    def _run(self, face: str, run: str, pixels: int, bold: bool, colour: Colour) -> pygame.Surface:
        if face == BOX:
            return self._boxes(self._scripts.boxes(run), pixels, bold, colour)
        font = self.font(pixels, bold, face)
        if font.size(run)[0]:
            return font.render(run, True, colour)
        # Such as a lone joiner, which pygame refuses to draw.
        return pygame.Surface((0, font.get_height()), pygame.SRCALPHA)

    def _run_width(self, face: str, run: str, pixels: int, bold: bool) -> int:
        if face == BOX:
            return self._scripts.boxes(run) * _box_width(pixels)
        return self.font(pixels, bold, face).size(run)[0]

    def _boxes(self, count: int, pixels: int, bold: bool, colour: Colour) -> pygame.Surface:
        font, width = self.font(pixels, bold), _box_width(pixels)
        picture = pygame.Surface((count * width, font.get_height()), pygame.SRCALPHA)
        height, line = round(0.72 * pixels), max(1, pixels // 14)
        for place in range(count):
            box = pygame.Rect(place * width + line, font.get_ascent() - height, width - 2 * line, height)
            pygame.draw.rect(picture, colour, box, line)
        return picture


class Canvas:
    """Draws on a surface in units.

    Args:
        surface: surface of the window, in pixels.
        typeface: typeface of texts.
        scale: pixels per unit.

    Attributes:
        surface: surface of the window, in pixels.
        scale: pixels per unit.
    """

    def __init__(self, surface: pygame.Surface, typeface: Typeface, scale: float = 1.0) -> None:
        self.surface = surface
        self.scale = scale
        self._typeface = typeface

    def on(self, surface: pygame.Surface) -> Canvas:
        """Return a canvas of the same scale on another surface."""
        return Canvas(surface, self._typeface, self.scale)

    def fitting(self, width: float, height: float, area: pygame.Rect) -> Canvas:
        """Return this canvas, or one of smaller scale if so many units do not fit into the area."""
        scale = min(self.scale, area.width / width, area.height / height)
        return self if scale == self.scale else Canvas(self.surface, self._typeface, scale)

    def px(self, units: float) -> int:
        """Convert units to whole pixels, at least one if not zero."""
        return max(1, round(units * self.scale)) if units > 0 else 0

    def fill(self, rect: pygame.Rect, colour: Colour, *, radius: float = 0, alpha: int = 255) -> None:
        """Draw a filled rectangle."""
        if rect.width <= 0 or rect.height <= 0:
            return
        if alpha == 255:
            pygame.draw.rect(self.surface, colour, rect, border_radius=self.px(radius))
            return
        layer = pygame.Surface(rect.size, pygame.SRCALPHA)
        pygame.draw.rect(layer, (*colour, alpha), layer.get_rect(), border_radius=self.px(radius))
        self.surface.blit(layer, rect)

    def outline(self, rect: pygame.Rect, colour: Colour, *, radius: float = 0, width: float = 1) -> None:
        """Draw the outline of a rectangle."""
        pygame.draw.rect(self.surface, colour, rect, self.px(width), border_radius=self.px(radius))

    def panel(self, rect: pygame.Rect, *, alpha: int = 236) -> None:
        """Draw a raised panel with a shadow."""
        for spread, strength in ((10, 26), (5, 40)):
            self.fill(rect.inflate(*[2 * self.px(spread)] * 2), INK, radius=RADIUS + spread, alpha=strength)
        self.fill(rect, PANEL, radius=RADIUS, alpha=alpha)
        self.outline(rect, LINE, radius=RADIUS)

    def dim(self, alpha: int) -> None:
        """Darken everything that was drawn so far, in place: a layer of a large window's size takes time."""
        self.surface.fill([255 - alpha] * 3, special_flags=pygame.BLEND_RGB_MULT)
        self.surface.fill([part * alpha // 255 for part in INK], special_flags=pygame.BLEND_RGB_ADD)

    def text(
        self,
        text: str,
        at: tuple[int, int],
        size: float,
        colour: Colour = TEXT,
        *,
        bold: bool = False,
        align: Align = "left",
        width: int | None = None,
    ) -> pygame.Rect:
        """Draw a line of text.

        Args:
            text: text; an ellipsis stands for what does not fit.
            at: point on the upper edge, at the left, middle or right, in pixels.
            size: size of the letters, in units.
            colour: colour of the letters.
            bold: whether the text is bold.
            align: which point `at` is.
            width: maximum width in pixels.

        Returns:
            The area of the text.
        """
        shown = text if width is None else self.cut(text, size, width, bold=bold)
        picture = self._typeface.render(shown, self.px(size), bold, colour)
        rect = picture.get_rect(top=at[1])
        if align == "left":
            rect.left = at[0]
        elif align == "right":
            rect.right = at[0]
        else:
            rect.centerx = at[0]
        self.surface.blit(picture, rect)
        return rect

    def width(self, text: str, size: float, *, bold: bool = False) -> int:
        """Return the width of a text in pixels."""
        return self._typeface.width(text, self.px(size), bold)

    def line_height(self, size: float, *, bold: bool = False) -> int:
        """Return the height of a line in pixels."""
        return self._typeface.font(self.px(size), bold).get_linesize()

    def cut(self, text: str, size: float, width: int, *, bold: bool = False) -> str:
        """Cut a text to fit."""
        if self.width(text, size, bold=bold) <= width:
            return text
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            fits = self.width(text[:middle].rstrip() + "…", size, bold=bold) <= width
            low, high = (middle, high) if fits else (low, middle - 1)
        return text[:low].rstrip() + "…" if low else ""

    def wrap(self, text: str, size: float, width: int, lines: int) -> list[str]:
        """Wrap a text into at most `lines` lines that fit, broken at spaces and beside ideographs."""
        out = [""]
        for piece in _PIECES.finditer(text):
            gap, word = piece.groups()
            longer = f"{out[-1]}{' ' * bool(gap and out[-1])}{word}"
            if out[-1] and len(out) < lines and self.width(longer, size) > width:
                out.append(word)
            else:
                out[-1] = longer
        return [self.cut(line, size, width) for line in out]

    def key_width(self, label: str, height: int) -> int:
        """Return the width of a key of this height."""
        return max(height, self.width(label, height / self.scale * KEY_SIZE, bold=True) + self.px(12))

    def key(
        self, label: str, at: tuple[int, int], *, height: int, align: Align = "left", pad: bool = False
    ) -> pygame.Rect:
        """Draw a key or, with `pad`, a gamepad button, as wide as its label needs."""
        size, width = height / self.scale * KEY_SIZE, self.key_width(label, height)
        rect = pygame.Rect(at[0] - (width if align == "right" else 0), at[1], width, height)
        radius = height / 2 / self.scale if pad else 4
        cap = pygame.Rect(rect.x, rect.y, rect.width, rect.height - self.px(2))
        self.fill(rect, LINE, radius=radius)
        self.fill(cap, PAD_CAP if pad else CAP, radius=radius)
        top = rect.y + (rect.height - self.px(2) - self.line_height(size, bold=True)) // 2
        self.text(label, (rect.centerx, top), size, bold=True, align="centre")
        return rect


def _drawable(text: str) -> str:
    """Replace the one character that pygame refuses to draw."""
    return text.replace("\0", "\ufffd")


def _box_width(pixels: int) -> int:
    """Return the width of the box that stands for a character."""
    return max(4, round(0.64 * pixels))


def _nbytes(picture: pygame.Surface) -> int:
    return picture.get_pitch() * picture.get_height()
