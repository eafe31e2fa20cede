"""A click ahead on the timeline: what lies between is generated as if it had been watched."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pygame
import pytest
from viewer_player import Player
from viewer_stage import CAT, DOG, OWL, SCENARIO
from worker_steps import Start, settle, watch

from longlive_env import World
from longlive_env.errors import LongLiveError
from longlive_env.recording import digest, read_log
from longlive_env.scenario import Plan, parse_scenario, play, replay_plan
from longlive_env.viewer.exchange import Command
from longlive_env.viewer.session import Played, Session
from longlive_env.viewer.view import View
from longlive_env.viewer.worker import Worker

Make = Callable[..., Session]

GOALS = f"""
name: goals
seed: 5
duration: 9 blocks
prompt: {CAT}
timeline:
  - {{at: block 2, prompt: {DOG}, note: "Ask: what is it?"}}
goals:
  - {{name: Rain, when: weather == rain, points: 2, hold: 3}}
  - {{name: Wrong way, when: weather == rain, points: -5, hold: 8}}
"""


@pytest.fixture
def goals(small_world: World, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A plan with a remark and goals, in a world where it always rains."""
    monkeypatch.setattr(
        "longlive_env.viewer.story.sight_of", lambda config: lambda frames: {"weather": "rain"}
    )
    return parse_scenario(GOALS, "goals.yaml").plan(small_world.config)


@pytest.fixture
def after_blocks(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], None]:
    """Has something happen right after the given block was generated."""
    advance = Session.advance

    def install(block: int, happens: Callable[[], object]) -> None:
        def advance_and(session: Session) -> Played:
            played = advance(session)
            if played.beat.block == block:
                happens()
            return played

        monkeypatch.setattr(Session, "advance", advance_and)

    return install


def view_of(worker: Worker) -> View:
    settle(worker)
    view = worker.exchange.view()
    assert view is not None
    return view


def played(worker: Worker) -> list[str]:
    assert worker._session is not None
    return [beat.digest for beat in worker._session.history.beats]


def test_the_way_ahead_shows_what_watching_would_have_shown(
    begin: Start, small_world: World, story: Plan
) -> None:
    worker = begin(story)
    watch(worker, 1)
    worker.commands.go_ahead(4)
    view = view_of(worker)
    run = [block.frames for block in play(small_world, story)]
    assert view.shown == 4 and view.epoch == 1 and view.still is not None
    assert np.array_equal(view.still, run[3])
    assert worker.exchange.status() == (None, None)
    assert watch(worker, 2) == [DOG, DOG]
    assert played(worker)[:6] == [digest(frames) for frames in run]
    worker.commands.undo()
    assert view_of(worker).shown == 1
    worker.commands.undo()
    assert view_of(worker).shown == 6


def test_the_next_block_is_a_place_to_go_to(begin: Start, story: Plan) -> None:
    worker = begin(story)
    watch(worker, 1)
    settle(worker)  # block 1 is ready
    worker.commands.go_ahead(1)
    assert view_of(worker).shown == 1
    assert watch(worker, 2) == [CAT, DOG]


def test_a_prompt_that_was_asked_for_comes_first(begin: Start, story: Plan) -> None:
    worker = begin(story)
    watch(worker, 1)
    worker.commands.ask(OWL)
    worker.commands.go_ahead(4)
    assert [(span.begin, span.prompt) for span in view_of(worker).spans] == [(0, CAT), (1, OWL)]


def test_goals_count_and_remarks_are_told(start: Callable[..., Player], goals: Plan) -> None:
    player = start(goals)
    player.worker.commands.go_ahead(5)
    player.wait(1)
    assert "Ask: what is it?" in player.told and "Goal: Rain (+2)" in player.told
    assert player.view.score is not None and player.view.score.points == 2
    player.worker.commands.go_ahead(8)
    player.wait(1)
    assert "Wrong way" in player.told and player.view.score.points == -3
    player.wait(200)
    assert player.told == ""  # which is told once


def test_it_can_be_stopped(
    begin: Start, story: Plan, after_blocks: Callable[[int, Callable[[], object]], None]
) -> None:
    worker = begin(story)
    watch(worker, 1)
    assert not worker.exchange.halt()  # nothing is under way
    stopped: list[Any] = []

    def stop() -> None:
        stopped.append((worker.exchange.status()[0], worker.exchange.halt()))

    after_blocks(3, stop)
    worker.commands.go_ahead(6)
    settle(worker)
    assert view_of(worker).shown == 4 and stopped[0] == ("Going ahead: 2 of 5 blocks · a click stops", True)
    assert not worker.exchange.halt()
    worker.commands.go_ahead(6)  # nobody stops that
    assert view_of(worker).shown == 6


def test_whoever_asks_for_something_else_stops_it(
    begin: Start, story: Plan, after_blocks: Callable[[int, Callable[[], object]], None]
) -> None:
    worker = begin(story)
    watch(worker, 1)
    after_blocks(3, lambda: worker.commands.ask(OWL))
    worker.commands.go_ahead(6)
    settle(worker)
    assert view_of(worker).shown == 4
    assert watch(worker, 2) == [OWL, OWL]


def test_what_can_wait_does_not_stop_it(
    begin: Start, story: Plan, after_blocks: Callable[[int, Callable[[], object]], None]
) -> None:
    worker = begin(story)
    watch(worker, 1)
    after_blocks(3, lambda: worker.exchange.send(Command(lambda session: None)))
    worker.commands.go_ahead(5)
    settle(worker)
    assert view_of(worker).shown == 5


@pytest.mark.parametrize("error", [LongLiveError("no more"), ValueError("no more")])
def test_a_block_that_fails_leaves_the_world_where_it_got_to(
    begin: Start, story: Plan, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    worker = begin(story)
    watch(worker, 1)
    advance = Session.advance

    def fail(session: Session) -> Played:
        if session.position == 3:
            raise error
        return advance(session)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "advance", fail)
        worker.commands.go_ahead(5)
        worker.turn()
    view = worker.exchange.view()
    assert view is not None and view.shown == 3
    told = [notice.text for notice in worker.exchange.take_notices()]
    assert ("no more" in told) is isinstance(error, LongLiveError)
    worker.commands.go_ahead(4)
    assert view_of(worker).shown == 4 and worker.exchange.status() == (None, None)
    assert watch(worker, 1) == [DOG]


def test_a_recording_goes_on_ahead(begin: Start, small_world: World, story: Plan, tmp_path: Path) -> None:
    worker = begin(story)
    worker.commands.record(tmp_path / "one")
    watch(worker, 1)
    worker.commands.go_ahead(3)
    watch(worker, 2)
    worker.stop()
    for folder, blocks in (("one", 1), ("one-2", 5)):
        log = read_log(tmp_path / folder / "actions.jsonl")
        again = play(small_world, replay_plan(log, small_world.config))
        assert [digest(block.frames) for block in again] == [block.digest for block in log.blocks]
        assert len(log.blocks) == blocks


def test_a_recording_that_begins_after_the_way_ahead_is_in_one_piece(
    begin: Start, story: Plan, tmp_path: Path
) -> None:
    worker = begin(story)
    watch(worker, 1)
    worker.commands.go_ahead(2)
    worker.commands.record(tmp_path / "one")
    watch(worker, 1)
    worker.stop()
    assert [folder.name for folder in tmp_path.iterdir()] == ["one"]


def test_a_click_leads_ahead(start: Callable[..., Player], story: Plan) -> None:
    player = start(story)
    player.wait(4)
    timeline = player.app.screen.timeline
    scale = timeline._scale
    assert scale is not None
    point = scale.x(4.5), scale.rect.centery
    pygame.event.post(pygame.Event(pygame.MOUSEMOTION, pos=point, rel=(1, 0), buttons=(0, 0, 0)))
    player.wait(1)
    assert timeline.ahead_at(point, player.view) == 4 and timeline.block_at(point, player.view) is None
    player.click(*point)
    player.wait(1)
    assert player.app.playback.position == 4 and not player.app.playback.paused
    player.wait(6)
    assert 4 < player.app.playback.position < 5
    player.click(scale.x(6.5), scale.rect.centery)  # behind the end
    player.wait(2)
    assert player.app.playback.position < 5.5
    player.press("up")  # after which nothing is planned
    player.wait(12)
    assert player.view.ends is None
    player.click(scale.x(20), scale.rect.centery)
    player.wait(2)
    assert player.app.playback.position < 8


@pytest.mark.parametrize(("clicks", "blocks"), [(2, 4), (1, 1)])
def test_a_double_click_does_not_stop_what_it_began(
    start: Callable[..., Player], story: Plan, clicks: int, blocks: int
) -> None:
    player = start(story)
    player.wait(4)
    scale = player.app.screen.timeline._scale
    assert scale is not None
    point = scale.x(4.5), scale.rect.centery
    for number in (1, clicks):
        pygame.event.post(pygame.Event(pygame.MOUSEBUTTONDOWN, pos=point, button=1, clicks=number))
        player.app.frame()
    player.settle()
    assert player.view.shown == blocks


@pytest.mark.parametrize("stop", ["click", "escape"])
def test_a_long_way_is_told_and_stopped(
    start: Callable[..., Player], small_world: World, monkeypatch: pytest.MonkeyPatch, stop: str
) -> None:
    advance = Session.advance

    def slowly(session: Session) -> Played:
        time.sleep(0.02)
        return advance(session)

    monkeypatch.setattr(Session, "advance", slowly)
    text = SCENARIO.replace("duration: 6 blocks", "duration: 600 blocks")
    player = start(parse_scenario(text, "two.yaml").plan(small_world.config), threaded=True)
    wait_until(player, lambda: player.app.screen.timeline._scale is not None)
    scale = player.app.screen.timeline._scale
    assert scale is not None
    player.click(scale.x(500), scale.rect.centery)
    wait_until(player, lambda: "Going ahead: 1" in (player.worker.exchange.status()[0] or ""))
    if stop == "click":
        player.click(*player.app.screen.stage.rect.center)
    else:
        player.press("escape")
    wait_until(player, lambda: player.view.epoch > 0)
    assert 1 < player.view.shown < 500 and not player.app.playback.paused
    assert "quits" not in player.told
    player.play(1)


def wait_until(player: Player, there: Callable[[], bool]) -> None:
    """Show frames until it is so."""
    end = time.monotonic() + 60
    while not there():
        assert time.monotonic() < end
        player.wait(1)
        time.sleep(0.01)


def test_a_world_on_its_way_is_not_called_slow(start: Callable[..., Player], story: Plan) -> None:
    player = start(story)
    player.play(1)
    player.worker.exchange._outdating += 1  # a command is under way
    player.worker.exchange.set_busy("Going ahead")
    for _ in range(16 * 20):
        player.app.frame()
        player.now += 1 / 16
    assert "is faster" not in player.told and not player.app.playback.clock.slow(player.now)
