"""Measurements over time, for the statistics."""

from __future__ import annotations

import os
import sys
from collections import deque
from dataclasses import dataclass, field

LENGTH = 120


@dataclass
class Series:
    """The newest values of one quantity.

    Attributes:
        name: what people read.
        unit: behind the value.
        values: newest last.
    """

    name: str
    unit: str
    values: deque[float] = field(default_factory=lambda: deque(maxlen=LENGTH))

    def add(self, value: float) -> None:
        """Add a value."""
        self.values.append(value)

    def newest(self) -> str:
        """The newest value as text."""
        if not self.values:
            return "–"
        value = self.values[-1]
        return f"{value:.0f}{self.unit}" if value >= 100 or value == int(value) else f"{value:.1f}{self.unit}"


class Statistics:
    """All that F3 shows over time."""

    def __init__(self) -> None:
        self.fps = Series("Picture", " FPS")
        self.denoise = Series("Denoise", " ms")
        self.recache = Series("Recache", " ms")
        self.decode = Series("Decode", " ms")
        self.latency = Series("Key to picture", " ms")
        self.queue = Series("Blocks ahead", "")
        self.memory = Series("Memory", " MB")

    @property
    def all(self) -> tuple[Series, ...]:
        """In the order in which they are shown."""
        return (self.fps, self.denoise, self.recache, self.decode, self.latency, self.queue, self.memory)


def memory_mb() -> float | None:
    """Memory of this process in megabytes; None where the system does not tell."""
    if sys.platform == "linux":
        try:
            with open("/proc/self/statm", encoding="ascii") as file:
                pages = int(file.read().split()[1])
        except OSError:
            return None
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return None
