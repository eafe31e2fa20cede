"""A browser that shows the viewer's window: which pictures it gets, and whether somebody looks at it.

A visitor has at most `UNDERWAY` pictures on the way, or one over a slow connection, and then gets the newest
one: it shows fewer pictures, and none of them is older than it takes to travel.
"""

from __future__ import annotations

import io
from collections import deque
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from websockets.sync.server import ServerConnection

UNDERWAY = 3  # pictures that a browser has not yet shown: enough for the world's speed at 0.15 s to and fro
SLOW_S = 0.5  # from a picture's departure to its being shown; whoever takes longer gets one at a time
AWAY_S = 5.0  # whoever shows no picture for so long is not looking, such as a tab in the background
JPEG_QUALITY = 90


@dataclass(eq=False)
class Visitor:
    """A browser that is looking."""

    connection: ServerConnection
    newest: int = -1  # picture that it was sent
    underway: deque[float] = field(default_factory=deque)  # when the pictures left that it has not shown yet
    slow: bool = False
    told: bool | None = None  # whether it was told that somebody writes
    gone: bool = False

    def looks(self, now: float) -> bool:
        """Whether somebody is in front of it, as far as one can tell."""
        return not self.underway or now - self.underway[0] < AWAY_S

    def shown(self, now: float) -> None:
        """It has shown a picture."""
        if self.underway:
            self.slow = now - self.underway.popleft() > SLOW_S

    def say_goodbye(self) -> None:
        """Close the connection."""
        self.connection.close(1001, "the viewer has ended")

    @property
    def has_room(self) -> bool:
        """Whether another picture may leave."""
        return len(self.underway) < (1 if self.slow else UNDERWAY)


@dataclass(frozen=True)
class Picture:
    """What the window has shown."""

    number: int
    size: tuple[int, int]
    pixels: bytes = field(repr=False)  # RGB
    writing: bool

    @cached_property
    def jpeg(self) -> bytes:
        """What travels."""
        out = io.BytesIO()
        image = Image.frombytes("RGB", self.size, self.pixels)
        image.save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0)  # letters need their colours whole
        return out.getvalue()
