"""Seating an agent in a world that plays a scenario."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from longlive_env.envs.seat import Agent, SeatEnv
from longlive_env.frames import Frames

if TYPE_CHECKING:
    from longlive_env.engine.config import RecacheMode
    from longlive_env.engine.rollout import Rollout
    from longlive_env.engine.world import World


class Seated:
    """An agent in a seat: what `longlive_env.scenario.play` asks for prompts.

    It gets the observations and `info` that `PromptEnv` would give. A new run needs a new seat.

    Args:
        agent: the agent that plays.
        world: the world that is played.
        seed: seed of the run, from which the agent's own random numbers follow.
        recache: what a prompt switch does to the memory of earlier frames.
    """

    def __init__(self, agent: Agent, world: World, seed: int, recache: RecacheMode = "full") -> None:
        self._agent = agent
        self._recache = recache
        self._env = SeatEnv(world)
        self._env.np_random = np.random.default_rng(seed)
        self._block = -1  # the newest one
        self._frames = 0  # so far
        self._prompt = ""  # of the newest block

    def __call__(self, rollout: Rollout, frames: Frames, prompt: str) -> str:
        """The agent's prompt for the next block, or `""`; see `longlive_env.scenario.Steer`."""
        info = self._info(rollout, len(frames), prompt)
        self._env.rollout = rollout
        if info["block"] == 0:
            self._agent.reset(self._env, info)
        return self._env.checked(self._agent.act(self._env.observation(frames), info))

    def _info(self, rollout: Rollout, frames: int, prompt: str) -> dict[str, Any]:
        """The `info` of `PromptEnv` for the newest block, with the prompt that is in force next."""
        switched = self._block >= 0 and rollout.prompts[0] != self._prompt
        self._block, self._frames, self._prompt = self._block + 1, self._frames + frames, rollout.prompts[0]
        recached = switched and self._recache == "full"
        return self._env.info(prompt, self._block, self._frames, recached=recached)
