"""Time as people write it, in seconds or blocks, and what that means in blocks of a world."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from longlive_env.engine.config import WorldConfig

_SECONDS = re.compile(r"(\d+(?:\.\d+)?)\s*s(?:ec(?:onds?)?)?")
_MINUTES = re.compile(r"(\d+(?:\.\d+)?)\s*m(?:in(?:utes?)?)?")
_BLOCKS = re.compile(r"block\s+(\d+)|(\d+)\s+blocks?")


def first_frame(config: WorldConfig, block: int) -> int:
    """Pixel frames before this block; the first block is shorter, as its first latent decodes to one."""
    return max(0, block * config.block_pixel_frames - (config.codec.temporal_factor - 1))


@dataclass(frozen=True)
class Moment:
    """A point in time or a length of time.

    Attributes:
        amount: how much, not negative.
        unit: of what.
    """

    amount: float
    unit: Literal["seconds", "blocks"]

    @classmethod
    def parse(cls, text: str) -> Moment:
        """Read `5s`, `2.5s`, `4m`, `block 8` or `8 blocks`.

        Raises:
            ValueError: it is none of these.
        """
        text = text.strip().lower()
        if match := _SECONDS.fullmatch(text):
            return cls(float(match[1]), "seconds")
        if match := _MINUTES.fullmatch(text):
            return cls(60 * float(match[1]), "seconds")
        if match := _BLOCKS.fullmatch(text):
            return cls(int(match[1] or match[2]), "blocks")
        raise ValueError(f"{text!r} is not a time; write seconds or blocks, such as 5s, 2.5s or block 8")

    def frames(self, config: WorldConfig) -> float:
        """Its length in pixel frames, as a length of time."""
        return self.amount * (config.fps if self.unit == "seconds" else config.block_pixel_frames)

    def block(self, config: WorldConfig, since: int = 0) -> int:
        """The first block that begins at or after this moment, counted from where block `since` begins."""
        if self.unit == "blocks":
            return since + int(self.amount)
        frames = first_frame(config, since) + self.frames(config)
        if frames <= 0:
            return 0
        missing = config.codec.temporal_factor - 1
        return math.ceil((frames + missing) / config.block_pixel_frames - 1e-9)

    def __str__(self) -> str:
        return f"{self.amount:g}s" if self.unit == "seconds" else f"block {self.amount:g}"
