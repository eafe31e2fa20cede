"""Adapters for agents that cannot handle text or expect single pictures, and recorders.

These wrap a single env; `longlive_env.envs.wrappers.vector` has the same ones for vector envs.
"""

from longlive_env.envs.wrappers.dataset import CollectEpisodes
from longlive_env.envs.wrappers.menus import attribute_prompts
from longlive_env.envs.wrappers.recording import RecordFrames
from longlive_env.envs.wrappers.single import (
    ChannelFirst,
    DiscretePrompts,
    EmbeddingPrompts,
    FramesOnChannels,
    GoalInObservation,
    HindsightGoals,
    LastFrame,
    ProbeFeatures,
    ResizeFrames,
    SlotPrompts,
)

__all__ = [
    "ChannelFirst",
    "CollectEpisodes",
    "DiscretePrompts",
    "EmbeddingPrompts",
    "FramesOnChannels",
    "GoalInObservation",
    "HindsightGoals",
    "LastFrame",
    "ProbeFeatures",
    "RecordFrames",
    "ResizeFrames",
    "SlotPrompts",
    "attribute_prompts",
]
