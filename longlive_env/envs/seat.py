"""A world that somebody else plays, shown to an agent as an env.

Shapes: T pixel frames, H rows, W columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from longlive_env.envs.first_block import whole_block
from longlive_env.envs.prompts import prompt_space
from longlive_env.errors import ConfigError

if TYPE_CHECKING:
    from longlive_env.engine.rollout import Rollout, World

Frames = npt.NDArray[np.uint8]


class SeatEnv(gym.Env[Frames, str]):
    """The world in play as an env: agents may look at it and fork it, but its player alone steps it.

    Args:
        world: what is played.

    Attributes:
        world: the same.
        rollout: the running world.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]

    def __init__(self, world: World) -> None:
        config = world.config
        self.world = world
        self.rollout: Rollout | None = None
        shape = (config.block_pixel_frames, config.height, config.width, 3)
        self.observation_space = gym.spaces.Box(0, 255, shape, np.uint8)
        self.action_space = prompt_space(world)

    def observation(self, frames: Frames) -> Frames:
        """What an env would show of a block: uint8 [T, H, W, 3], with T as in the observation space."""
        return whole_block(frames, self.world.config.block_pixel_frames)

    def info(self, prompt: str, block: int, frame_count: int, *, recached: bool) -> dict[str, Any]:
        """What an env would tell about the newest block.

        Args:
            prompt: in force.
            block: its index.
            frame_count: pixel frames up to its end.
            recached: whether it was generated after a recache.
        """
        return {
            "prompt": prompt,
            "block": block,
            "seconds": frame_count / self.world.config.fps,
            "recached": recached,
            "unknown_words": tuple(self.world.unknown_words(prompt)),
        }

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> NoReturn:
        """Refused.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("an agent cannot reset the world that it is seated in; return a prompt from act()")

    def step(self, action: str) -> NoReturn:
        """Refused.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("an agent cannot step the world itself; return a prompt from act()")
