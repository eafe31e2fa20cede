"""Goals as numbers, for agents that know no text."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from longlive_env.envs import goals
from longlive_env.errors import ConfigError
from longlive_env.tiny.scene import ATTRIBUTES

GoalForm = Literal["values", "text"]


def goal_space(form: GoalForm, text_space: spaces.Space[str]) -> spaces.Space[Any]:
    """The space of goals in a form.

    Args:
        form: `"values"` (one number for each attribute of the tiny world's scenes, 0 where the goal leaves it
            open) or `"text"`.
        text_space: of the texts.

    Raises:
        ConfigError: there is no such form.
    """
    if form == "text":
        return text_space
    if form == "values":
        return spaces.MultiDiscrete([len(values) + 1 for values in ATTRIBUTES.values()])
    raise ConfigError(f"form is {form!r}; expected 'values' or 'text'")


def goal_as(form: GoalForm, goal: str) -> Any:
    """A goal text in a form, a member of `goal_space`."""
    if form == "text":
        return goal
    named = goals.parse(goal)
    return np.array(
        [1 + values.index(named[name]) if name in named else 0 for name, values in ATTRIBUTES.items()],
        np.int64,
    )
