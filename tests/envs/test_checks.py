"""What counts as a number, and what JSON can hold."""

import math

import numpy as np
import pytest

from longlive_env.envs.checks import is_json, is_number


@pytest.mark.parametrize("value", [0, 1, 10**400, np.int64(3), 0.5, np.float32(2)])
def test_numbers(value: object) -> None:
    assert is_number(value)


@pytest.mark.parametrize("value", [True, "1", None, -1, math.nan, math.inf, 1j, np.array([1])])
def test_what_is_none(value: object) -> None:
    assert not is_number(value)


def test_bounds_and_whole_numbers() -> None:
    assert is_number(2, 1, 2, whole=True) and not is_number(3, 1, 2) and not is_number(1.0, whole=True)


def test_what_json_can_hold() -> None:
    assert all(map(is_json, [None, 1, "x", [1, {"a": (2.5,)}]]))
    assert not any(map(is_json, [np.zeros(2), {1, 2}, object(), [np.float32(1)]]))
