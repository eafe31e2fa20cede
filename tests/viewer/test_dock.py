"""The dock keeps room for the prompt, whatever else it has to say."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pygame
import pytest
from viewer_player import Asks, Player

from longlive_env.viewer.canvas import Canvas, Typeface
from longlive_env.viewer.dock import LEAST_CAPTION, Pill, fitting, pills_of
from longlive_env.viewer.pacing import FrameClock
from longlive_env.viewer.remote import event_of
from longlive_env.viewer.theme import AMBER, DIM

CLOCK = Pill("0:12  ·  seed 5", DIM, brief="0:12")
PAUSED, REC = Pill("paused", AMBER, strong=True), Pill("● REC", AMBER, strong=True)
PHONE = {"type": "size", "width": 1170, "height": 2532, "ratio": 3}


def widths(canvas: Canvas, *pills: Pill) -> int:
    return sum(pill.width(canvas) + pill.gap(canvas) for pill in pills)


def test_what_matters_least_goes_first() -> None:
    canvas = Canvas(pygame.Surface((640, 360)), Typeface(), 1.0)
    pills, brief = [CLOCK, PAUSED, REC], replace(CLOCK, text="0:12")
    for left in (pills, [brief, PAUSED, REC], [PAUSED, REC], [REC], []):
        room = widths(canvas, *left)
        assert fitting(canvas, pills, room) == left
    assert fitting(canvas, pills, -100) == []


@pytest.mark.parametrize("waiting", [False, True])
def test_on_a_phone_the_prompt_can_be_read_and_tapped(
    start: Callable[..., Player], monkeypatch: pytest.MonkeyPatch, waiting: bool
) -> None:
    player = start(agent=Asks())
    player.press("tab")  # the agent's pill
    player.press("f9")
    player.press("c")
    player.wait()

    clock = FrameClock(16)
    for now in (0.0, 1 / 9):  # 9 frames per second
        clock.show(now)

    def everything() -> list[Pill]:
        playback = SimpleNamespace(position=1.0, paused=waiting, latency_s=0.5, clock=clock)
        return pills_of(player.view, playback, 1 / 9, waiting=waiting)

    monkeypatch.setattr("longlive_env.viewer.app.pills_of", lambda *args, **kwargs: everything())
    said = {pill.brief or pill.text for pill in everything()}
    assert {"recache none", "agent", "● REC", "paused" if waiting else "slow motion"} <= said
    player.app.handle(event_of(PHONE, (1, 1)))
    player.app.frame()
    caption = player.app.screen.places.caption
    assert caption.width >= LEAST_CAPTION * player.app.window.scale() and caption.left > 0
    player.click(*caption.center)
    assert player.app.box is not None
