"""The seat of an agent that plays in the viewer.

Shapes: T pixel frames of a block, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from longlive_env.envs.prompts import checked_prompt
from longlive_env.envs.seat import SeatEnv
from longlive_env.viewer.history import Beat, Frames

if TYPE_CHECKING:
    from longlive_env.engine.rollout import Rollout, World


class Agent(Protocol):
    """What the viewer asks of an agent; those of `longlive_env.agents` are such."""

    def reset(self, env: Any, info: Mapping[str, Any]) -> None:
        """Forget the last episode."""

    def act(self, observation: npt.NDArray[np.uint8], info: Mapping[str, Any]) -> str:
        """The next prompt; `""` keeps the one in force."""


class AgentSeat:
    """Asks an agent for prompts, and tells it when the world has jumped.

    Args:
        world: what is played.
        agent: who plays.
    """

    def __init__(self, world: World, agent: Agent) -> None:
        self._world = world
        self._agent = agent
        self._env = SeatEnv(world)
        self._expected: int | None = None  # the position at which the agent's episode goes on

    def leave(self) -> None:
        """The world has jumped: the agent begins anew when it is asked next."""
        self._expected = None

    def act(self, rollout: Rollout, frames: Frames, beats: Sequence[Beat], seed: int) -> str:
        """The agent's prompt for the next block, or `""`.

        Args:
            rollout: the running world.
            frames: of the newest block, uint8 [T, H, W, 3].
            beats: the take so far.
            seed: of the take; seeds the agent's own choices.

        Raises:
            LongLiveError: the agent fails, or asks for what the world cannot read.
        """
        info = self._info(beats)
        self._env.rollout = rollout
        if self._expected != len(beats):
            self._env.np_random = np.random.default_rng(seed)
            self._agent.reset(self._env, info)
        self._expected = len(beats) + 1
        missing = self._world.config.block_pixel_frames - len(frames)
        observation = np.concatenate([np.repeat(frames[:1], missing, axis=0), frames])
        return checked_prompt(self._world, self._agent.act(observation, info))

    def _info(self, beats: Sequence[Beat]) -> dict[str, Any]:
        """What `PromptEnv` tells about the newest block."""
        newest = beats[-1]
        switched = len(beats) > 1 and beats[-2].prompt != newest.prompt
        return {
            "prompt": newest.prompt,
            "block": newest.block,
            "seconds": sum(beat.frames for beat in beats) / self._world.config.fps,
            "recached": switched and newest.recache == "full",
            "unknown_words": tuple(self._world.unknown_words(newest.prompt)),
        }
