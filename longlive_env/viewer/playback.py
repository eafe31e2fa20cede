"""Playback: which frame is on show and when the next one is due, independent of the window.

Shapes: T pixel frames per block, H rows, W columns.
"""

from __future__ import annotations

from longlive_env.frames import Frames
from longlive_env.viewer.exchange import Exchange
from longlive_env.viewer.history import Beat
from longlive_env.viewer.pacing import FrameClock
from longlive_env.viewer.session import Played
from longlive_env.viewer.view import View

LOOK_S = 0.1  # while paused before the first block of a take, until it is looked for again


class Playback:
    """Takes blocks from the worker and shows their frames one by one.

    Args:
        exchange: source of the blocks.

    Attributes:
        frame: frame on show, uint8 [H, W, 3]; None before the first. While paused at the start of a take, it
            is the last frame that the take continues, or else the first one to come as soon as it is ready.
        played: block on show; None after a jump until the next block.
        paused: whether the picture stands still.
        latency_s: latency of the newest prompt, from the key to the first frame under it.
        clock: clock that paces the frames.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.frame: Frames | None = None
        self.played: Played | None = None
        self.paused = False
        self.latency_s: float | None = None
        self.clock = FrameClock(16)
        self._exchange = exchange
        self._begun: list[Beat] = []  # since the last call of `news`
        self._epoch = 0
        self._still: Frames | None = None  # block on show after a jump
        self._opening: Frames | None = None  # block on show at the start of a take, before its first
        self._index = 0  # of the frame on show
        self._landed = 0  # blocks before the frame on show, if no block is played
        self._single = False
        self._stood_still_at = 0.0

    @property
    def position(self) -> float:
        """Position in the take, in blocks."""
        if self.played is None:
            return float(self._landed)
        return self.played.beat.block + (self._index + 1) / len(self.played.frames)

    @property
    def block(self) -> Frames | None:
        """The block on show, uint8 [T, H, W, 3]; None at the start of a take."""
        return self._still if self.played is None else self.played.frames

    @property
    def moving(self) -> bool:
        """Whether frames advance by themselves."""
        return not self.paused or self._single

    @property
    def at_end(self) -> bool:
        """Whether the block on show has no more frames."""
        return self.played is None or self._index + 1 >= len(self.played.frames)

    def pause(self, paused: bool) -> None:
        """Pause or resume the picture."""
        self.paused, self._single = paused, False
        self.clock.stop()

    def step(self) -> None:
        """Play to the end of the block, or of the next one, and pause there."""
        self.paused = self._single = True
        self.clock.stop()

    def stand_still(self, now: float) -> None:
        """Stop the clock while nobody watches, so that waiting frames do not count as late."""
        self._stood_still_at = now
        self.clock.stop()

    def wait_s(self, now: float) -> float:
        """Return the seconds until the picture may change."""
        if self.moving:
            return self.clock.wait_s(now)
        return LOOK_S if self.block is None else 1.0

    def news(self) -> list[Beat]:
        """Return the blocks that have begun, or passed unseen, since the last call."""
        news, self._begun = self._begun, []
        return news

    def update(self, view: View, now: float) -> bool:
        """Show the next frame if it is due and ready; returns whether the picture has changed."""
        if view.epoch != self._epoch:
            return self._jump(view)
        if self.clock.fps != view.config.fps:
            self.clock = FrameClock(view.config.fps)
        if not self.moving:
            self._stood_still_at = now
            return self._open(view)
        if self.clock.wait_s(now) > 0:
            return False
        first = self.at_end
        if first and not self._next():
            return False
        assert self.played is not None
        self._index = 0 if first else self._index + 1
        self.frame = self.played.frames[self._index]
        self.clock.show(now)
        asked_at = self.played.asked_at
        if first and asked_at is not None and asked_at > self._stood_still_at:
            self.latency_s = now - asked_at
        if self._single and self._index + 1 == len(self.played.frames):
            self._single = False
        return True

    def _next(self) -> bool:
        """Take the next block."""
        played = self._exchange.take(self._epoch)
        if played is None:
            return False
        self.played = played
        self._begun.append(played.beat)
        return True

    def _jump(self, view: View) -> bool:
        self._epoch, self.played = view.epoch, None
        self._landed, self._still = view.shown, view.still
        self._begun += self._exchange.take_passed()
        self.clock.stop()
        self._opening = None
        if view.still is not None:
            self.frame = view.still[-1]
        self._open(view)
        return True

    def _open(self, view: View) -> bool:
        """Show where a take begins of which nothing was played; returns whether the picture has changed."""
        if self.block is not None or self._landed:
            return False
        opening = self._exchange.coming() if view.start is None else view.start
        if opening is None or opening is self._opening:
            return False
        self._opening, self.frame = opening, opening[0 if view.start is None else -1]
        return True
