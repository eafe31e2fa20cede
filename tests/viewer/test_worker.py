"""The worker runs one block ahead and never shows what is older than a key."""

import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from viewer_stage import CAT, DOG, OWL, header
from worker_steps import Start, settle, starter, watch

from longlive_env.errors import ConfigError
from longlive_env.viewer.pacing import FrameClock
from longlive_env.viewer.running import Running
from longlive_env.viewer.session import Session
from longlive_env.viewer.worker import Worker

Make = Callable[..., Session]


@pytest.fixture
def start(make_session: Callable[..., Session]) -> Start:
    return starter(make_session)


def test_it_stays_one_block_ahead(start: Start) -> None:
    worker = start()
    settle(worker)
    assert worker.exchange.queued() == 1 and not worker.turn()
    assert worker.exchange.take() is not None
    assert worker.exchange.queued() == 0 and worker.exchange.take() is None
    settle(worker)
    view = worker.exchange.view()
    assert worker.exchange.queued() == 1 and view is not None and view.shown == 1 and view.spans[0].end == 2


def test_nothing_is_taken_after_a_jump_that_one_does_not_know_of(start: Start) -> None:
    worker = start()
    watch(worker, 2)
    before = worker.exchange.epoch
    worker.commands.reset()
    settle(worker)
    assert worker.exchange.queued() == 1 and worker.exchange.take(before) is None
    played = worker.exchange.take(worker.exchange.epoch)
    assert played is not None and played.beat.block == 0


def test_a_new_prompt_is_in_the_very_next_block(start: Start) -> None:
    worker = start()
    watch(worker, 2)
    settle(worker)
    worker.commands.ask(DOG)
    assert worker.exchange.take() is None  # what is ready is older than the key
    settle(worker)
    played = worker.exchange.take()
    assert played is not None
    assert (played.beat.block, played.beat.prompt, played.asked_at) == (2, DOG, 1.5)
    assert watch(worker, 1) == [DOG]


def test_a_prompt_that_arrives_while_a_block_is_made_throws_it_away(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = start()
    watch(worker, 1)
    advance = Session.advance

    def slow(self: Session) -> Any:
        monkeypatch.undo()
        played = advance(self)
        worker.commands.ask(DOG)
        return played

    monkeypatch.setattr(Session, "advance", slow)
    worker.turn()
    assert worker.exchange.take() is None and worker.exchange.wanted() == DOG
    assert watch(worker, 2) == [DOG, DOG]


def test_a_storm_of_prompts_stops_nothing(start: Start) -> None:
    worker = start()
    watch(worker, 1)
    for turn in range(3):
        worker.commands.ask((DOG, OWL)[turn % 2])
        assert worker.exchange.take() is None  # the picture stands still
        worker.turn()
    played = worker.exchange.take()
    assert played is not None and played.beat.prompt == OWL  # older than the last key, but it moves
    assert watch(worker, 1) == [DOG]


def test_as_long_as_the_picture_moves_only_the_last_key_counts(start: Start) -> None:
    worker = start()
    watch(worker, 1)
    for prompt in (DOG, OWL, DOG, OWL):
        worker.commands.ask(prompt)
        worker.turn()
    assert watch(worker, 1) == [OWL]


def test_asking_for_what_is_coming_throws_nothing_away(start: Start) -> None:
    worker = start()
    watch(worker, 1)
    worker.commands.ask(DOG)
    settle(worker)
    worker.commands.ask(DOG)
    worker.turn()
    assert worker.exchange.queued() == 1 and watch(worker, 1) == [DOG]


def test_jumps_show_where_they_land(start: Start) -> None:
    worker = start()
    watch(worker, 2)
    worker.commands.ask(DOG)
    watch(worker, 3)
    worker.commands.rewind_change()
    settle(worker)
    view = worker.exchange.view()
    assert view is not None and view.epoch == 1 and view.shown == 2 and view.still is not None
    assert view.wanted == CAT and [span.end for span in view.spans] == [3]
    assert watch(worker, 1) == [CAT]
    assert worker.exchange.view().still is None  # type: ignore[union-attr]
    worker.commands.reset(seed=3)
    watch(worker, 1)
    view = worker.exchange.view()
    assert view is not None and view.epoch == 2 and view.seed == 3 and view.shown == 1


def test_quick_steps_back_are_undone_at_once(start: Start) -> None:
    worker = start()
    worker.commands.undo()
    settle(worker)
    assert [notice.wrong for notice in worker.exchange.take_notices()] == [True]
    watch(worker, 2)
    worker.commands.ask(DOG)
    watch(worker, 3)
    worker.commands.rewind_change()
    worker.commands.rewind_block()
    settle(worker)
    assert watch(worker, 1) == [CAT] and worker.exchange.view().shown == 2  # type: ignore[union-attr]
    worker.commands.undo()
    settle(worker)
    view = worker.exchange.view()
    assert view is not None and view.shown == 5 and [span.prompt for span in view.spans] == [CAT, DOG]
    assert view.still is not None and watch(worker, 1) == [DOG]


def test_a_step_back_after_undo_goes_to_the_last_change(start: Start) -> None:
    worker = start()
    watch(worker, 2)
    worker.commands.ask(DOG)
    watch(worker, 2)
    worker.commands.ask(OWL)
    watch(worker, 2)
    for _ in range(2):
        worker.commands.rewind_change()
        settle(worker)
        assert worker.exchange.view().shown == 4  # type: ignore[union-attr]
        worker.commands.undo()
        settle(worker)
        assert worker.exchange.view().shown == 6  # type: ignore[union-attr]


def test_bookmarks_and_modes_are_told(start: Start) -> None:
    worker = start()
    worker.commands.keep_bookmark()
    worker.turn()
    assert [
        (notice.wrong, "nothing has been played" in notice.text) for notice in worker.exchange.take_notices()
    ] == [(True, True)]
    watch(worker, 2)
    worker.commands.keep_bookmark()
    worker.commands.cycle_recache()
    worker.commands.toggle_seat()
    settle(worker)
    told = [notice.text for notice in worker.exchange.take_notices()]
    assert told[0].startswith("Bookmark 1") and told[1] == "Recache: none" and "no agent" in told[2]
    view = worker.exchange.view()
    assert view is not None and [(mark.number, mark.position, mark.here) for mark in view.marks] == [
        (1, 2, True)
    ]
    worker.commands.reset(8)
    settle(worker)
    assert not worker.exchange.view().marks[0].here  # type: ignore[union-attr]
    worker.commands.return_to(1)
    settle(worker)
    view = worker.exchange.view()
    assert view is not None and view.marks[0].here and view.shown == 2 and view.seed == 5


def test_what_goes_wrong_is_told_and_can_be_left_behind(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = start()
    watch(worker, 1)
    worker.commands.ask("a " * 40)
    settle(worker)
    (notice,) = worker.exchange.take_notices()
    assert notice.wrong and "longer than" in notice.text
    watch(worker, 1)
    with monkeypatch.context() as patch:
        patch.setattr(Session, "advance", lambda self: 1 / 0)
        settle(worker)
        assert worker.exchange.status() == (None, "ZeroDivisionError: division by zero")
        assert "the world has stopped" in caplog.text
        assert not worker.turn()  # it does not try again by itself
    worker.commands.rewind(1)
    assert watch(worker, 1) == [CAT] and worker.exchange.status() == (None, None)


def test_what_was_asked_after_a_command_that_fails_still_counts(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = start()
    watch(worker, 1)
    monkeypatch.setattr(Session, "rewind", lambda *args: 1 / 0)
    worker.commands.rewind(0)
    worker.commands.ask(DOG)
    assert watch(worker, 2) == [DOG, DOG]


def test_a_world_that_cannot_be_loaded() -> None:
    def load() -> Session:
        raise ConfigError("there is no such world")

    worker = Worker(load, header, threaded=False)
    assert worker.exchange.status()[0] == "Loading the world"
    assert not worker.broken
    settle(worker)
    assert worker.exchange.status() == (None, "there is no such world") and worker.exchange.view() is None
    assert worker.broken
    worker.commands.ask(DOG)
    worker.commands.reset()
    settle(worker)
    worker.stop()


class Broken:
    def reset(self, env: Any, info: Any) -> None: ...

    def act(self, observation: Any, info: Any) -> str:
        raise TimeoutError("no answer after 10 s")


def test_an_agent_that_fails_leaves_its_seat(start: Start) -> None:
    worker = start(agent=Broken())
    watch(worker, 1)
    worker.commands.toggle_seat()
    assert watch(worker, 2) == [CAT, CAT]
    told = worker.exchange.take_notices()
    assert told[0].text.startswith("The agent steers")
    assert told[1].wrong and "no answer after 10 s" in told[1].text
    view = worker.exchange.view()
    assert view is not None and view.seat == "you"


class Silent:
    """An agent that fails and does not say why, or does not fail at all."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def reset(self, env: Any, info: Any) -> None: ...

    def act(self, observation: Any, info: Any) -> str:
        if self.error is not None:
            raise self.error
        return ""


def test_an_agent_is_blamed_for_its_own_errors_alone(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = start(agent=Silent(AssertionError()))
    watch(worker, 1)
    worker.commands.toggle_seat()
    watch(worker, 1)
    assert worker.exchange.take_notices()[-1].text == (
        "The agent has left its seat: the agent has failed at block 0: AssertionError"
    )
    worker = start(agent=Silent(None))
    watch(worker, 1)
    worker.commands.toggle_seat()
    watch(worker, 1)
    monkeypatch.setattr(Running, "step", lambda *args: 1 / 0)
    settle(worker)
    view = worker.exchange.view()
    assert view is not None and view.seat == "agent"
    assert worker.exchange.status()[1] == "ZeroDivisionError: division by zero"


def test_nobody_waits_for_an_agent_once_the_window_is_closed(make_session: Make) -> None:
    agent = Thinker()
    worker = Worker(lambda: make_session(agent=agent, patience_s=None), header)
    worker.start()
    end = time.monotonic() + 60
    while worker.exchange.take() is None and time.monotonic() < end:
        time.sleep(0.005)
    worker.commands.toggle_seat()
    assert agent.asked.wait(60)
    worker.stop()
    assert worker._thread is not None and not worker._thread.is_alive()
    agent.may_answer.set()


class Thinker:
    """An agent that takes as long as somebody else likes."""

    def __init__(self) -> None:
        self.asked, self.may_answer = threading.Event(), threading.Event()
        self.resets = 0
        self.blocks: list[int] = []
        self.futures: list[int] = []

    def reset(self, env: Any, info: Any) -> None:
        self.resets += 1
        self._env = env

    def act(self, observation: Any, info: Any) -> str:
        self.blocks.append(info["block"])
        self.asked.set()
        assert self.may_answer.wait(60)
        self.futures.append(self._env.rollout.blocks[0])  # the world has not moved under its eyes
        return DOG

    def answer(self, session: Session) -> None:
        """Let it answer, and wait until it has."""
        assert session._agent is not None and session._agent._thought is not None
        self.may_answer.set()
        assert session._agent._thought.done.wait(60)
        self.may_answer.clear()
        self.asked.clear()


def test_the_world_plays_on_while_an_agent_thinks(start: Start) -> None:
    agent = Thinker()
    worker = start(agent=agent, patience_s=0.0)
    watch(worker, 1)
    worker.commands.toggle_seat()
    assert watch(worker, 4) == [CAT] * 4
    assert agent.asked.wait(60) and agent.blocks == [0]
    view = worker.exchange.view()
    assert view is not None and view.thinking and view.seat == "agent"
    agent.answer(worker._session)  # type: ignore[arg-type]
    assert watch(worker, 3) == [DOG] * 3
    assert agent.asked.wait(60) and agent.blocks == [0, 5] and agent.resets == 1
    assert agent.futures == [1]
    agent.may_answer.set()
    worker.stop()


def test_an_answer_to_a_world_that_has_jumped_is_dropped(start: Start) -> None:
    agent = Thinker()
    worker = start(agent=agent, patience_s=0.0)
    watch(worker, 2)
    worker.commands.toggle_seat()
    watch(worker, 2)
    assert agent.asked.wait(60)
    worker.commands.rewind(1)
    assert watch(worker, 2) == [CAT, CAT]
    agent.answer(worker._session)  # type: ignore[arg-type]
    assert watch(worker, 2) == [CAT, CAT]
    assert agent.asked.wait(60) and agent.resets == 2 and agent.blocks == [1, 2]
    worker.commands.ask(OWL)  # you may interrupt it
    assert watch(worker, 1) == [OWL]
    agent.may_answer.set()
    worker.stop()


def test_the_cache_is_pictured(start: Start) -> None:
    worker = start()
    watch(worker, 2)
    worker.commands.ask(DOG)
    watch(worker, 4)
    settle(worker)
    view = worker.exchange.view()
    assert view is not None
    session = worker._session
    assert session is not None and session.position == 7
    assert [slot.sink for slot in view.slots] == [True] * 3 + [False] * 9
    assert [slot.frame for slot in view.slots] == [0, 1, 2, *range(12, 21)]
    assert {slot.prompt for slot in view.slots} == {DOG}


def test_the_thread_plays_by_itself(make_session: Make) -> None:
    worker = Worker(make_session, header)
    worker.start()
    seen, deadline = [], time.monotonic() + 60
    while len(seen) < 3 and time.monotonic() < deadline:
        if (played := worker.exchange.take()) is not None:
            seen.append(played.beat.block)
        time.sleep(0.005)
    worker.stop()
    worker.stop()
    assert seen == [0, 1, 2]


def test_the_clock_paces() -> None:
    clock, now, shown = FrameClock(16), 0.0, []
    while len(shown) < 33:  # somebody looks every 7 ms
        if clock.wait_s(now) == 0:
            clock.show(now)
            shown.append(now)
        now += 0.007
    gaps = [after - before for before, after in pairwise(shown)]
    assert shown[-1] == pytest.approx(2.0, abs=0.01)  # the mean is right
    assert min(gaps) > 0.75 / 16 - 0.008
    assert clock.speed(now) == pytest.approx(16, abs=0.5) and not clock.slow(now)


def test_the_clock_slows_and_never_hurries() -> None:
    clock, now = FrameClock(16), 0.0
    for _ in range(20):
        clock.show(now)
        now += 0.125
    assert clock.slow(now) and clock.speed(now) == pytest.approx(8, abs=0.3)
    clock.show(now)
    assert clock.wait_s(now) >= 0.74 / 16  # nothing of the delay is made up for but a quarter of a frame
    clock.stop()
    assert clock.speed(now) is None and not clock.slow(now) and clock.wait_s(now) == 0


def test_quick_steps_back_add_up(start: Start) -> None:
    worker = start()
    watch(worker, 5)
    for _ in range(3):
        worker.commands.rewind_block()
    settle(worker)
    view = worker.exchange.view()
    assert view is not None and view.shown == 2


def test_loading_is_broken_off_when_the_window_closes() -> None:
    loading = threading.Event()

    def load() -> Session:
        while True:
            loading.set()
            torch.rand(64, 64) @ torch.rand(64, 64)

    worker = Worker(load, header)
    worker.start()
    assert loading.wait(60)
    worker.stop()
    assert worker._thread is not None and not worker._thread.is_alive()
    assert not worker.broken and worker.exchange.status()[1] is None
