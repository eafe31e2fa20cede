"""When the window is drawn anew: at once where something has changed, now and then where it only moves."""

from __future__ import annotations

IDLE_S = 0.1  # between two looks when nothing moves
ANIMATION_S = 1 / 30  # between two pictures of what moves over a frame
TRAVELLING_S = 1 / 10  # the same, where pictures travel to a mirror
SOON_S = 1 / 120


class Redraw:
    """Keeps account of what has changed since the window was drawn last.

    Args:
        travels: whether pictures travel to a mirror.
    """

    def __init__(self, *, travels: bool) -> None:
        self.due = True
        self._animation_s = TRAVELLING_S if travels else ANIMATION_S
        self._drawn_at = 0.0
        self._hovers = False  # whether the mouse has moved, which is not drawn for each of its many steps
        self._moves = False  # whether something does over the frame on show

    def ask(self) -> None:
        """Something has changed."""
        self.due = True

    def hover(self) -> None:
        """The mouse has moved."""
        self._hovers = True

    def update(self, now: float, *, moves: bool) -> None:
        """Time has passed; `moves` if something does over the frame on show."""
        waited = now - self._drawn_at > 0.9 * self._animation_s  # more often would slow the world down
        if ((moves or self._hovers) and waited) or moves != self._moves:  # what has faded away is drawn over
            self.due = True
        self._moves = moves

    def drawn(self, now: float) -> None:
        """The window has been drawn."""
        self.due = self._hovers = False
        self._drawn_at = now

    def wait_s(self, frame_s: float | None) -> float:
        """Seconds in which nothing will change unless an event comes.

        Args:
            frame_s: until the next frame; None while something moves that has no frames.
        """
        if frame_s is None:
            return self._animation_s
        return min(self._animation_s if self._hovers else IDLE_S, frame_s) if frame_s > 0 else SOON_S
