"""Measurements over time, for the statistics."""

from __future__ import annotations

import os
import sys
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longlive_env.viewer.playback import Playback
    from longlive_env.viewer.session import Played

LENGTH = 120
MEASURE_S = 0.5  # interval between measurements of what changes constantly


@dataclass
class Series:
    """The newest values of one quantity.

    Attributes:
        name: displayed name.
        unit: unit after the value.
        values: values, newest last.
    """

    name: str
    unit: str
    values: deque[float] = field(default_factory=lambda: deque(maxlen=LENGTH))

    def add(self, value: float) -> None:
        """Add a value."""
        self.values.append(value)

    def newest(self) -> str:
        """Return the newest value as text."""
        if not self.values:
            return "–"
        value = self.values[-1]
        return f"{value:.0f}{self.unit}" if value >= 100 or value == int(value) else f"{value:.1f}{self.unit}"


class Statistics:
    """The series that F3 shows."""

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
        """All series in display order."""
        return (self.fps, self.denoise, self.recache, self.decode, self.latency, self.queue, self.memory)


class Meter:
    """Measures what is shown.

    Attributes:
        statistics: measured series.
    """

    def __init__(self) -> None:
        self.statistics = Statistics()
        self._at = -1.0
        self._played: Played | None = None
        self._latency: float | None = None

    def update(self, playback: Playback, queued: int, now: float) -> bool:
        """Measure what is new; returns whether there was anything.

        Args:
            playback: playback of the shown frames.
            queued: number of waiting blocks.
            now: time in seconds.
        """
        statistics, played = self.statistics, playback.played
        if played is not None and played is not self._played:
            statistics.denoise.add(played.timing.get("denoise_ms", 0.0))
            statistics.recache.add(played.timing.get("recache_ms", 0.0))
            statistics.decode.add(played.timing.get("decode_ms", 0.0))
        self._played = played
        if playback.latency_s is not None and playback.latency_s != self._latency:
            statistics.latency.add(playback.latency_s * 1000)
        self._latency = playback.latency_s
        if now - self._at < MEASURE_S:
            return False
        self._at = now
        statistics.fps.add(playback.clock.speed(now) or 0.0)
        statistics.queue.add(queued)
        memory = memory_mb()
        if memory is not None:
            statistics.memory.add(memory)
        return True


def memory_mb() -> float | None:
    """Return the memory of this process in megabytes; None if the system does not report it."""
    if sys.platform == "linux":
        try:
            with open("/proc/self/statm", encoding="ascii") as file:
                pages = int(file.read().split()[1])
        except OSError:
            return None
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return None
