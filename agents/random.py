"""An agent that changes the prompt at random."""

from __future__ import annotations

import numpy as np

from longlive_env.agents.base import generator, seat
from longlive_env.envs.seat import Env, Info
from longlive_env.envs.vocabulary import vocabulary_of
from longlive_env.errors import AgentError
from longlive_env.frames import Frames


class RandomAgent:
    """Asks for a random sensible prompt of the world now and then, and keeps it in between.

    Args:
        patience: mean number of steps between two prompts, at least 1.

    Raises:
        AgentError: `patience` is less than 1.
    """

    def __init__(self, *, patience: float = 6.0) -> None:
        if patience < 1:
            raise AgentError(f"patience is {patience}; it must be 1 or more steps")
        self._patience = patience
        self._rng = np.random.default_rng()
        self._sample = vocabulary_of("").sample

    def reset(self, env: Env, info: Info) -> None:
        """Start anew with the vocabulary of the env's world."""
        self._sample = vocabulary_of(seat(env).world.config.vocabulary).sample
        self._rng = generator(env)

    def act(self, observation: Frames, info: Info) -> str:
        """A new prompt with a chance of one in `patience`, else `""`."""
        return self._sample(self._rng) if self._rng.random() * self._patience < 1 else ""
