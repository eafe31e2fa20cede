"""Positions of a line's characters. Long lines are measured lazily, and each place only once."""

from __future__ import annotations

import bisect

from longlive_env.viewer.canvas import Canvas


class Ruler:
    """Measures a text as a canvas draws it, in pixels from its beginning.

    Args:
        canvas: canvas that it is drawn on.
        text: text to measure.
        size: size of the letters, in units.
    """

    def __init__(self, canvas: Canvas, text: str, size: float) -> None:
        self._canvas = canvas
        self._text = text
        self._size = size
        self._offsets: dict[int, int] = {}

    def measures(self, canvas: Canvas, text: str) -> bool:
        """Return whether this ruler fits a text on a canvas."""
        return (text, canvas.scale) == (self._text, self._canvas.scale)

    def offset(self, place: int) -> int:
        """Return the width of the characters before a place."""
        if place not in self._offsets:
            self._offsets[place] = self._canvas.width(self._text[:place], self._size)
        return self._offsets[place]

    def nearest(self, pixels: int) -> int:
        """Return the nearest place between two characters."""
        after = self._first_from(pixels)
        return min((max(0, after - 1), after), key=lambda place: abs(self.offset(place) - pixels))

    def between(self, left: int, right: int) -> tuple[int, int]:
        """Return begin and end of the characters that lie, at least in part, between two distances."""
        return max(0, self._first_from(left) - 1), self._first_from(right)

    def _first_from(self, pixels: int) -> int:
        """Return the first place at or beyond a distance; the end if there is none."""
        places = range(len(self._text) + 1)
        return min(bisect.bisect_left(places, pixels, key=self.offset), len(self._text))
