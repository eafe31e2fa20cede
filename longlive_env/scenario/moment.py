"""Time as people write it, in seconds or blocks, converted to blocks of a world."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from longlive_env.engine.config import WorldConfig

_SECONDS = re.compile(r"(\d+(?:\.\d+)?)\s*s(?:ec(?:onds?)?)?")
_MINUTES = re.compile(r"(\d+(?:\.\d+)?)\s*m(?:in(?:utes?)?)?")
_BLOCKS = re.compile(r"block\s+(\d+)|(\d+)\s+blocks?")
LONGEST = 24 * 60 * 60  # seconds, a day, or blocks


@dataclass(frozen=True)
class Pace:
    """When the blocks of a take begin.

    Attributes:
        fps: pixel frames per second.
        block_frames: pixel frames per block.
        missing: number of pixel frames by which the first block is shorter.
    """

    fps: int
    block_frames: int
    missing: int

    @classmethod
    def of(cls, config: WorldConfig, *, continues: bool = False) -> Pace:
        """The pace of a world.

        Args:
            config: configuration of the world.
            continues: whether the take continues given frames. Otherwise its first block is shorter, because
                the first latent frame of a video decodes to one frame.
        """
        missing = 0 if continues else config.missing_frames
        return cls(config.fps, config.block_pixel_frames, missing)

    def first_frame(self, block: int) -> int:
        """Number of pixel frames before a block."""
        return max(0, block * self.block_frames - self.missing)

    def seconds(self, position: float) -> float:
        """Time at a position in blocks, such as 1.5 for the middle of the second block."""
        block, share = divmod(position, 1)
        begin, end = (self.first_frame(int(block) + step) for step in (0, 1))
        return (begin + share * (end - begin)) / self.fps

    def position(self, frames: float) -> float:
        """Position in blocks where so many pixel frames end."""
        first = self.block_frames - self.missing
        return frames / first if frames < first else (frames + self.missing) / self.block_frames


@dataclass(frozen=True)
class Moment:
    """A point in time or a length of time.

    Attributes:
        amount: number of units, not negative.
        unit: unit of time.
    """

    amount: float
    unit: Literal["seconds", "blocks"]

    @classmethod
    def parse(cls, text: str, blocks: str = "8 blocks") -> Moment:
        """Read `5s`, `2.5s`, `4m`, `block 8` or `8 blocks`.

        Args:
            text: what was written.
            blocks: how a message writes a time in blocks.

        Raises:
            ValueError: the text is none of these, or longer than `LONGEST`.
        """
        text = text.strip().lower()
        moment = cls._parse(text)
        if moment is None:
            raise ValueError(
                f"{text!r} is not a time; write seconds, minutes or blocks, such as 5s, 2m or {blocks}"
            )
        if moment.amount > LONGEST:
            raise ValueError(f"the time is too long; write at most {LONGEST} seconds (a day) or blocks")
        return moment

    @classmethod
    def _parse(cls, text: str) -> Moment | None:
        if match := _SECONDS.fullmatch(text):
            return cls(float(match[1]), "seconds")
        if match := _MINUTES.fullmatch(text):
            return cls(60 * float(match[1]), "seconds")
        if match := _BLOCKS.fullmatch(text):
            return cls(float(match[1] or match[2]), "blocks")
        return None

    def frames(self, pace: Pace) -> float:
        """Pixel frames in this moment, taken as a length of time."""
        return self.amount * (pace.fps if self.unit == "seconds" else pace.block_frames)

    def block(self, pace: Pace, since: int = 0) -> int:
        """The first block that begins at or after this moment, counted from where block `since` begins."""
        if self.unit == "blocks":
            return since + int(self.amount)
        return math.ceil(pace.position(pace.first_frame(since) + self.frames(pace)) - 1e-9)

    @property
    def length(self) -> str:
        """This moment in words, taken as a length of time."""
        return str(self) if self.unit == "seconds" else f"{self.amount:g} block{'s' * (self.amount != 1)}"

    def __str__(self) -> str:
        return f"{self.amount:g}s" if self.unit == "seconds" else f"block {self.amount:g}"


START = Moment(0, "blocks")  # of a take, or of a timeline within another
