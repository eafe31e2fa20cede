"""Gymnasium environments. Importing this registers their ids; torch loads when an env is made.

An episode ends after four minutes, before the 1.3B world runs out of absolute positions. Relative positions
never run out: ``gym.make("LongLive/1.3B-v0", rope="relative", max_episode_steps=4800)`` plays for an hour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym

if TYPE_CHECKING:
    from longlive_env.envs.prompt_env import PromptEnv
    from longlive_env.envs.vector_env import PromptVectorEnv

__all__ = ["EPISODE_BLOCKS", "PromptEnv", "PromptVectorEnv", "register_envs"]

EPISODE_BLOCKS = 320  # four minutes; absolute positions of the 1.3B world end at 341 blocks; see above
GOAL_BLOCKS, TOUR_BLOCKS, HOLD_BLOCKS = 24, 60, 60  # 18 and 45 seconds


def __getattr__(name: str) -> Any:
    if name == "PromptEnv":
        from longlive_env.envs.prompt_env import PromptEnv

        return PromptEnv
    if name == "PromptVectorEnv":
        from longlive_env.envs.vector_env import PromptVectorEnv

        return PromptVectorEnv
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def register_envs() -> None:
    """Register every world and task with Gymnasium. Registering twice is harmless."""
    envs = {
        "LongLive/Tiny-v0": ({"world": "tiny"}, EPISODE_BLOCKS),
        "LongLive/1.3B-v0": ({"world": "1.3b", "device": "cuda"}, EPISODE_BLOCKS),
        "LongLive/TinyGoal-v0": ({"world": "tiny", "task": "goal"}, GOAL_BLOCKS),
        "LongLive/TinyTour-v0": ({"world": "tiny", "task": "tour"}, TOUR_BLOCKS),
        "LongLive/TinyHold-v0": ({"world": "tiny", "task": "hold"}, HOLD_BLOCKS),
    }
    for env_id, (kwargs, blocks) in envs.items():
        if env_id not in gym.registry:
            gym.register(
                id=env_id,
                entry_point="longlive_env.envs.prompt_env:PromptEnv",
                vector_entry_point="longlive_env.envs.vector_env:PromptVectorEnv",
                kwargs=kwargs,
                max_episode_steps=blocks,
            )
