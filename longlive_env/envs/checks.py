"""What options of envs, tasks and wrappers have in common: whether a value is what it should be."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from longlive_env.errors import ConfigError


def is_number(value: Any, low: float = 0, high: float = math.inf, *, whole: bool = False) -> bool:
    """Whether an option is a finite number from `low` to `high`, or a whole one; flags are not numbers."""
    number = isinstance(value, Integral if whole else Real) and not isinstance(value, bool)
    return number and bool(low <= value <= high and value != math.inf)


def check_text(goal: Any) -> None:
    """Pass if a goal is a text that says something.

    Raises:
        ConfigError: it is not.
    """
    if not isinstance(goal, str) or not goal.strip():
        raise ConfigError(f"the goal is {goal!r}; expected a text")
