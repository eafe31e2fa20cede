"""Clone, restore and fork envs that have wrappers around them.

Gymnasium's wrappers keep counters of their own: `TimeLimit` the elapsed steps, `RecordEpisodeStatistics` the
return. If an env were restored without them, it would be truncated at the wrong step. A state is therefore
restored through a reset, in which every wrapper adapts the observation and forgets the past; then the
counters are set to the state's values. Histories of wrappers are not part of a state: a frame stack starts
with repeats, as after any reset, a sticky action is forgotten, and running means stay as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium import wrappers
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.wrappers.vector import RecordEpisodeStatistics as VectorStatistics

from longlive_env.errors import ConfigError

if TYPE_CHECKING:
    from longlive_env.envs.prompt_env import PromptEnv
    from longlive_env.envs.state import Serialized
    from longlive_env.envs.vector_env import PromptVectorEnv

AnyEnv = gym.Env[Any, Any] | VectorEnv[Any, Any, Any]


def clone_state(env: AnyEnv, include_rng: bool = True) -> bytes:
    """Clone the state of a prompt env, single or vector, wrapped or not; see `PromptEnv.clone_state`.

    Raises:
        ConfigError: there is no prompt env inside.
    """
    return _inside(env).clone_state(include_rng)


def restore_state(env: AnyEnv, data: Serialized) -> tuple[Any, dict[str, Any]]:
    """Resume from a state, and set the wrappers' counters: elapsed steps and episode statistics.

    This covers Gymnasium's wrappers, and `Monitor` of Stable-Baselines3 around a single env. Statistics count
    the rewards of the env itself, before wrappers change them.

    Args:
        env: prompt env, single or vector, wrapped or not.
        data: state from `clone_state`.

    Returns:
        What `reset` returns: the state's observation, as the wrappers show it after a reset, and its info.
        `TimeAwareObservation` shows the right time from the next step on.

    Raises:
        ConfigError: there is no prompt env inside.
        SnapshotError: as `PromptEnv.restore_state`.
    """
    inside = _inside(env)
    inside.counters_follow = True
    try:
        observation, info = env.reset(options={"state": data})
    finally:
        inside.counters_follow = False
    episodes = inside.episodes.episodes
    steps = np.array([episode.steps for episode in episodes])
    returns = np.array([episode.reward_sum for episode in episodes])
    ended = inside.episodes.ended
    for layer in layers(env):
        if isinstance(layer, wrappers.TimeLimit):
            layer._elapsed_steps = int(steps[0])  # type: ignore[assignment]  # None until a reset
        elif isinstance(layer, wrappers.TimeAwareObservation):
            layer.timesteps = int(steps[0])
        elif isinstance(layer, wrappers.Autoreset):
            cut_off = any(steps[0] >= limit for limit in _limits(layer))  # unknown to the env inside
            layer.autoreset = bool(ended[0]) or cut_off
        elif isinstance(layer, wrappers.RecordEpisodeStatistics):
            layer.episode_returns, layer.episode_lengths = float(returns[0]), int(steps[0])
        elif _is_monitor(layer):
            layer.rewards = [float(returns[0])] + [0.0] * (int(steps[0]) - 1) if steps[0] else []
            layer.needs_reset = bool(ended[0]) or any(steps[0] >= limit for limit in _limits(layer))
        elif isinstance(layer, VectorStatistics):
            layer.episode_returns, layer.episode_lengths = returns.copy(), steps.copy()
            layer.prev_dones = ended.copy()
    return observation, info


def fork(env: AnyEnv, n: int = 1, include_rng: bool = True, seed: int | None = None) -> PromptVectorEnv:
    """Copy each running world `n` times into a vector env, for look-ahead; see `PromptEnv.fork`.

    Episodes keep counting their steps, with the limit of a `TimeLimit` around a single env. Adapters of
    actions and observations are not copied: the copies take prompts and return blocks.

    Raises:
        ConfigError: there is no prompt env inside, or `n` is less than 1.
    """
    inside, limits = _inside(env), _limits(env)
    if limits:
        settings = {"seed": seed, "max_episode_steps": min(limits)}
        return inside.fork(n, include_rng=include_rng, **settings)  # type: ignore[arg-type]
    return inside.fork(n, include_rng=include_rng, seed=seed)


def layers(env: AnyEnv) -> Iterator[Any]:
    """Yield the wrappers of an env, the outermost first."""
    layer: Any = env
    while isinstance(layer, (gym.Wrapper, VectorWrapper)):
        yield layer
        layer = layer.env


def _is_monitor(layer: Any) -> bool:
    """Return whether a wrapper is the `Monitor` of Stable-Baselines3, which need not be installed."""
    library = sys.modules.get("stable_baselines3.common.monitor")
    return library is not None and isinstance(layer, library.Monitor)


def _limits(env: AnyEnv) -> list[int]:
    """Return the step limits of the `TimeLimit` wrappers around an env."""
    return [layer._max_episode_steps for layer in layers(env) if isinstance(layer, wrappers.TimeLimit)]


def _inside(env: AnyEnv) -> PromptEnv | PromptVectorEnv:
    from longlive_env.envs.prompt_env import PromptEnv
    from longlive_env.envs.vector_env import PromptVectorEnv

    inside: Any = env.unwrapped
    if not isinstance(inside, (PromptEnv, PromptVectorEnv)):
        raise ConfigError(f"{env} is not a prompt env; states are those of LongLive envs")
    return inside
