"""What stands where on the timeline, and in panels."""

import dataclasses
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pygame
import pytest
from viewer_stage import DOG

from longlive_env.scenario import Plan
from longlive_env.viewer.canvas import Canvas, Typeface
from longlive_env.viewer.messages import SECONDS, Messages
from longlive_env.viewer.session import Session
from longlive_env.viewer.stage import Stage, fit
from longlive_env.viewer.theme import PromptColours
from longlive_env.viewer.timeline import Scale, Timeline, label_of
from longlive_env.viewer.view import Mark, View, view_of


@pytest.fixture
def view(make_session: Callable[..., Session], story: Plan) -> View:
    session = make_session(story)
    session.advance()
    return dataclasses.replace(view_of(session, None), shown=1)


def test_labels_tell_what_is_new() -> None:
    assert label_of("a cat", None) == "a cat"
    assert label_of("a red cat jumps in the rain", "a red cat walks in the sun") == "jumps in the rain"
    assert label_of("a cat in the city", "a cat sits in the city") == "a cat in the city"


def test_the_scale_holds_all_plans(view: View) -> None:
    rect = pygame.Rect(10, 0, 480, 20)
    scale = Scale.of(view, rect)
    assert scale.blocks == 24 and scale.x(0) == 10 and scale.x(24) == 490
    assert [scale.block(scale.x(block) + 1) for block in range(24)] == list(range(24))


def test_the_scale_holds_bookmarks_ahead(view: View) -> None:
    mark = Mark(1, 50, False)
    assert Scale.of(dataclasses.replace(view, marks=(mark,)), pygame.Rect(0, 0, 480, 20)).blocks > 50


def test_only_the_past_can_be_clicked(view: View) -> None:
    pygame.display.init()
    canvas = Canvas(pygame.Surface((640, 400)), Typeface())
    timeline, rect = Timeline(), pygame.Rect(20, 340, 600, 50)
    assert timeline.block_at((30, 350), view) is None  # nothing is drawn yet
    timeline.draw(canvas, rect, view, 0.5, PromptColours(), mouse=(25, 350))
    assert timeline.block_at((25, 350), view) == 0
    assert timeline.block_at((100, 350), view) is None and timeline.block_at((25, 10), view) is None
    assert view.cues == {2: DOG}


def test_more_cues_than_pixels_are_drawn_in_part(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[pygame.Rect] = []
    monkeypatch.setattr(Canvas, "outline", lambda canvas, rect, *args, **kwargs: drawn.append(rect))
    pygame.display.init()
    canvas = Canvas(pygame.Surface((640, 400)), Typeface())
    planned = dataclasses.replace(view, cues={block: DOG for block in range(1, 2401)}, ends=2401)
    Timeline().draw(canvas, pygame.Rect(20, 340, 600, 50), planned, 0.5, PromptColours(), mouse=None)
    assert 200 <= len(drawn) <= 300 and all(rect.width >= 2 for rect in drawn)
    assert all(one.right <= other.x + 1 for one, other in pairwise(drawn))


@pytest.mark.parametrize(("ends", "after"), [(12, True), (238, False)])
def test_the_end_is_told_inside_the_bar(
    view: View, monkeypatch: pytest.MonkeyPatch, ends: int, after: bool
) -> None:
    drawn, text = {}, Canvas.text

    def seen(self: Canvas, said: str, *args: object, **kwargs: object) -> pygame.Rect:
        drawn[said] = text(self, said, *args, **kwargs)  # type: ignore[arg-type]
        return drawn[said]

    monkeypatch.setattr(Canvas, "text", seen)
    pygame.display.init()
    canvas, timeline = Canvas(pygame.Surface((480, 300)), Typeface()), Timeline()
    bar = pygame.Rect(20, 240, 440, 50)
    timeline.draw(canvas, bar, dataclasses.replace(view, ends=ends), 0.5, PromptColours(), mouse=None)
    assert timeline._scale is not None
    assert bar.contains(drawn["end"]) and (drawn["end"].x > timeline._scale.x(ends)) == after


def test_pictures_fit() -> None:
    area = pygame.Rect(0, 0, 1000, 600)
    assert fit(area, 160, 96).size == (1000, 600)
    assert fit(area, 1920, 1080).size == (1000, 562)
    assert fit(area, 80, 96).center == area.center


@pytest.mark.parametrize("size", [(64, 48), (71, 53), (100, 75), (20, 15)])
def test_crisp_pixels_fill_the_room_and_blend_at_their_edges_alone(size: tuple[int, int]) -> None:
    pygame.display.init()
    pygame.display.set_mode((1, 1))
    surface = pygame.Surface(size)
    frame = np.zeros((24, 32, 3), np.uint8)
    frame[:, 16:] = 255
    stage = Stage()
    stage.crisp = True
    stage.show(frame)
    stage.draw_alone(Canvas(surface, Typeface()), surface.get_rect())
    assert stage.rect.size == size
    row = pygame.surfarray.array3d(surface)[:, size[1] // 2, 0]
    black, white = row < 8, row > 247  # scaling rounds
    assert black[0] and white[-1] and np.count_nonzero(~black & ~white) <= 1


def test_texts_fit_where_they_stand() -> None:
    pygame.display.init()
    canvas = Canvas(pygame.Surface((1280, 720)), Typeface())
    text = "a green dinosaur dances on the beach at sunset while it rains"
    for width in (0, 5, 60, 200, 900):
        assert canvas.width(canvas.cut(text, 15, width), 15) <= width or not canvas.cut(text, 15, width)
    lines = canvas.wrap(text, 15, 150, 3)
    assert len(lines) == 3 and all(canvas.width(line, 15) <= 150 for line in lines)
    for char in "←→↑↓●–…·éßЖλ":
        metrics = canvas._typeface.font(20, False).metrics(char)
        assert metrics and metrics[0] is not None, char


def test_the_typeface_comes_with_its_licence() -> None:
    import longlive_env.viewer

    folder = Path(longlive_env.viewer.__file__).parent / "fonts"
    assert "SIL OPEN FONT LICENSE" in (folder / "OFL.txt").read_text(encoding="utf-8")


def test_messages_go_away() -> None:
    messages = Messages()
    messages.add("one", 0.0)
    messages.add("two", 1.0, wrong=True)
    messages.add("one", 2.0)
    assert [text for text, *_ in messages.shown(2.1)] == ["two", "one"]
    assert [text for text, *_ in messages.shown(2.1 + SECONDS)] == ["two"]
    for number in range(9):
        messages.add(str(number), 3.0)
    assert len(messages.shown(3.0)) == 4
