"""What counts as a number, and what JSON can hold."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from longlive_env.envs.checks import as_number, is_json, is_number


@pytest.mark.parametrize("value", [0, 1, 10**400, np.int64(3), 0.5, np.float32(2)])
def test_numbers(value: object) -> None:
    assert is_number(value)


@pytest.mark.parametrize("value", [True, "1", None, -1, math.nan, math.inf, 1j, np.array([1])])
def test_what_is_none(value: object) -> None:
    assert not is_number(value)


def test_bounds_and_whole_numbers() -> None:
    assert is_number(2, 1, 2, whole=True) and not is_number(3, 1, 2) and not is_number(1.0, whole=True)


HALVES = [
    0.5,
    Fraction(1, 2),
    np.float32(0.5),
    np.array(0.5),
    np.array([[0.5]], np.float16),
    torch.tensor(0.5, dtype=torch.bfloat16),
    torch.tensor([0.5], requires_grad=True),
]


@pytest.mark.parametrize("value", HALVES, ids=repr)
@pytest.mark.filterwarnings("error")
def test_whatever_holds_one_number_is_one(value: object) -> None:
    found = as_number(value)
    assert type(found) is float and found == 0.5
    assert as_number(True) == as_number(np.True_) == as_number(torch.tensor(True)) == 1.0


@pytest.mark.parametrize(
    "value",
    [
        *(None, "0.5", np.str_("0.5"), b"1", [0.5], np.ones(2), torch.ones(2), torch.ones(0), {}, 10**400),
        math.nan,
        -math.inf,
        np.float32("nan"),
        torch.tensor(math.inf),
        1j,
        np.complex64(1),
        torch.tensor(1 + 0j),
    ],
    ids=repr,
)
@pytest.mark.filterwarnings("error")
def test_what_does_not_hold_one_number(value: object) -> None:
    assert as_number(value) is None


def test_what_json_can_hold() -> None:
    assert all(map(is_json, [None, 1, "x", [1, {"a": (2.5,)}]]))
    itself: list[object] = []
    itself.append(itself)
    assert not any(map(is_json, [np.zeros(2), {1, 2}, object(), [np.float32(1)], itself]))
