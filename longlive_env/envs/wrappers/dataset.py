"""Episodes as Minari datasets.

Minari's own collector needs JAX to append to a list, so episodes are collected here and handed to it whole.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from longlive_env.envs.wrappers.inside import prompt_env
from longlive_env.errors import MissingExtraError, RecordingError

CHARACTERS = string.ascii_letters + string.digits + string.punctuation + " "


@dataclass
class _Episode:
    """What happened in one episode; there is one observation more than actions."""

    seed: int | None
    options: dict[str, Any] | None
    observations: list[Any]
    actions: list[Any] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    terminations: list[bool] = field(default_factory=list)
    truncations: list[bool] = field(default_factory=list)


class CollectEpisodes(gym.Wrapper[Any, Any, Any, Any]):
    """Keeps what happens, until `create_dataset` makes it a Minari dataset.

    What the outermost wrapper inside shows and takes is kept, in memory: whole blocks of the tiny world are
    0.55 MB a step, `LastFrame` 0.05 MB. An episode that is cut short by a reset counts as truncated.

    Args:
        env: a prompt env, wrapped or not.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._done: list[_Episode] = []
        self._now: _Episode | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Reset, and begin another episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._finish()
        self._now = _Episode(seed, _plain(options), [observation])
        return observation, info

    def step(self, action: Any) -> Any:
        """Step, and keep what came of it."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        now = self._now
        if prompt_env(self).episodes.info(0)["block"] == 0:  # a wrapper inside has reset
            self._finish()
            self._now = _Episode(None, None, [observation])
        elif now is not None:
            now.observations.append(observation)
            now.actions.append(action)
            now.rewards.append(float(reward))
            now.terminations.append(bool(terminated))
            now.truncations.append(bool(truncated))
            if terminated or truncated:
                self._finish()
        return observation, reward, terminated, truncated, info

    def create_dataset(self, dataset_id: str, **kwargs: Any) -> Any:
        """Write the episodes so far as a Minari dataset, and begin to collect anew.

        A dataset of that name that is there already grows by them; its spaces have to be the same. The
        running episode ends with it, and the next one begins with a reset. Spaces of prompts become text
        spaces of fewer characters, and pictures are stored as they are, where Minari's own default is lossy.

        Args:
            dataset_id: such as "longlive/tiny-goal/random-v0"; it lands where Minari keeps its datasets.
            **kwargs: passed on to `minari.create_dataset_from_buffers`, for a new dataset.

        Returns:
            The `minari.MinariDataset`.

        Raises:
            MissingExtraError: Minari is not installed.
            RecordingError: there is no episode, or the dataset that is there has other spaces.
        """
        try:
            import minari
            from minari.data_collector import EpisodeBuffer
            from minari.storage import get_dataset_path
        except ImportError as error:
            raise MissingExtraError.of("datasets need Minari", "rl") from error
        self._finish()
        if not self._done:
            raise RecordingError("there is no episode to store; play at least one step")
        actions = [action for episode in self._done for action in episode.actions]
        observations = [seen for episode in self._done for seen in episode.observations]
        buffers = [
            EpisodeBuffer(
                id=number,
                seed=episode.seed,
                options=episode.options,
                observations=columns(self.observation_space, episode.observations),
                actions=columns(self.action_space, episode.actions),
                rewards=episode.rewards,
                terminations=episode.terminations,
                truncations=episode.truncations,
            )
            for number, episode in enumerate(self._done)
        ]
        spaces_of = storable(self.action_space, actions), storable(self.observation_space, observations)
        if get_dataset_path(dataset_id).exists():
            dataset = minari.load_dataset(dataset_id)
            if not _fit(spaces_of, (dataset.action_space, dataset.observation_space)):
                raise RecordingError(f"the dataset {dataset_id!r} has other spaces; choose another version")
            dataset.update_dataset_from_buffer([replace(buffer, id=None) for buffer in buffers])
            self._done = []
            return dataset
        defaults = {"env": self.env, "jpeg_encoding": False}
        dataset = minari.create_dataset_from_buffers(
            dataset_id,
            buffers,
            action_space=spaces_of[0],
            observation_space=spaces_of[1],
            **{**defaults, **kwargs},
        )
        self._done = []
        return dataset

    def _finish(self) -> None:
        """Put the running episode to the others."""
        if self._now is not None and self._now.actions:
            if not self._now.terminations[-1]:
                self._now.truncations[-1] = True
            self._done.append(self._now)
            self._now = None


def _plain(options: dict[str, Any] | None) -> dict[str, Any] | None:
    """The options of a reset that a file can hold: texts, numbers, and lists of them."""
    found = {}
    for name, value in (options or {}).items():
        try:
            json.dumps(value)
        except TypeError:
            continue
        if value is not None:
            found[name] = value
    return found or None


def storable(space: spaces.Space[Any], items: Iterable[Any] = ()) -> spaces.Space[Any]:
    """`space` with texts of few characters, which files list: printable ASCII and what `items` hold."""
    if isinstance(space, spaces.Text):
        characters = "".join(sorted(set(CHARACTERS).union(*items)))
        return spaces.Text(space.max_length, min_length=space.min_length, charset=characters)
    if isinstance(space, spaces.Dict):
        return spaces.Dict(
            {name: storable(inner, [item[name] for item in items]) for name, inner in space.items()}
        )
    return space


def _fit(ours: Iterable[spaces.Space[Any]], theirs: Iterable[spaces.Space[Any]]) -> bool:
    """Whether items of some spaces can stand beside those of others; characters of texts do not matter."""
    return all(
        type(one) is type(other)
        and (
            _fit(one.values(), other.values())
            if isinstance(one, spaces.Dict) and isinstance(other, spaces.Dict)
            else isinstance(one, spaces.Text) or one == other
        )
        for one, other in zip(ours, theirs, strict=True)
    )


def columns(space: spaces.Space[Any], items: list[Any]) -> Any:
    """Items of a space as Minari wants them: a list, or a dict of lists for a Dict space."""
    if isinstance(space, spaces.Dict):
        return {name: columns(inner, [item[name] for item in items]) for name, inner in space.items()}
    return items if isinstance(space, spaces.Text) else [np.asarray(item) for item in items]
