"""Times the phases of a step without stopping the device: on CUDA by events."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Sums the duration of named phases until they are read."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._device = device
        self._done: dict[str, float] = {}  # ms
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add what runs inside to phase `name`."""
        if self._cuda:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record(torch.cuda.current_stream(self._device))
            yield
            end.record(torch.cuda.current_stream(self._device))
            self._events.append((name, begin, end))
        else:
            start = time.perf_counter()
            yield
            self._done[name] = self._done.get(name, 0.0) + (time.perf_counter() - start) * 1e3

    def read(self, *names: str) -> dict[str, float]:
        """Milliseconds of the named phases, and start again; never waits.

        What still runs on CUDA counts the next time: frames are there before the pass ends that remembers
        them.
        """
        ended = [event for event in self._events if event[2].query()]
        for name, begin, end in ended:
            self._done[name] = self._done.get(name, 0.0) + begin.elapsed_time(end)
        out = {name: self._done.get(name, 0.0) for name in names}
        self._done, self._events = {}, [event for event in self._events if event not in ended]
        return out
