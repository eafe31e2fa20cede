"""Times of phases, also of those that run beside each other."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from longlive_env.engine.stopwatch import Stopwatch


@dataclass(frozen=True)
class Event:
    """A moment on a device, as a CUDA event is one."""

    at_ms: float
    over: bool = True

    def query(self) -> bool:
        return self.over

    def elapsed_time(self, later: "Event") -> float:
        return later.at_ms - self.at_ms


def on_cuda(*phases: Any) -> Stopwatch:
    stopwatch = Stopwatch(torch.device("cuda"))
    stopwatch._events = list(phases)
    return stopwatch


def test_what_runs_beside_each_other_counts_once_in_the_total() -> None:
    decode = ("decode", Event(10), Event(30))
    remember = ("denoise", Event(12), Event(25))
    denoise, recache = ("denoise", Event(0), Event(10)), ("recache", Event(-50), Event(-45))
    times = on_cuda(decode, denoise, recache, remember).read("denoise", "recache", "decode")
    assert times == {"denoise": 23, "recache": 5, "decode": 20, "total_ms": 35}


def test_what_still_runs_counts_the_next_time() -> None:
    stopwatch = on_cuda(("a", Event(0), Event(4)), ("a", Event(4), Event(9, over=False)))
    assert stopwatch.read("a") == {"a": 4, "total_ms": 4}
    assert stopwatch.read("a") == {"a": 0, "total_ms": 0}
    (waiting,) = stopwatch._events
    assert waiting[2].elapsed_time(waiting[2]) == 0


def test_phases_on_a_cpu_add_up() -> None:
    stopwatch = Stopwatch(torch.device("cpu"))
    for name in ("a", "b", "a"):
        with stopwatch.phase(name):
            pass
    times = stopwatch.read("a", "b")
    assert times["total_ms"] == pytest.approx(times["a"] + times["b"]) and times["a"] > 0
