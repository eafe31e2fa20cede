"""Where characters stand, and that long texts are measured in few places."""

import pygame
import pytest

from longlive_env.viewer.canvas import Canvas, Typeface
from longlive_env.viewer.ruler import Ruler

SIZE = 20


@pytest.fixture(scope="module")
def canvas() -> Canvas:
    return Canvas(pygame.Surface((640, 360)), Typeface(), 1.0)


@pytest.mark.parametrize("text", ["", "a", "a red cat jumps in the city", "WiWi 日本語 🙂" * 9])
def test_places_are_those_that_measuring_all_would_find(canvas: Canvas, text: str) -> None:
    ruler = Ruler(canvas, text, SIZE)
    widths = [canvas.width(text[:end], SIZE) for end in range(len(text) + 1)]
    assert [ruler.offset(end) for end in range(len(text) + 1)] == widths
    for pixels in range(-5, widths[-1] + 5, 3):
        assert abs(widths[ruler.nearest(pixels)] - pixels) == min(abs(width - pixels) for width in widths)
        begin, end = ruler.between(pixels, pixels + 100)
        seen = [i for i in range(len(text)) if widths[i + 1] > pixels and widths[i] < pixels + 100]
        assert not seen or (begin <= seen[0] and seen[-1] < end <= seen[-1] + 2)


def test_a_ruler_belongs_to_a_text_and_a_scale(canvas: Canvas) -> None:
    ruler = Ruler(canvas, "a cat", SIZE)
    assert ruler.measures(Canvas(canvas.surface, Typeface(), 1.0), "a cat")
    assert not ruler.measures(canvas, "a dog")
    assert not ruler.measures(Canvas(canvas.surface, Typeface(), 2.0), "a cat")


def test_a_long_text_is_measured_in_few_places(canvas: Canvas, monkeypatch: pytest.MonkeyPatch) -> None:
    measured, width = [], Canvas.width

    def counted(self: Canvas, text: str, size: float, *, bold: bool = False) -> int:
        measured.append(text)
        return width(self, text, size, bold=bold)

    monkeypatch.setattr(Canvas, "width", counted)
    ruler = Ruler(canvas, "zq " * 1365, SIZE)
    ruler.nearest(20_000)
    ruler.between(20_000, 21_000)
    assert len(measured) < 50
    done = len(measured)
    ruler.nearest(20_000)
    assert len(measured) == done
