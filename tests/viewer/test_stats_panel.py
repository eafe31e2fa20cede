"""The panel of statistics: its height, its columns, and what tells right from wrong."""

from collections.abc import Callable
from dataclasses import replace

import pygame
import pytest
from viewer_player import Player

from longlive_env.engine.config import PRESETS
from longlive_env.envs import goals
from longlive_env.envs.vocabulary import vocabulary_of
from longlive_env.viewer import cards, stats_panel
from longlive_env.viewer.canvas import Canvas, Typeface
from longlive_env.viewer.eyes import Sighting, attributes_seen
from longlive_env.viewer.stats_panel import WORDS, draw_stats
from longlive_env.viewer.theme import SMALL, SOFT, PromptColours

Start = Callable[..., Player]


def opened(player: Player) -> pygame.Rect:
    """The panel's area, as drawn now."""
    player.app.draw()
    (sheet,) = player.app.screen._sheets
    return sheet.rect


def test_the_panel_keeps_its_height_where_there_is_nothing_to_see(start: Start) -> None:
    player = start(options={"size": (1280, 720)})
    player.press("f3")
    player.play(1)
    assert len(player.app._scene().seen) == 5
    before = opened(player)
    player.press("space")
    player.press("backspace")  # to the start of the take
    player.wait(2)
    assert player.app._scene().seen == () and opened(player) == before


def test_only_worlds_with_a_probe_have_room_for_what_it_sees() -> None:
    tiny = PRESETS["tiny"]
    assert attributes_seen(tiny) == 5 and attributes_seen(replace(tiny, vocabulary="")) == 0
    assert attributes_seen(replace(tiny, height=240)) == 0  # the probe cannot read it


def test_plain_words_are_never_cut() -> None:
    typeface = Typeface()
    values = vocabulary_of("tiny").attributes
    words = [goals.plain(name, value) for name in values for value in values[name]]
    for percent in range(50, 300):
        canvas = Canvas(pygame.Surface((1, 1)), typeface, percent / 100)
        assert all(canvas.width(one, SMALL) <= canvas.px(WORDS) for one in words), percent


@pytest.mark.parametrize(
    ("area", "scale", "columns"),
    [((1280, 596), 1, 1), ((640, 282), 0.625, 2), ((1280, 348), 3, 2), ((300, 348), 3, 1)],
)
def test_a_low_and_wide_window_has_two_columns(
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    area: tuple[int, int],
    scale: float,
    columns: int,
) -> None:
    scales, places, text = [], {}, Canvas.text

    def seen(self: Canvas, said: str, at: tuple[int, int], *args: object, **kwargs: object) -> pygame.Rect:
        scales.append(self.scale)
        places[said] = at
        return text(self, said, at, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Canvas, "text", seen)
    player = start()
    scales.clear()
    places.clear()
    canvas, whole = Canvas(pygame.Surface(area), Typeface(), scale), pygame.Rect(0, 0, *area)
    sheet = draw_stats(canvas, whole, player.view, player.app.meter.statistics, (), PromptColours())
    assert whole.contains(sheet.rect)
    assert (places["Cache"][1] < places["Way back"][1]) == (columns == 2)
    assert columns == 1 or min(scales) > 0.62
    assert max(at[1] for at in places.values()) < area[1]


def test_right_and_wrong_differ_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((cards, "LEAF"), (cards, "CORAL")):
        monkeypatch.setattr(module, name, SOFT)
    monkeypatch.setattr(stats_panel, "ASKED", dict.fromkeys((True, False, None), SOFT))
    pictures = set()
    for asked in (True, False, None):
        canvas = Canvas(pygame.Surface((300, 100)), Typeface())
        rect = canvas.surface.get_rect()
        stats_panel._sightings(canvas, rect, [Sighting("at night", 0.9, asked)])
        pictures.add(pygame.image.tobytes(canvas.surface, "RGB"))
    assert len(pictures) == 3
