"""Time the phases of a step without stalling the device, on CUDA by events; and what may stall it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

KEPT = 256  # phases not read yet; older ones are forgotten
Phase = tuple[str, torch.cuda.Event, torch.cuda.Event]  # name, begin and end


class Stopwatch:
    """Sums the duration of named phases until they are read."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._device = device
        self._done: dict[str, float] = {}  # ms
        self._events: list[Phase] = []

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of what runs inside to phase `name`."""
        if self._cuda:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record(torch.cuda.current_stream(self._device))
            yield
            end.record(torch.cuda.current_stream(self._device))
            self._events = [*self._events[1 - KEPT :], (name, begin, end)]
        else:
            start = time.perf_counter()
            yield
            self._done[name] = self._done.get(name, 0.0) + (time.perf_counter() - start) * 1e3

    def clear(self) -> None:
        """Forget what was timed."""
        self._done, self._events = {}, []

    def read(self, *names: str) -> dict[str, float]:
        """Return milliseconds of the named phases and `total_ms`, and start again; never waits.

        The total counts phases that overlap on CUDA only once. What is still running counts at the next
        reading: frames arrive before the end of the pass that remembers them.
        """
        ended = [event for event in self._events if event[2].query()]
        for name, begin, end in ended:
            self._done[name] = self._done.get(name, 0.0) + begin.elapsed_time(end)
        total = _covered(ended) if self._cuda else sum(self._done.values())
        out = {name: self._done.get(name, 0.0) for name in names} | {"total_ms": total}
        self._done, self._events = {}, [event for event in self._events if event not in ended]
        return out


def _covered(phases: Sequence[Phase]) -> float:
    """Milliseconds during which at least one of the phases ran."""
    if not phases:
        return 0.0
    zero, total, until = phases[0][1], 0.0, -math.inf
    for begin, end in sorted((zero.elapsed_time(one[1]), zero.elapsed_time(one[2])) for one in phases):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


def fastest(run: Callable[[], object], device: torch.device, rounds: int) -> float:
    """Seconds of the fastest of some runs, each with the device to itself."""
    best = math.inf
    for _ in range(rounds):
        _wait(device)
        begin = time.perf_counter()
        run()
        _wait(device)
        best = min(best, time.perf_counter() - begin)
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
