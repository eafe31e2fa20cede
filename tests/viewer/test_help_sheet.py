"""The help sheet: its texts are whole, and drawing it again costs little."""

import pygame
import pytest
from viewer_stage import OWL, SCENARIO

from longlive_env.scenario import parse_scenario
from longlive_env.viewer.bindings import Bindings
from longlive_env.viewer.canvas import Canvas, Typeface
from longlive_env.viewer.help_sheet import HelpSheet
from longlive_env.viewer.steering import Steering
from longlive_env.viewer.theme import INK, mixed

BINDINGS = Bindings.default()
STEERING = Steering.of(parse_scenario(SCENARIO, "two.yaml"), "tiny", BINDINGS)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All texts that are drawn, as they are seen."""
    texts: list[str] = []
    draw = Canvas.text

    def text(canvas: Canvas, words: str, *args: object, **kwargs: object) -> pygame.Rect:
        width, size = kwargs.get("width"), args[1]
        texts.append(words if width is None else canvas.cut(words, size, width))  # type: ignore[arg-type]
        return draw(canvas, words, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Canvas, "text", text)
    return texts


def shown(sheet: HelpSheet, canvas: Canvas, *, gamepad: bool = True, steering: Steering = STEERING) -> bytes:
    """What is seen of the sheet over a grey picture."""
    canvas.surface.fill((128, 128, 128))
    sheet.draw(canvas, canvas.surface.get_rect(), BINDINGS, steering, gamepad=gamepad)
    return pygame.image.tobytes(canvas.surface, "RGB")


@pytest.mark.parametrize(("size", "scale"), [((1280, 720), 1.0), ((800, 600), 0.625), ((1920, 1080), 1.5)])
def test_only_the_prompts_of_a_scenario_are_cut(
    written: list[str], size: tuple[int, int], scale: float
) -> None:
    shown(HelpSheet(), Canvas(pygame.Surface(size), Typeface(), scale))
    cut = [text for text in written if "…" in text]
    assert "back one block, and pause" in written and all(OWL.startswith(text[:-1]) for text in cut)


def test_it_is_drawn_once_while_it_stays_the_same(written: list[str]) -> None:
    sheet, canvas = HelpSheet(), Canvas(pygame.Surface((1280, 720)), Typeface())
    first = shown(sheet, canvas)
    assert written
    written.clear()
    assert shown(sheet, canvas) == first and not written
    assert shown(sheet, canvas, gamepad=False) != first
    assert shown(sheet, canvas, steering=STEERING.prepare(7, "a cat", BINDINGS)) != first
    assert shown(sheet, canvas) == first
    assert shown(sheet, Canvas(canvas.surface, canvas._typeface, 0.75)) != first


def test_all_around_it_is_dimmed() -> None:
    canvas = Canvas(pygame.Surface((4, 4)), Typeface())
    for colour in ((0, 0, 0), (128, 20, 255), (255, 255, 255)):
        canvas.surface.fill(colour)
        canvas.dim(120)
        wanted = mixed(colour, INK, 120 / 255)
        assert canvas.surface.get_at((1, 1))[:3] == pytest.approx(wanted, abs=2)
