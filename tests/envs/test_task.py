"""How a task is named and found."""

from typing import Any

import numpy as np
import pytest
import torch
from toy_task import Count

from longlive_env.engine.config import PRESETS, WorldConfig
from longlive_env.envs.task import OWN_INFO, VECTOR_INFO, Verdict, checked_verdicts, resolve_task
from longlive_env.envs.tasks import GoalTask
from longlive_env.errors import ConfigError


def test_unknown_tasks_are_refused() -> None:
    assert resolve_task(None, PRESETS["tiny"]) is None
    with pytest.raises(ConfigError, match="there is no task 'gaol'; did you mean 'goal'"):
        resolve_task("gaol", PRESETS["tiny"])
    with pytest.raises(ConfigError, match="there is no task None"):
        resolve_task({"reward": "sparse"}, PRESETS["tiny"])


class Half:
    """Some of what a task is."""

    reset_options = ()

    def check(self, config: WorldConfig) -> None: ...


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (5, "the task is 5; expected a name, a dict with one, or a Task: it lacks reset_options, check"),
        (["goal"], r"the task is \['goal'\]; expected a name"),
        (Half(), "it lacks open, disturb, judge"),
        (GoalTask, r"give an object, GoalTask\(\.\.\.\)"),
    ],
)
def test_what_is_no_task_is_refused(spec: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_task(spec, PRESETS["tiny"])


@pytest.mark.parametrize(
    "reward", [0.5, np.float32(0.5), np.array([0.5]), torch.tensor(0.5), torch.tensor([[0.5]])]
)
@pytest.mark.parametrize("end", [True, np.True_, np.array([True]), torch.tensor([1])])
def test_verdicts_get_plain_numbers(reward: Any, end: Any) -> None:
    (found,) = checked_verdicts(Count(), [Verdict({"n": 1}, reward, end, {"seen": "a cat"})], 1)
    assert found == Verdict({"n": 1}, 0.5, True, {"seen": "a cat"})
    assert type(found.reward) is float and type(found.terminated) is bool


@pytest.mark.parametrize(
    ("verdicts", "message"),
    [
        (None, "returned None for 1 blocks; return a list"),
        ((one for one in [Verdict({})]), "returned <generator object"),
        ([], "returned 0 verdicts for 1 blocks"),
        ([({}, 1.0, False, {})], r"returned the verdict \(\{\}, 1.0.*; return a Verdict\(state, \.\.\.\)"),
        ([Verdict({}, float("nan"))], "gave the reward nan; expected a finite number"),
        ([Verdict({}, np.ones(2))], r"gave the reward array\(\[1\., 1\.\]\); expected"),  # type: ignore[arg-type]
        ([Verdict({}, 1j)], "gave the reward 1j"),  # type: ignore[arg-type]
        ([Verdict({}, 1.0, np.ones(2, bool))], "gave terminated as array.*; expected True or False"),  # type: ignore[arg-type]
        ([Verdict({}, info=None)], r"gave the info None; expected a dict"),  # type: ignore[arg-type]
        ([Verdict({}, info={1: 2})], r"gave the info \{1: 2\}; expected a dict"),  # type: ignore[dict-item]
        (
            [Verdict({}, info={"a": 1, "_b": 1, "block": 1})],
            "gave '_b', 'block' in a verdict's info; these names",
        ),
    ],
)
def test_what_is_no_verdict_is_refused(verdicts: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^Count\.judge {message}"):
        checked_verdicts(Count(), verdicts, 1)


@pytest.mark.parametrize("name", [*OWN_INFO, *VECTOR_INFO, "_prompt"])
def test_names_of_the_envs_own_entries_are_taken(name: str) -> None:
    with pytest.raises(ConfigError, match=f"gave '{name}' in a verdict's info.*so choose others"):
        checked_verdicts(Count(), [Verdict({}, info={name: 0})], 1)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (object(), "object <object.*; expected texts, numbers"),
        (np.array(["a", "b"]), "an array of <U1; expected"),
        (np.array([None]), "an array of object"),
        (np.ones(1, np.complex128), "an array of complex128"),
        ([np.ones(2)], r"ndarray array\(\[1\., 1\.\]\); expected .*, or an array of numbers"),
        ({1: 2}, r"dict \{1: 2\}"),
        (b"x", "bytes b'x'"),
    ],
)
def test_what_no_info_can_hold_is_refused_at_once(entry: Any, message: str) -> None:
    with pytest.raises(
        ConfigError, match=f"^Count.judge gave 'thing' in a verdict's info, which holds {message}"
    ):
        checked_verdicts(Count(), [Verdict({}, info={"thing": entry})], 1)
