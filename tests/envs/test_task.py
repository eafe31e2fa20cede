"""How a task is named and found."""

from typing import Any

import pytest

from longlive_env.engine.config import PRESETS, WorldConfig
from longlive_env.envs.task import resolve_task
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
