"""Infos of worlds: one form of every entry, and batches that lose no value."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from toy_task import Count

from longlive_env import World
from longlive_env.envs.infos import batched, plain_entry
from longlive_env.envs.prompt_env import PromptEnv
from longlive_env.envs.task import Block, TaskState, Verdict
from longlive_env.envs.vector_env import PromptVectorEnv
from longlive_env.errors import ConfigError


@dataclass(frozen=True)
class Says(Count):
    """Gives each world of a batch an entry of its own from the first step on."""

    entries: Sequence[Any] = ()
    first: Any = 0
    calls: list[int] = field(default_factory=list)

    def judge(self, states: Sequence[TaskState], blocks: Sequence[Block]) -> list[Verdict]:
        verdicts = super().judge(states, blocks)
        told = [self.entries[world] if state["blocks"] else self.first for world, state in enumerate(states)]
        return [replace(one, info={"entry": entry}) for one, entry in zip(verdicts, told, strict=True)]


@pytest.mark.parametrize(
    ("entries", "column"),
    [
        ((0, 0.65), np.array([0, 0.65])),
        ((0.65, 0), np.array([0.65, 0])),
        ((True, 2), np.array([1, 2])),
        ((False, True), np.array([False, True])),
        ((None, 3), np.array([None, 3])),
        ((3, None), np.array([3, None])),
        ((0.5, float("nan")), np.array([0.5, np.nan])),
        ((2**63, 1), np.array([2**63, 1], object)),
        ((2**60 + 1, 0.5), np.array([2**60 + 1, 0.5], object)),
        ((1, "two"), np.array([1, "two"], object)),
        ((np.float32(0.1), 1), np.array([float(np.float32(0.1)), 1])),
        ((torch.tensor(2), torch.tensor(0.5)), np.array([2, 0.5])),
        ((np.zeros(2, np.int32), np.array([0.5, 1])), np.array([[0, 0], [0.5, 1]])),
        ((torch.ones(2, dtype=torch.bfloat16), np.zeros(2, np.float32)), np.array([[1, 1], [0, 0]], "f4")),
    ],
)
def test_a_batch_says_what_its_worlds_say_alone(
    small_world: World, entries: tuple[Any, Any], column: np.ndarray[Any, Any]
) -> None:
    envs = PromptVectorEnv(2, small_world, task=Says(entries=entries, first=entries[0]))
    envs.reset(seed=1)
    found = envs.step(["", ""])[4]["entry"]
    assert found.dtype == column.dtype
    np.testing.assert_equal(found, column)
    for world, entry in enumerate(entries):
        env = PromptEnv(small_world, task=Says(entries=(entry,), first=entry))
        env.reset(seed=1)
        np.testing.assert_equal(env.step("")[4]["entry"], found[world])


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ((np.zeros(2), np.zeros(3)), r"an array \[2\] in world 0 and an array \[3\] in world 1"),
        ((np.zeros(2), 3), r"an array \[2\] in world 0 and 3 in world 1; give every world's the same kind"),
        (({"a": 1}, 3), r"\{'a': 1\} in world 0 and 3 in world 1"),
        (({"a": {}}, {"a": 3}), r"\{\} in world 0 and 3"),
    ],
)
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_entries_that_do_not_fit_are_named(
    small_world: World, entries: tuple[Any, Any], message: str, mode: str
) -> None:
    envs = PromptVectorEnv(2, small_world, task=Says(entries=entries), autoreset_mode=mode)
    envs.reset(seed=1)
    with pytest.raises(ConfigError, match=f"info '.*' is {message}"):
        envs.step(["", ""])
    with pytest.raises(gym.error.ResetNeeded, match="last step failed"):
        envs.step(["", ""])
    assert envs.reset(seed=1)[1]["entry"].tolist() == [0, 0]


def test_entries_of_a_world_that_begins_have_to_fit_too(small_world: World) -> None:
    """Its first block is judged apart from the others' in this mode."""
    task = Says(length=1, entries=(np.ones(1), np.ones(1)), first=np.ones(2))
    envs = PromptVectorEnv(2, small_world, task=task, autoreset_mode="SameStep")
    envs.reset(seed=1)
    envs.reset(options={"length": 9, "reset_mask": np.array([True, False])})
    with pytest.raises(ConfigError, match="info 'entry'"):
        envs.step(["", ""])
    with pytest.raises(gym.error.ResetNeeded):
        envs.step(["", ""])


def test_batches_have_gymnasiums_form() -> None:
    infos: Mapping[int, Mapping[str, Any]] = {
        0: {"text": "a", "deep": {"x": 1}, "rare": 2},
        2: {"text": "b", "deep": {"x": 0.5}},
    }
    env, theirs = gym.vector.VectorEnv(), dict[str, Any]()
    env.num_envs = 3
    for world in (2, 0):  # the one with the wider type first
        theirs = env._add_info(theirs, dict(infos[world]), world)
    np.testing.assert_equal(batched(infos, 3), theirs)
    assert batched({}, 3) == {}


def test_members_of_enums_are_what_json_makes_of_them() -> None:
    colour = enum.Enum("Colour", {"RED": "red"}, type=str)
    number = enum.IntEnum("Number", {"TWO": 2})
    assert plain_entry([colour.RED, number.TWO]) == ("red", 2)
    assert [type(one) for one in plain_entry([colour.RED, number.TWO])] == [str, int]


def test_entries_are_copies() -> None:
    array = np.ones(2)
    kept = plain_entry(array)
    array[:] = 0
    assert kept.tolist() == [1, 1] and plain_entry(["a", ["b"]]) == ("a", ("b",))
