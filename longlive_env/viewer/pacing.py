"""Frame pacing: at the world's speed, slower if the model is slower, and never faster."""

from __future__ import annotations

from collections import deque

MADE_UP = 0.25  # share of a frame's time that a late frame may take from the next
MEASURED_S = 2.0  # window over which the speed is measured
SLOW = 0.9  # below this share of the speed, the clock counts as slow


class FrameClock:
    """Paces frames. Time is passed in, in seconds, so that tests need not wait.

    A slightly late frame does not delay the following ones, so the mean speed is right. If a frame is later,
    because the model had nothing ready, all following frames shift: nothing is skipped or hurried.

    Args:
        fps: frames per second.
    """

    def __init__(self, fps: float) -> None:
        self.fps = fps
        self._due: float | None = None
        self._shown: deque[float] = deque()

    def wait_s(self, now: float) -> float:
        """Return the seconds until the next frame may be shown; 0 if it may be shown now."""
        return 0.0 if self._due is None else max(0.0, self._due - now)

    def show(self, now: float) -> None:
        """Note that a frame is shown."""
        period = 1 / self.fps
        due = now if self._due is None else max(self._due, now - MADE_UP * period)
        self._due = due + period
        self._shown.append(now)
        self._forget(now)

    def stop(self) -> None:
        """Note that the picture is stopped on purpose; discards earlier measurements."""
        self._due = None
        self._shown.clear()

    def speed(self, now: float) -> float | None:
        """Return recent frames per second, waiting included; None before there is anything to measure."""
        self._forget(now)
        if len(self._shown) < 2:
            return None
        last = max(self._shown[-1], now - 1 / self.fps)  # an overdue frame counts as waiting
        return (len(self._shown) - 1) / max(last - self._shown[0], 1e-9)

    def slow(self, now: float) -> bool:
        """Return whether the picture is visibly slower than the world's own speed."""
        speed = self.speed(now)
        return speed is not None and speed < SLOW * self.fps

    def _forget(self, now: float) -> None:
        while len(self._shown) > 2 and self._shown[1] < now - MEASURED_S:
            self._shown.popleft()
