"""An env shows the same under any settings that its caller has made for PyTorch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest
import torch
from pixels import shot

from longlive_env import World
from longlive_env.agents import GoalAgent
from longlive_env.envs import PromptEnv
from longlive_env.envs.torch_settings import plain_settings
from longlive_env.envs.wrappers import EmbeddingPrompts, ProbeFeatures
from longlive_env.tiny.probe import Probe
from longlive_env.tiny.scene import Scene


@contextlib.contextmanager
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


SETTINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "default type": double,
    "default device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "inference mode": torch.inference_mode,
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_future_does_not_depend_on_the_callers_settings(small_world: World, name: str) -> None:
    def played() -> list[Any]:
        env = PromptEnv(small_world)
        observations = [env.reset(seed=1)[0], env.step("a red cat")[0]]
        observations.append(env.reset(seed=1, options={"prompt": "a green dog"})[0])
        state = env.clone_state()
        observations += [env.fork(2).step(["", "a blue dog"])[0], env.step("")[0]]
        env.restore_state(state)
        return [*observations, env.step("")[0]]

    expected = played()
    with SETTINGS[name]():
        found = played()
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.fixture(scope="module")
def read() -> Callable[[], list[Any]]:
    """What adapters and tasks read of the shipped world."""
    world, scene = World.load("tiny", codec="light"), Scene("car", "red", "city", "night", "still")
    picture = shot(scene)[3]

    def read() -> list[Any]:
        world.text_encoding._recent.clear()
        inner = PromptEnv(world, task="goal")
        env = EmbeddingPrompts(ProbeFeatures(inner), ["a blue cat dances", "a red cat"], direct=True)
        features, info = env.reset(seed=1, options={"goal_image": picture})
        agent = GoalAgent(branches=2, horizon=1)
        agent.reset(env, info)
        said = agent.act(inner.episodes.observations[0], info)
        place = env.menu.place("a green car waits")
        return [features, info["goal"], said, place, env.step(env.menu.entries[0] * 0.9)[0]]

    return read


@pytest.fixture(scope="module")
def plainly_read(read: Callable[[], list[Any]]) -> list[Any]:
    return read()


@pytest.mark.parametrize("name", SETTINGS)
def test_what_adapters_and_tasks_read_does_not_depend_on_them(
    read: Callable[[], list[Any]], plainly_read: list[Any], name: str
) -> None:
    with SETTINGS[name]():
        found = read()
    assert all(np.array_equal(one, other) for one, other in zip(found, plainly_read, strict=True))


def test_rewards_come_from_a_probe_of_its_own_type(small_world: World) -> None:
    with double():
        assert Probe.load().look[0].weight.dtype is torch.float32
        rollout = small_world.start("a red cat", seed=1)
        latents = rollout.step_latents()
    assert torch.equal(latents, small_world.start("a red cat", seed=1).step_latents())


def test_the_callers_settings_come_back() -> None:
    with double(), torch.device("meta"), torch.autocast("cpu", torch.bfloat16):
        with pytest.raises(KeyError), plain_settings():
            assert torch.zeros(1).device.type == "cpu" and torch.zeros(1).dtype is torch.float32
            assert not torch.is_autocast_enabled("cpu")
            raise KeyError
        assert torch.get_default_dtype() is torch.float64 and torch.zeros(1).is_meta
        assert torch.is_autocast_enabled("cpu")
