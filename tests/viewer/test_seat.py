"""How long the world waits for the agent in its seat."""

import threading
import time
from asyncio import CancelledError
from collections.abc import Callable
from typing import Any

import pytest
import torch
from viewer_stage import CAT, DOG

from longlive_env import World
from longlive_env.agents.base import seat
from longlive_env.engine.config import CompileMode
from longlive_env.errors import AgentError
from longlive_env.scenario import parse_scenario
from longlive_env.viewer.seat import AgentSeat
from longlive_env.viewer.session import Session


class Slow:
    """An agent that does not answer at once."""

    def reset(self, env: Any, info: Any) -> None: ...

    def act(self, observation: Any, info: Any) -> str:
        time.sleep(0.1)
        return DOG


class Dreams:
    """An agent that looks ahead and never comes to an end."""

    def __init__(self) -> None:
        self.blocks = 0
        self.well_on = threading.Event()

    def reset(self, env: Any, info: Any) -> None:
        self._seat = seat(env)

    def act(self, observation: Any, info: Any) -> str:
        dream = self._seat.rollout.fork([0, 0])
        while True:
            dream.step()
            self.blocks += 1
            self.well_on.set()


class Fails:
    """An agent whose first answer never comes, which takes a while to turn out."""

    def __init__(self) -> None:
        self.may_fail = threading.Event()
        self.turns = 0

    def reset(self, env: Any, info: Any) -> None: ...

    def act(self, observation: Any, info: Any) -> str:
        self.turns += 1
        assert self.may_fail.wait(60)
        if self.turns == 1:
            raise TimeoutError("no answer")
        return ""


class Leaves:
    """An agent that ends the program, as a script would, or is cut off in a way that is no `Exception`."""

    def __init__(self, error: BaseException) -> None:
        self.turns, self.error = 0, error

    def reset(self, env: Any, info: Any) -> None: ...

    def act(self, observation: Any, info: Any) -> str:
        self.turns += 1
        raise self.error


class Listens:
    """An agent that leaves everything as it is, and notes which blocks were recached."""

    def __init__(self) -> None:
        self.recached: list[bool] = []

    def reset(self, env: Any, info: Any) -> None: ...

    def act(self, observation: Any, info: Any) -> str:
        self.recached.append(info["recached"])
        return ""


Ask = Callable[[], str]


@pytest.fixture
def ask(make_session: Callable[..., Session], small_world: World) -> Ask:
    """Asks a new seat for the next block's prompt; nobody is waited for there without need."""
    session, rollout = make_session(), small_world.start("")
    frames = session.advance().frames

    def asked() -> str:
        seat = AgentSeat(small_world, Slow(), patience_s=0.0)
        try:
            return seat.act(rollout, frames, session.history.beats, 0, session.prompt)
        finally:
            seat.close()

    return asked


@pytest.mark.parametrize(
    ("device", "mode", "waits"),
    [
        ("cuda", "off", False),
        ("cuda", "default", False),
        ("cuda", "graphs", True),
        ("cuda", "max", True),
        ("cpu", "max", False),
    ],
)
def test_an_agent_is_waited_for_where_blocks_are_captured(
    ask: Ask, small_world: World, monkeypatch: pytest.MonkeyPatch, device: str, mode: CompileMode, waits: bool
) -> None:
    monkeypatch.setattr(World, "device", torch.device(device))
    monkeypatch.setattr(small_world, "compiled", mode)
    assert ask() == (DOG if waits else "")


def test_an_agent_is_waited_for_where_weights_are_offloaded(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longlive_env.viewer.seat.is_offloaded", lambda _: True)
    assert ask() == DOG


@pytest.mark.parametrize(
    ("recache", "recached"), [("full", [False, True, True, True, False]), ("none", [False] * 5)]
)
def test_every_block_of_a_blend_is_recached(
    make_session: Callable[..., Session], small_world: World, recache: str, recached: list[bool]
) -> None:
    text = f"name: w\nduration: 6 blocks\nlive: true\nrecache: {recache}\nprompt: {CAT}\n"
    text += f"timeline: [{{at: block 1, prompt: {DOG}, blend: 3 blocks}}]\n"
    agent = Listens()
    session = make_session(parse_scenario(text, "w.yaml").plan(small_world.config), agent=agent)
    session.take_seat("agent")
    prompts = [session.advance().beat.prompt for _ in range(6)]
    assert prompts == [CAT, *[DOG] * 5] and agent.recached == recached
    session.close()


def test_a_failure_is_reported_even_after_the_world_has_jumped(make_session: Callable[..., Session]) -> None:
    agent = Fails()
    session = make_session(agent=agent, patience_s=0.0)
    session.advance()
    session.take_seat("agent")
    session.advance()
    session.rewind(1)
    agent.may_fail.set()
    assert session._agent is not None and session._agent._thought is not None
    assert session._agent._thought.done.wait(60)
    with pytest.raises(AgentError, match="no answer"):
        session.advance()
    session.close()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (SystemExit("no server"), "the agent has failed at block 0: SystemExit: no server"),
        (CancelledError(), "the agent has failed at block 0: CancelledError"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_an_agent_that_would_end_the_program_fails_and_can_be_seated_again(
    make_session: Callable[..., Session], error: BaseException, told: str
) -> None:
    agent = Leaves(error)
    session = make_session(agent=agent, patience_s=60.0)
    session.advance()
    for turn in (1, 2):
        session.take_seat("agent")
        with pytest.raises(AgentError, match=told):
            session.advance()
        assert agent.turns == turn
    session.close()


def test_an_agent_that_thinks_is_broken_off_in_the_end(make_session: Callable[..., Session]) -> None:
    agent, before = Dreams(), set(threading.enumerate())
    session = make_session(agent=agent, patience_s=0.0)
    session.advance()
    session.take_seat("agent")
    session.advance()
    assert session.thinking and agent.well_on.wait(60)
    session.close()
    blocks = agent.blocks
    assert not set(threading.enumerate()) - before and not session.thinking
    session.close()
    assert agent.blocks == blocks
