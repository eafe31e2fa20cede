"""When to redraw the window: at once if something has changed, at intervals for mere animations."""

from __future__ import annotations

IDLE_S = 0.1  # interval of checks when nothing moves
ANIMATION_S = 1 / 30  # interval of animations over a frame
TRAVELLING_S = 1 / 10  # the same, if pictures travel to a mirror
SOON_S = 1 / 120


class Redraw:
    """Tracks what has changed since the window was last drawn.

    Args:
        travels: whether pictures travel to a mirror.
    """

    def __init__(self, *, travels: bool) -> None:
        self.due = True
        self._animation_s = TRAVELLING_S if travels else ANIMATION_S
        self._drawn_at = 0.0
        self._hovers = False  # whether the mouse has moved; not every step is drawn
        self._moves = False  # whether something moves over the frame on show

    def ask(self) -> None:
        """Note that something has changed."""
        self.due = True

    def hover(self) -> None:
        """Note that the mouse has moved."""
        self._hovers = True

    def update(self, now: float, *, moves: bool) -> None:
        """Note that time has passed; `moves` says if something moves over the frame on show."""
        waited = now - self._drawn_at > 0.9 * self._animation_s  # more often would slow the world down
        if ((moves or self._hovers) and waited) or moves != self._moves:  # draws over what has faded away
            self.due = True
        self._moves = moves

    def drawn(self, now: float) -> None:
        """Note that the window has been drawn."""
        self.due = self._hovers = False
        self._drawn_at = now

    def wait_s(self, frame_s: float | None) -> float:
        """Return the seconds in which nothing will change unless an event comes.

        Args:
            frame_s: seconds until the next frame; None while something without frames moves.
        """
        if frame_s is None:
            return self._animation_s
        return min(self._animation_s if self._hovers else IDLE_S, frame_s) if frame_s > 0 else SOON_S
