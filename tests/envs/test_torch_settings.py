"""An env shows the same under any settings that its caller has made for PyTorch."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest
import torch
from pixels import shot

from longlive_env import World
from longlive_env.agents import GoalAgent
from longlive_env.envs import PromptEnv, rules
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


@contextlib.contextmanager
def coarse(precision: str = "medium") -> Iterator[None]:
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")


@contextlib.contextmanager
def coarse_backends(precision: str = "bf16") -> Iterator[None]:
    torch.backends.fp32_precision = precision
    try:
        yield
    finally:
        torch.backends.fp32_precision = "none"


SETTINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "default type": double,
    "default device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "inference mode": torch.inference_mode,
    "precision of products": coarse,
    "precision of backends": coarse_backends,
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


def precisions() -> list[str]:
    """All that PyTorch says about products of float32 numbers."""
    backends: Any = torch.backends
    try:
        overall = torch.get_float32_matmul_precision()
    except RuntimeError:  # of what was set for a backend alone, it says nothing
        overall = "?"
    ours = (backends.mkldnn.matmul, backends.mkldnn.conv, backends.cuda.matmul, backends.cudnn.conv)
    return [overall, *(one.fp32_precision for one in ours)]


def test_worlds_are_loaded_and_warmed_up_under_plain_settings(
    small_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a compiled world would be compiled again by the first step."""
    found: list[Any] = []

    def warm(world: World, batch: int) -> None:
        found.append((torch.get_default_dtype(), precisions()[0]))

    monkeypatch.setattr(rules, "warm", warm)
    with double(), coarse():
        PromptEnv(small_world)
    assert found == [(torch.float32, "highest")]


def set_alone(backend: Any, precision: str) -> AbstractContextManager[Any]:
    """A product's precision, set for one backend."""

    @contextlib.contextmanager
    def within() -> Iterator[None]:
        backend.fp32_precision = precision
        try:
            yield
        finally:
            backend.fp32_precision = "none"

    return within()


@pytest.mark.parametrize(
    "setting",
    [
        coarse,
        lambda: coarse("high"),
        coarse_backends,
        lambda: coarse_backends("tf32"),
        lambda: set_alone(torch.backends.mkldnn.matmul, "bf16"),  # type: ignore[attr-defined]
        lambda: set_alone(torch.backends.mkldnn.conv, "bf16"),  # type: ignore[attr-defined]
        lambda: set_alone(torch.backends.cuda.matmul, "tf32"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_products_are_exact_and_the_callers_precision_comes_back(
    setting: Callable[[], AbstractContextManager[Any]],
) -> None:
    torch.set_float32_matmul_precision("highest")
    default = precisions()
    with setting():
        before = precisions()
        assert before != default
        with plain_settings():
            overall, *products = precisions()[:-1]
            assert overall == "highest" and set(products) == {"ieee"}
        assert precisions() == before
    assert set(precisions()[1:-1]) <= {"none", "ieee"}, "what was inherited has not become a setting"


def test_a_thread_that_leaves_takes_nothing_from_one_that_is_inside() -> None:
    before = torch.get_float32_matmul_precision()
    inside, may_leave = threading.Event(), threading.Event()

    def other() -> None:
        with plain_settings():
            inside.set()
            may_leave.wait(60)

    torch.set_float32_matmul_precision("medium")
    thread = threading.Thread(target=other)
    try:
        with plain_settings():
            thread.start()
            assert inside.wait(60)
        assert torch.get_float32_matmul_precision() == "highest"  # the other one computes
        may_leave.set()
        thread.join(60)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        may_leave.set()
        torch.set_float32_matmul_precision(before)
