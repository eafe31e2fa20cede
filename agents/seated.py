"""Seating an agent in a world that plays a scenario."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from longlive_env.envs.seat import Agent, SeatEnv, ask

if TYPE_CHECKING:
    from longlive_env.engine.rollout import Rollout
    from longlive_env.engine.world import World
    from longlive_env.scenario import Block


class Seated:
    """An agent in a seat: what `longlive_env.scenario.play` asks for prompts.

    It gets the observations and `info` that `PromptEnv` would give. A new run needs a new seat.

    Args:
        agent: the agent that plays.
        world: the world that is played.
        seed: seed of the run, from which the agent's own random numbers follow.
    """

    def __init__(self, agent: Agent, world: World, seed: int) -> None:
        self._agent = agent
        self._env = SeatEnv(world)
        self._env.np_random = np.random.default_rng(seed)
        self._frames = 0  # so far

    def __call__(self, rollout: Rollout, block: Block, prompt: str) -> str:
        """The agent's prompt for the next block, or `""`; see `longlive_env.scenario.Steer`."""
        self._frames += len(block.frames)
        # As `PromptEnv` tells of the newest block, with the prompt that is in force next.
        info = self._env.info(prompt, block.index, self._frames, recached=block.recached)
        self._env.rollout = rollout
        observation = self._env.observation(block.frames)
        return ask(self._agent, self._env, observation, info, begins=block.index == 0)
