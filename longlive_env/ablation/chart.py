"""Line charts with bands of uncertainty, drawn with Pillow: small panels side by side, one legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageColor, ImageDraw, ImageFont

SCALE = 3  # drawn larger, then shrunk to smooth the lines
PANEL = (330, 210)  # pixels, axes and title included
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 26, 34
COLUMNS = 3
TEXT_SIZE, LEGEND = 12, 24
COLOURS = ("#1f5fbf", "#d1495b", "#2a9d6f", "#b07d12", "#7a4fb5", "#3b3f46")
INK, FAINT = "#22242c", "#dfe1e8"
BAND = 0.16  # opacity of a band in its line's colour


@dataclass(frozen=True)
class Line:
    """Points of one line; `low` and `high` are the ends of its band, empty for none.

    Attributes:
        label: label in the legend; lines with the same label have the same colour in all panels.
        dashed: whether the line is a reference rather than a measurement.
    """

    label: str
    x: list[float]
    y: list[float]
    low: list[float]
    high: list[float]
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """One chart; `span` is the minimum range of the vertical axis."""

    title: str
    lines: list[Line]
    span: tuple[float, float] | None = None


def draw(panels: Sequence[Panel], x_title: str) -> Image.Image:
    """Draw panels in a grid, above one legend."""
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    size = (columns * PANEL[0] * SCALE, (rows * PANEL[1] + LEGEND) * SCALE)
    picture = Image.new("RGB", size, "#ffffff")
    pen = ImageDraw.Draw(picture, "RGBA")
    labels = list(dict.fromkeys(line.label for panel in panels for line in panel.lines))
    colours = {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(labels)}
    for number, panel in enumerate(panels):
        corner = number % columns * PANEL[0], number // columns * PANEL[1]
        _Axes(pen, panel, corner, colours).draw(x_title)
    font = _font()
    x, y = LEFT * SCALE, (rows * PANEL[1] + 4) * SCALE
    for label in labels:
        pen.line([(x, y + 8 * SCALE), (x + 18 * SCALE, y + 8 * SCALE)], fill=colours[label], width=2 * SCALE)
        pen.text((x + 23 * SCALE, y), label, fill=INK, font=font)
        x += 40 * SCALE + round(font.getlength(label))
    return picture.resize((size[0] // SCALE, size[1] // SCALE), Image.Resampling.LANCZOS)


class _Axes:
    """The axes of one panel, which map values to pixels."""

    def __init__(
        self, pen: ImageDraw.ImageDraw, panel: Panel, corner: tuple[int, int], colours: dict[str, str]
    ) -> None:
        self._pen, self._panel, self._colours = pen, panel, colours
        x, y = corner
        self._left, self._right = x + LEFT, x + PANEL[0] - RIGHT
        self._top, self._bottom = y + TOP, y + PANEL[1] - BOTTOM
        lines = panel.lines
        self._x = 0.0, max([value for line in lines for value in line.x], default=1.0)
        values = [value for line in lines for value in (*line.y, *line.low, *line.high)]
        values += list(panel.span or ())
        low, high = min(values, default=0.0), max(values, default=1.0)
        margin = 0.0 if panel.span else 0.08 * max(high - low, 1e-6)
        self._y = low - margin, high + margin

    def draw(self, x_title: str) -> None:
        font = _font()
        self._pen.text((self._left * SCALE, (self._top - 20) * SCALE), self._panel.title, fill=INK, font=font)
        for value in _ticks(*self._y):
            y = self._at(0, value)[1]
            self._pen.line([(self._left * SCALE, y), (self._right * SCALE, y)], fill=FAINT, width=SCALE)
            self._pen.text(((self._left - 6) * SCALE, y), f"{value:g}", fill=INK, font=font, anchor="rm")
        for value in _ticks(*self._x):
            x = self._at(value, self._y[0])[0]
            self._pen.text((x, (self._bottom + 4) * SCALE), f"{value:g}", fill=INK, font=font, anchor="ma")
        middle = (self._left + self._right) / 2 * SCALE
        self._pen.text((middle, (self._bottom + 17) * SCALE), x_title, fill=INK, font=font, anchor="ma")
        for line in self._panel.lines:
            self._line(line)

    def _line(self, line: Line) -> None:
        colour = self._colours[line.label]
        if line.low:
            band = [self._at(x, y) for x, y in zip(line.x, line.high, strict=True)]
            band += [self._at(x, y) for x, y in zip(line.x[::-1], line.low[::-1], strict=True)]
            self._pen.polygon(band, fill=(*ImageColor.getrgb(colour)[:3], round(255 * BAND)))
        points = [self._at(x, y) for x, y in zip(line.x, line.y, strict=True)]
        if not line.dashed:
            self._pen.line(points, fill=colour, width=2 * SCALE, joint="curve")
            return
        (x0, y0), (x1, y1) = points[0], points[-1]
        pieces = 24
        for piece in range(0, pieces, 2):
            ends = [(x0 + (x1 - x0) * k / pieces, y0 + (y1 - y0) * k / pieces) for k in (piece, piece + 1)]
            self._pen.line(ends, fill=colour, width=2 * SCALE)

    def _at(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self._x[0]) / max(self._x[1] - self._x[0], 1e-9)
        up = (y - self._y[0]) / max(self._y[1] - self._y[0], 1e-9)
        return (
            (self._left + across * (self._right - self._left)) * SCALE,
            (self._bottom - up * (self._bottom - self._top)) * SCALE,
        )


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(TEXT_SIZE * SCALE)


def _ticks(low: float, high: float) -> list[float]:
    """Return three to six round values between two ends."""
    raw = max(high - low, 1e-9) / 4
    power = 1.0
    while power > raw:
        power /= 10
    while power * 10 <= raw:
        power *= 10
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first = -(-low // step)
    count = int((high - first * step) / step + 1e-9) + 1
    return [round((first + i) * step, 10) for i in range(count)]
