"""Devices, and what is fast on them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from longlive_env.engine import devices, stopwatch
from longlive_env.engine.devices import bfloat16_gain, multiplies_bfloat16


@pytest.fixture(autouse=True)
def unmeasured() -> Iterator[None]:
    bfloat16_gain.cache_clear()
    yield
    bfloat16_gain.cache_clear()


def test_the_gain_of_bfloat16_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    if not multiplies_bfloat16(torch.device("cpu")):
        pytest.skip("this processor multiplies bfloat16 in a plain loop")
    ticks = iter(range(10**6))
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: next(ticks))
    assert bfloat16_gain() == 1.0  # a tick for each product
    read = next(ticks)
    assert bfloat16_gain() == 1.0 and next(ticks) == read + 1


def test_a_plain_loop_is_not_worth_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "multiplies_bfloat16", lambda device: False)
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: pytest.fail("it was measured"))
    assert bfloat16_gain() == 0.0
