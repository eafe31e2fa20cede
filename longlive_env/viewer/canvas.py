"""Drawing in units that grow with the window: panels, lines and text in the viewer's own typeface."""

from __future__ import annotations

import io
from collections import OrderedDict
from importlib import resources
from typing import Literal

import pygame

from longlive_env.viewer.theme import CAP, INK, LINE, PAD_CAP, PANEL, RADIUS, TEXT, Colour

KEPT_TEXTS_BYTES, KEPT_FONTS = 4 << 20, 20
FONTS = "fonts"

Align = Literal["left", "centre", "right"]


class Typeface:
    """The viewer's fonts and the texts that were drawn with them of late."""

    def __init__(self) -> None:
        pygame.font.init()
        folder = resources.files("longlive_env.viewer") / FONTS
        self._data = {
            bold: (folder / f"Inter-{'SemiBold' if bold else 'Regular'}.otf").read_bytes()
            for bold in (False, True)
        }
        self._fonts: OrderedDict[tuple[int, bool], pygame.font.Font] = OrderedDict()
        self._texts: OrderedDict[tuple[str, int, bool, Colour], pygame.Surface] = OrderedDict()
        self._texts_bytes = 0

    def font(self, pixels: int, bold: bool) -> pygame.font.Font:
        """A font of this size."""
        if (pixels, bold) not in self._fonts:
            self._fonts[pixels, bold] = pygame.font.Font(io.BytesIO(self._data[bold]), pixels)
            while len(self._fonts) > KEPT_FONTS:
                self._fonts.popitem(last=False)
        self._fonts.move_to_end((pixels, bold))
        return self._fonts[pixels, bold]

    def render(self, text: str, pixels: int, bold: bool, colour: Colour) -> pygame.Surface:
        """A picture of a text."""
        key = (text, pixels, bold, colour)
        if key in self._texts:
            self._texts.move_to_end(key)
            return self._texts[key]
        font = self.font(pixels, bold)
        if font.size(text)[0]:
            picture = font.render(text, True, colour)
        else:  # such as a joiner alone, which pygame refuses to draw
            picture = pygame.Surface((0, font.get_height()), pygame.SRCALPHA)
        self._texts[key] = picture
        self._texts_bytes += _nbytes(picture)
        while self._texts_bytes > KEPT_TEXTS_BYTES and len(self._texts) > 1:
            self._texts_bytes -= _nbytes(self._texts.popitem(last=False)[1])
        return picture


class Canvas:
    """A surface that is drawn on in units.

    Args:
        surface: of the window, in pixels.
        typeface: what texts are drawn with.
        scale: pixels to a unit.

    Attributes:
        surface: the same.
        scale: the same.
    """

    def __init__(self, surface: pygame.Surface, typeface: Typeface, scale: float = 1.0) -> None:
        self.surface = surface
        self.scale = scale
        self._typeface = typeface

    def on(self, surface: pygame.Surface) -> Canvas:
        """A canvas of the same scale on another surface."""
        return Canvas(surface, self._typeface, self.scale)

    def fitting(self, width: float, height: float, area: pygame.Rect) -> Canvas:
        """This canvas if so many units fit into an area, or one of smaller scale on which they do."""
        scale = min(self.scale, area.width / width, area.height / height)
        return self if scale == self.scale else Canvas(self.surface, self._typeface, scale)

    def px(self, units: float) -> int:
        """Units as whole pixels, at least one for what is more than nothing."""
        return max(1, round(units * self.scale)) if units > 0 else 0

    def fill(self, rect: pygame.Rect, colour: Colour, *, radius: float = 0, alpha: int = 255) -> None:
        """A filled rectangle."""
        if rect.width <= 0 or rect.height <= 0:
            return
        if alpha == 255:
            pygame.draw.rect(self.surface, colour, rect, border_radius=self.px(radius))
            return
        layer = pygame.Surface(rect.size, pygame.SRCALPHA)
        pygame.draw.rect(layer, (*colour, alpha), layer.get_rect(), border_radius=self.px(radius))
        self.surface.blit(layer, rect)

    def outline(self, rect: pygame.Rect, colour: Colour, *, radius: float = 0, width: float = 1) -> None:
        """The outline of a rectangle."""
        pygame.draw.rect(self.surface, colour, rect, self.px(width), border_radius=self.px(radius))

    def panel(self, rect: pygame.Rect, *, alpha: int = 236) -> None:
        """A raised sheet with a shadow, over whatever is there."""
        for spread, strength in ((10, 26), (5, 40)):
            self.fill(rect.inflate(*[2 * self.px(spread)] * 2), INK, radius=RADIUS + spread, alpha=strength)
        self.fill(rect, PANEL, radius=RADIUS, alpha=alpha)
        self.outline(rect, LINE, radius=RADIUS)

    def dim(self, alpha: int) -> None:
        """Darken everything that was drawn so far."""
        self.fill(self.surface.get_rect(), INK, alpha=alpha)

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
        """A line of text.

        Args:
            text: what it says; dots stand for what does not fit.
            at: upper edge, and the left, middle or right of it, in pixels.
            size: in units.
            colour: of the letters.
            bold: whether they are heavy.
            align: what `at` means.
            width: greatest width in pixels.

        Returns:
            Where it stands.
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
        """Width of a text in pixels."""
        return self._typeface.font(self.px(size), bold).size(text)[0]

    def line_height(self, size: float, *, bold: bool = False) -> int:
        """Height of a line in pixels."""
        return self._typeface.font(self.px(size), bold).get_linesize()

    def cut(self, text: str, size: float, width: int, *, bold: bool = False) -> str:
        """The beginning of a text that fits."""
        if self.width(text, size, bold=bold) <= width:
            return text
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            fits = self.width(text[:middle].rstrip() + "…", size, bold=bold) <= width
            low, high = (middle, high) if fits else (low, middle - 1)
        return text[:low].rstrip() + "…" if low else ""

    def wrap(self, text: str, size: float, width: int, lines: int) -> list[str]:
        """A text in at most so many lines that fit."""
        out = [""]
        for word in text.split():
            longer = f"{out[-1]} {word}".strip()
            if out[-1] and self.width(longer, size) > width:
                out.append(word)
            else:
                out[-1] = longer
        if len(out) > lines:
            out = [*out[: lines - 1], " ".join(out[lines - 1 :])]
        return [self.cut(line, size, width) for line in out]

    def key(
        self, label: str, at: tuple[int, int], *, height: int, align: Align = "left", pad: bool = False
    ) -> pygame.Rect:
        """The picture of a key or, with `pad`, of a gamepad's button, as wide as its label needs."""
        size = height / self.scale * 0.58
        width = max(height, self.width(label, size, bold=True) + self.px(12))
        rect = pygame.Rect(at[0] - (width if align == "right" else 0), at[1], width, height)
        radius = height / 2 / self.scale if pad else 4
        cap = pygame.Rect(rect.x, rect.y, rect.width, rect.height - self.px(2))
        self.fill(rect, LINE, radius=radius)
        self.fill(cap, PAD_CAP if pad else CAP, radius=radius)
        top = rect.y + (rect.height - self.px(2) - self.line_height(size, bold=True)) // 2
        self.text(label, (rect.centerx, top), size, bold=True, align="centre")
        return rect


def _nbytes(picture: pygame.Surface) -> int:
    return picture.get_pitch() * picture.get_height()
