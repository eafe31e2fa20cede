"""State of envs with wrappers around them.

Gymnasium's wrappers count for themselves: `TimeLimit` holds the elapsed steps, `RecordEpisodeStatistics` the
return. An env that is restored behind their backs would be cut off at the wrong step. So a state is restored
through a reset, by which every wrapper adapts the observation and forgets the past, and then the counters are
set to what the state says. Histories are in no state: a frame stack of Gymnasium's starts with repeats, as
after any reset, a sticky action is forgotten, and running means stay as they are.
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
    from longlive_env.envs.vector_env import PromptVectorEnv

AnyEnv = gym.Env[Any, Any] | VectorEnv[Any, Any, Any]


def clone_state(env: AnyEnv, include_rng: bool = True) -> bytes:
    """The state of a prompt env, single or vector, wrapped or not; see `PromptEnv.clone_state`.

    Raises:
        ConfigError: there is no prompt env inside.
    """
    return _inside(env).clone_state(include_rng)


def restore_state(env: AnyEnv, data: bytes) -> tuple[Any, dict[str, Any]]:
    """Go on from a state, and set the counters of wrappers right: elapsed steps and episode statistics.

    These are the wrappers of Gymnasium, and `Monitor` of Stable-Baselines3 around a single env. Statistics
    count the rewards of the env itself, before wrappers change them.

    Args:
        env: a prompt env, single or vector, wrapped or not.
        data: from `clone_state`.

    Returns:
        What `reset` returns: the observation at that moment, as the wrappers show it after a reset, and its
        info. `TimeAwareObservation` shows the right time from the next step on.

    Raises:
        ConfigError: there is no prompt env inside.
        SnapshotError: as `PromptEnv.restore_state`.
    """
    inside = _inside(env)
    observation, info = env.reset(options={"state": data})
    episodes = inside.episodes.episodes
    steps = np.array([episode.steps for episode in episodes])
    returns = np.array([episode.reward_sum for episode in episodes])
    ended = inside.episodes.ended
    for layer in _layers(env):
        if isinstance(layer, wrappers.TimeLimit):
            layer._elapsed_steps = int(steps[0])  # type: ignore[assignment]  # None until a reset
        elif isinstance(layer, wrappers.TimeAwareObservation):
            layer.timesteps = int(steps[0])
        elif isinstance(layer, wrappers.Autoreset):
            cut_off = any(steps[0] >= limit for limit in _limits(layer))  # which the env inside cannot know
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
    """`n` copies of each running world as a vector env, to look ahead with; see `PromptEnv.fork`.

    Episodes go on counting their steps, under the limit of the `TimeLimit` around a single env. Adapters of
    actions and observations stay behind: the copies take prompts and show blocks.

    Raises:
        ConfigError: there is no prompt env inside, or `n` is less than 1.
    """
    inside, limits = _inside(env), _limits(env)
    if limits:
        settings = {"seed": seed, "max_episode_steps": min(limits)}
        return inside.fork(n, include_rng=include_rng, **settings)  # type: ignore[arg-type]
    return inside.fork(n, include_rng=include_rng, seed=seed)


def _layers(env: AnyEnv) -> Iterator[Any]:
    """The wrappers of an env, the outermost first."""
    layer: Any = env
    while isinstance(layer, (gym.Wrapper, VectorWrapper)):
        yield layer
        layer = layer.env


def _is_monitor(layer: Any) -> bool:
    """Whether a wrapper is the `Monitor` of Stable-Baselines3, which need not be installed."""
    library = sys.modules.get("stable_baselines3.common.monitor")
    return library is not None and isinstance(layer, library.Monitor)


def _limits(env: AnyEnv) -> list[int]:
    """After how many steps the wrappers of an env truncate its episodes."""
    return [layer._max_episode_steps for layer in _layers(env) if isinstance(layer, wrappers.TimeLimit)]


def _inside(env: AnyEnv) -> PromptEnv | PromptVectorEnv:
    from longlive_env.envs.prompt_env import PromptEnv
    from longlive_env.envs.vector_env import PromptVectorEnv

    inside: Any = env.unwrapped
    if not isinstance(inside, (PromptEnv, PromptVectorEnv)):
        raise ConfigError(f"{env} is not a prompt env; states are those of LongLive envs")
    return inside
