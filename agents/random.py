"""An agent that changes its mind at random."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from longlive_env.envs.vocabulary import vocabulary_of


class RandomAgent:
    """Asks for a random sensible prompt now and then, and keeps it in between.

    Args:
        world: name of the world whose vocabulary prompts come from.
        patience: mean number of steps between two prompts, at least 1.

    Raises:
        ValueError: `patience` is less than 1.
    """

    def __init__(self, world: str = "tiny", *, patience: float = 6.0) -> None:
        if patience < 1:
            raise ValueError(f"patience is {patience}; it must be 1 or more steps")
        self._sample = vocabulary_of(world).sample
        self._patience = patience
        self._rng = np.random.default_rng()

    def begin(self, observation: npt.NDArray[np.uint8], info: Mapping[str, Any], seed: int | None) -> None:
        """Start anew with this seed."""
        self._rng = np.random.default_rng(seed)

    def act(self, observation: npt.NDArray[np.uint8], info: Mapping[str, Any]) -> str:
        """A new prompt with a chance of one in `patience`, else `""`."""
        return self._sample(self._rng) if self._rng.random() * self._patience < 1 else ""
