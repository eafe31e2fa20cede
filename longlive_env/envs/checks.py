"""Checks of option values that envs, tasks and wrappers share."""

from __future__ import annotations

import json
import math
from numbers import Integral, Real
from typing import Any

from longlive_env.errors import ConfigError


def is_number(value: Any, low: float = 0, high: float = math.inf, *, whole: bool = False) -> bool:
    """Return whether a value is a finite (or whole) number from `low` to `high`; bools are not numbers."""
    number = isinstance(value, Integral if whole else Real) and not isinstance(value, bool)
    return number and bool(low <= value <= high and value != math.inf)


def as_number(value: Any) -> float | None:
    """Return a finite number as a float; None if it is no such number.

    Arrays and tensors count, of any type and device, if they hold one number.
    """
    try:
        held = value.item() if hasattr(value, "item") else value
        number = math.nan if isinstance(held, (str, bytes, complex)) else float(held)
    except (TypeError, ValueError, RuntimeError, OverflowError):  # the third is PyTorch's
        return None
    return number if math.isfinite(number) else None


def is_json(value: Any) -> bool:
    """Return whether JSON can hold a value."""
    try:
        json.dumps(value)
    except (TypeError, ValueError):  # the second is for what contains itself
        return False
    return True


def check_text(goal: Any) -> None:
    """Check that a goal is a non-empty text.

    Raises:
        ConfigError: it is not.
    """
    if not isinstance(goal, str) or not goal.strip():
        raise ConfigError(f"the goal is {goal!r}; expected a text")
