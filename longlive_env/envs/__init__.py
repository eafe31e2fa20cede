"""Gymnasium environments. Importing this registers their ids; torch loads when an env is made."""

from __future__ import annotations

import gymnasium as gym

EPISODE_BLOCKS = 320  # four minutes; absolute positions of the 1.3B world end at 341 blocks


def register_envs() -> None:
    """Tell Gymnasium about every world. Registering twice is harmless."""
    worlds = {
        "LongLive/Tiny-v0": {"world": "tiny"},
        "LongLive/1.3B-v0": {"world": "1.3b", "device": "cuda"},
    }
    for env_id, kwargs in worlds.items():
        if env_id not in gym.registry:
            gym.register(
                id=env_id,
                entry_point="longlive_env.envs.prompt_env:PromptEnv",
                vector_entry_point="longlive_env.envs.vector_env:PromptVectorEnv",
                kwargs=kwargs,
                max_episode_steps=EPISODE_BLOCKS,
            )
