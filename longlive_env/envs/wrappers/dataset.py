"""Episodes as Minari datasets.

Minari's own collector needs JAX to append to a list, so complete episodes are collected here and passed to
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import iterate

from longlive_env.envs.batches import options_of_worlds, own_seeds
from longlive_env.envs.wrappers.columns import (
    check_fit,
    columns,
    info_columns,
    plain_info,
    plain_options,
    storable,
)
from longlive_env.envs.wrappers.inside import (
    Outermost,
    WithoutTrace,
    check_batched_infos,
    copied,
    of_world,
    prompt_env,
    prompt_envs,
)
from longlive_env.envs.wrappers.specs import (
    check_same_env,
    check_same_weights,
    single_spec,
    spec_of,
    warn_of_lost_env,
)
from longlive_env.errors import MissingExtraError, RecordingError

_WEIGHTS = "world_weights"  # entry of a dataset's metadata


@dataclass
class _Episode:
    """Data of one episode, with one more observation and info than actions."""

    seed: int | None
    options: dict[str, Any] | None
    observations: list[Any]
    infos: list[dict[str, Any]]
    actions: list[Any] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    terminations: list[bool] = field(default_factory=list)
    truncations: list[bool] = field(default_factory=list)

    def ended(self) -> _Episode:
        """Return the episode as ended: truncated, unless it has terminated."""
        if self.terminations[-1]:
            return self
        return replace(self, truncations=[*self.truncations[:-1], True])


class _Collected:
    """Collected episodes of worlds that step together.

    Observations and actions are copied, since their producers may overwrite them.

    Args:
        weights: the fingerprint of their weights.
        worlds: number of worlds.
    """

    def __init__(self, weights: str, worlds: int = 1) -> None:
        self._weights = weights
        self._done: list[_Episode] = []
        self._now: list[_Episode | None] = [None] * worlds

    def begin(
        self,
        world: int,
        observation: Any,
        info: Mapping[str, Any],
        seed: int | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        """Begin another episode of a world; an unfinished one counts as truncated."""
        self.finish(world)
        told = deepcopy(plain_options(options))
        self._now[world] = _Episode(seed, told, [deepcopy(observation)], [plain_info(info)])

    def add(
        self,
        world: int,
        action: Any,
        observation: Any,
        reward: float,
        terminated: bool,
        truncated: bool,
        info: Mapping[str, Any],
    ) -> None:
        """Add a step of a world; ignored if no episode has begun."""
        now = self._now[world]
        if now is None:
            return
        now.observations.append(deepcopy(observation))
        now.infos.append(plain_info(info))
        now.actions.append(deepcopy(action))
        now.rewards.append(float(reward))
        now.terminations.append(bool(terminated))
        now.truncations.append(bool(truncated))
        if terminated or truncated:
            self.finish(world)

    def finish(self, world: int) -> None:
        """Store the running episode of a world, if it has any steps."""
        now = self._now[world]
        if now is not None and now.actions:
            self._done.append(now.ended())
            self._now[world] = None

    def create_dataset(
        self,
        dataset_id: str,
        env: Any,
        action_space: spaces.Space[Any],
        observation_space: spaces.Space[Any],
        **kwargs: Any,
    ) -> Any:
        """See `CollectEpisodes.create_dataset`.

        Args:
            dataset_id: name of the dataset.
            env: env in which the dataset can be replayed, or its spec.
            action_space: action space of one world.
            observation_space: observation space of one world.
            **kwargs: passed on to Minari.
        """
        try:
            import minari
            from minari.data_collector import EpisodeBuffer
            from minari.dataset.minari_dataset import parse_dataset_id
            from minari.storage import get_dataset_path
        except ImportError as error:
            raise MissingExtraError.of("datasets need Minari", "rl") from error
        try:
            parse_dataset_id(dataset_id)
        except (TypeError, ValueError) as error:
            raise RecordingError(
                f"the dataset is called {dataset_id!r}; expected a name that ends in a version, in a "
                "namespace of several letters or none, such as tiny/random-v0"
            ) from error
        episodes = [*self._done, *(now.ended() for now in self._now if now is not None and now.actions)]
        if not episodes:
            raise RecordingError("there is no episode to store; play at least one step")
        actions = [action for episode in episodes for action in episode.actions]
        observations = [seen for episode in episodes for seen in episode.observations]
        buffers = [
            EpisodeBuffer(
                id=number,
                seed=episode.seed,
                options=episode.options,
                observations=columns(observation_space, episode.observations),
                actions=columns(action_space, episode.actions),
                rewards=episode.rewards,
                terminations=episode.terminations,
                truncations=episode.truncations,
                infos=info_columns(episode.infos),
            )
            for number, episode in enumerate(episodes)
        ]
        spaces_of = storable(action_space, actions), storable(observation_space, observations)
        if get_dataset_path(dataset_id).exists():
            dataset = minari.load_dataset(dataset_id)
            check_fit(spaces_of, (dataset.action_space, dataset.observation_space), dataset_id)
            check_same_env(spec_of(kwargs.get("env", env)), dataset.env_spec, dataset_id)
            check_same_weights(self._weights, dataset.storage.metadata.get(_WEIGHTS), dataset_id)
            dataset.update_dataset_from_buffer([replace(buffer, id=None) for buffer in buffers])
        else:
            if "env" not in kwargs:
                warn_of_lost_env(spec_of(env))
            dataset = minari.create_dataset_from_buffers(
                dataset_id,
                buffers,
                action_space=spaces_of[0],
                observation_space=spaces_of[1],
                **{"env": env, "jpeg_encoding": False, **kwargs},
            )
            dataset.storage.update_metadata({_WEIGHTS: self._weights})
        self._done = []
        self._now = [None if now is None or now.actions else now for now in self._now]
        return dataset


class CollectEpisodes(WithoutTrace):
    """Collects episodes, from which `create_dataset` makes a Minari dataset.

    The observations and actions of the wrapped env are kept in memory: a step takes 2.2 MB for whole blocks
    of the tiny world (0.55 MB with `codec="light"`), and 0.18 MB for `LastFrame`. An episode that a reset
    cuts short counts as truncated. An episode that began from a state has `restored` among its options, one
    that began from frames `continued`, and one with a picture of its goal `pictured`: none can be repeated
    from its options. For planning use a fork, whose steps are not collected.

    Args:
        env: prompt env, wrapped or not.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._collected = _Collected(prompt_env(env).world.fingerprint)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Reset, and begin another episode."""
        observation, info = self.env.reset(seed=seed, options=copied(options))
        self._collected.begin(0, observation, info, seed, options)
        return observation, info

    def step(self, action: Any) -> Any:
        """Step, and collect the result."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if prompt_env(self).episodes.episodes[0].begins:  # a wrapper inside has reset
            self._collected.begin(0, observation, info)
        else:
            self._collected.add(0, action, observation, float(reward), terminated, truncated, info)
        return observation, reward, terminated, truncated, info

    def create_dataset(self, dataset_id: str, **kwargs: Any) -> Any:
        """Write the episodes so far as a Minari dataset, and start a new collection.

        If the dataset exists, the episodes are appended; its spaces, env and weights have to be the same,
        except for the limit of steps, the device and other settings that leave no trace in episodes. It holds
        the weights' `World.fingerprint` as `world_weights` in its metadata. Running episodes end here, and
        collection resumes with the next reset; if writing fails, they continue. Prompt spaces become text
        spaces of printable ASCII and the other characters of these episodes; appended episodes may use no
        others. Pictures are stored losslessly, unlike Minari's default.

        Infos are stored for each observation, so there is one more than actions. They hold the texts, numbers
        and flags that are present throughout the episode: the prompt in force, and a task's goal, score and
        success. Minari returns texts as bytes.

        Args:
            dataset_id: name, such as "longlive/tiny-goal/random-v0", in Minari's folder of datasets.
            **kwargs: passed on to `minari.create_dataset_from_buffers`, for a new dataset. `env` (an env, its
                id or its spec) replaces this one, also when appending.

        Returns:
            The `minari.MinariDataset`.

        Raises:
            MissingExtraError: Minari is not installed.
            RecordingError: the name is malformed, there is no episode, or the existing dataset has other
                spaces, texts of fewer characters, another env, or other weights; collected episodes are kept.
        """
        return self._collected.create_dataset(
            dataset_id, self.env, self.action_space, self.observation_space, **kwargs
        )


class VectorCollectEpisodes(Outermost, VectorWrapper[Any, Any, Any, Any, Any]):
    """Collects the episodes of every world, as `CollectEpisodes` does for one, in any autoreset mode.

    Steps that only start an episode are left out. The dataset describes single envs: an episode of world `i`
    that began with `reset(seed=s)` has seed `s + i`.

    Args:
        envs: vector env of prompts, wrapped or not.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any]) -> None:
        super().__init__(envs)
        check_batched_infos(envs, self)
        self._collected = _Collected(prompt_envs(envs).world.fingerprint, self.num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset, and begin new episodes in the worlds that were reset."""
        observations, infos = self.env.reset(seed=seed, options=copied(options))  # type: ignore[arg-type]
        given = options or {}
        told = options_of_worlds(given, self.num_envs, prompt_envs(self).world.config)
        seeds = own_seeds(seed, self.num_envs)
        started = given.get("reset_mask")
        seen = list(iterate(self.observation_space, observations))
        for world in range(self.num_envs):
            if started is None or started[world]:
                info = of_world(infos, world)
                self._collected.begin(world, seen[world], info, seeds[world], told[world])
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step, and collect the results."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        episodes = prompt_envs(self).episodes.episodes
        taken = list(iterate(self.action_space, actions))
        seen = list(iterate(self.observation_space, observations))
        replaced = infos.get("_final_obs", np.zeros(self.num_envs, np.bool_))
        for world in range(self.num_envs):
            info = of_world(infos, world)
            if not replaced[world] and episodes[world].begins:  # it only started an episode
                self._collected.begin(world, seen[world], info)
                continue
            last, end = seen[world], info
            if replaced[world]:
                last, end = infos["final_obs"][world], of_world(infos["final_info"], world)
            ends = bool(terminations[world]), bool(truncations[world])
            self._collected.add(world, taken[world], last, float(rewards[world]), *ends, end)
            if replaced[world]:
                self._collected.begin(world, seen[world], info)
        return observations, rewards, terminations, truncations, infos

    def create_dataset(self, dataset_id: str, **kwargs: Any) -> Any:
        """See `CollectEpisodes.create_dataset`; a new dataset records the env without its adapters."""
        return self._collected.create_dataset(
            dataset_id,
            single_spec(self.env.spec),
            self.single_action_space,
            self.single_observation_space,
            **kwargs,
        )
