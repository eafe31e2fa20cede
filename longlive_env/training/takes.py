"""A pool of rendered takes that slowly turns over, as a pure function of seed and step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from longlive_env.tiny.render import render_take
from longlive_env.tiny.scene import LIVELY, sample_take

MOST_SWITCHES = 2  # prompt changes in a take
Source = Callable[[np.random.Generator, int, str], Tensor]  # (rng, frames, split) -> uint8 [frames, H, W, 3]


def tiny_take(rng: np.random.Generator, frames: int, split: str, lively_share: float = 0.0) -> Tensor:
    """Render a random take of the tiny world.

    Args:
        rng: source of all randomness.
        frames: length in pixel frames.
        split: `"train"` or `"held_out"`.
        lively_share: share of takes that must have fast or fine movement: a jump, a dance, or snow.

    Returns:
        uint8 [frames, H, W, 3].
    """
    must = rng.random() < lively_share
    while True:
        take = sample_take(rng, frames, switches=int(rng.integers(MOST_SWITCHES + 1)), split=split)
        scenes = [scene for _, scene in take.segments]
        if not must or any(s.action in LIVELY or s.weather == "snow" for s in scenes):
            return render_take(take, 0, frames)


class TakePool:
    """Takes in a window that moves with the step; each is rendered when first drawn, and dropped when passed.

    The step determines which takes are in the window, and a take's number determines what it shows, so a
    resumed run draws what an uninterrupted one would.

    Args:
        source: function that renders a take.
        seed: seed of all takes.
        size: number of takes in the window.
        frames: pixel frames of a take.
        turnover: number of new takes per step.
    """

    def __init__(self, source: Source, seed: int, size: int, frames: int, turnover: float) -> None:
        self.source, self.seed, self.size, self.frames, self.turnover = source, seed, size, frames, turnover
        self._rendered: dict[int, Tensor] = {}

    def draw(self, step: int, rng: np.random.Generator) -> Tensor:
        """A take of the window at `step`, chosen by `rng`: uint8 [frames, H, W, 3]."""
        first = int(step * self.turnover)
        for number in [n for n in self._rendered if n < first]:
            del self._rendered[number]
        number = first + int(rng.integers(self.size))
        if number not in self._rendered:
            self._rendered[number] = self.source(
                np.random.default_rng((self.seed, number)), self.frames, "train"
            )
        return self._rendered[number]
