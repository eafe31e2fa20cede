"""A browser that shows the viewer's window: which pictures it gets, and whether somebody is watching.

At most `UNDERWAY` pictures, or one over a slow connection, are on the way to a visitor; then it gets the
newest one. A slow visitor therefore shows fewer pictures, but none that is older than its transmission.
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

UNDERWAY = 3  # pictures sent but not yet shown: enough for the world's speed at 0.15 s round trip
SLOW_S = 0.5  # from sending a picture to its being shown; slower visitors get one at a time
AWAY_S = 5.0  # no picture shown for so long means nobody watches, such as a background tab
JPEG_QUALITY = 90


@dataclass(eq=False)
class Visitor:
    """A connected browser."""

    connection: ServerConnection
    newest: int = -1  # newest picture sent
    underway: deque[float] = field(default_factory=deque)  # send times of pictures not shown yet
    slow: bool = False
    told: bool | None = None  # last `writing` state sent
    gone: bool = False

    def looks(self, now: float) -> bool:
        """Return whether somebody seems to be watching."""
        return not self.underway or now - self.underway[0] < AWAY_S

    def shown(self, now: float) -> None:
        """Note that it has shown a picture."""
        if self.underway:
            self.slow = now - self.underway.popleft() > SLOW_S

    def say_goodbye(self) -> None:
        """Close the connection."""
        self.connection.close(1001, "the viewer has ended")

    @property
    def has_room(self) -> bool:
        """Whether another picture may be sent."""
        return len(self.underway) < (1 if self.slow else UNDERWAY)


@dataclass(frozen=True)
class Picture:
    """A picture that the window has shown."""

    number: int
    size: tuple[int, int]
    pixels: bytes = field(repr=False)  # RGB
    writing: bool

    @cached_property
    def jpeg(self) -> bytes:
        """Encode it for sending."""
        out = io.BytesIO()
        image = Image.frombytes("RGB", self.size, self.pixels)
        image.save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0)  # text needs full colour resolution
        return out.getvalue()
