"""How a task is named and found."""

import pytest

from longlive_env.envs.task import resolve_task
from longlive_env.errors import ConfigError


def test_unknown_tasks_are_refused() -> None:
    assert resolve_task(None, "tiny") is None
    with pytest.raises(ConfigError, match="there is no task 'gaol'; did you mean 'goal'"):
        resolve_task("gaol", "tiny")
    with pytest.raises(ConfigError, match="there is no task None"):
        resolve_task({"reward": "sparse"}, "tiny")
