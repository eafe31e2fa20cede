"""How long the world waits for the agent in its seat."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from viewer_stage import DOG

from longlive_env import World
from longlive_env.engine.compile import CompileMode
from longlive_env.viewer.seat import AgentSeat
from longlive_env.viewer.session import Session


class Slow:
    """An agent that does not answer at once."""

    def reset(self, env: Any, info: Any) -> None: ...

    def act(self, observation: Any, info: Any) -> str:
        time.sleep(0.1)
        return DOG


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
