"""Serialized states of envs: worlds, episodes and random generators, in safetensors with a JSON header.

Nothing is pickled, and no weights are included. The engine's snapshot is embedded unchanged, with its own
checksum; a second checksum covers the rest.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
from safetensors.numpy import load, save

from longlive_env.engine.snapshot import check_seal, read_header, sealed
from longlive_env.envs.checks import is_json
from longlive_env.envs.episodes import Episode, Episodes
from longlive_env.envs.infos import plain_entry
from longlive_env.envs.rules import Rules
from longlive_env.envs.torch_settings import plain_settings
from longlive_env.errors import SnapshotError
from longlive_env.frames import Frames

logger = logging.getLogger(__name__)

VERSION = 2  # since episodes tell their world_seed
_INFO = "info."  # arrays that a task put into info: info.<world>.<key>

Generators = list[np.random.Generator]
Serialized = bytes | bytearray | memoryview  # the last two as sockets and shared memory return them


@plain_settings()
def to_bytes(episodes: Episodes, generators: Sequence[np.random.Generator] | None) -> bytes:
    """Serialize running worlds, their episodes and, if given, each world's generator.

    Raises:
        SnapshotError: the task's state holds something that is no JSON value.
    """
    tensors = {
        "rollout": np.frombuffer(episodes.rollout.snapshot(), np.uint8),
        "observations": np.ascontiguousarray(episodes.observations),
    }
    worlds = []
    for world, episode in enumerate(episodes.episodes):
        values = dataclasses.asdict(episode)
        info = values["task_info"] = dict(episode.task_info)
        for key in [key for key, value in info.items() if isinstance(value, np.ndarray)]:
            tensors[f"{_INFO}{world}.{key}"] = info.pop(key)
        worlds.append(values)
    header = {
        "version": VERSION,
        "task": _task_name(episodes.rules),
        "settings": _settings(episodes.rules),
        "worlds": worlds,
        "generators": None if generators is None else [one.bit_generator.state for one in generators],
    }
    try:
        return save(tensors, {"env": sealed(header, _covered(tensors), _plain)})
    except (TypeError, ValueError, safetensors.SafetensorError) as error:
        raise SnapshotError(
            f"the env's state cannot be saved ({error}); a task's state may hold JSON values only"
        ) from error


@dataclass(frozen=True)
class Saved:
    """What `to_bytes` wrote, read but not running yet.

    Attributes:
        rules: rules of the env that reads it.
        rollout: the engine's snapshot.
        episodes: episode of each world.
        observations: newest block of each world, uint8 [B, T, H, W, 3].
        generators: random generator of each world, if they were saved.
    """

    rules: Rules
    rollout: bytes
    episodes: list[Episode]
    observations: Frames
    generators: Generators | None

    @plain_settings()
    def resume(self, instead: Episodes | None = None) -> Episodes:
        """Let the worlds go on.

        Args:
            instead: running episodes that are no longer needed; the worlds go on in their memory if there are
                as many, since memory may have been planned for one state.

        Raises:
            SnapshotError: the engine's snapshot is damaged, of another version, or of another world;
                `instead` is unchanged then.
            Exception: whatever else fails, such as an allocation, leaves `instead` torn.
        """
        resume = self.rules.world.resume
        if instead is None:
            rollout = resume(self.rollout)
        else:
            with instead.moving(but=SnapshotError):
                rollout = resume(self.rollout, instead.rollout)
        return Episodes(self.rules, rollout, self.episodes, self.observations)


@plain_settings()
def read(data: Serialized, rules: Rules) -> Saved:
    """Read what `to_bytes` wrote; a warning is logged if the task or recache had other settings.

    Raises:
        SnapshotError: the data is damaged, or of another version, world or task.
    """
    if isinstance(data, bytearray | memoryview):
        data = bytes(data)
    if not isinstance(data, bytes):
        raise SnapshotError(f"the state is {data!r:.40}; expected the bytes that clone_state() returned")
    header = read_header(data, "env", what="env state", source="clone_state()")
    if header.get("version") != VERSION:
        raise SnapshotError(
            f"env state of version {header.get('version')}; this release reads version {VERSION}"
        )
    try:
        tensors = load(data)
    except safetensors.SafetensorError as error:
        raise SnapshotError(f"the env state is damaged ({error}); take it again") from error
    check_seal(header, _covered(tensors), what="env state")
    if header["task"] != _task_name(rules):
        raise SnapshotError(
            f"the state is of an env whose task is {header['task']}, here it is {_task_name(rules)}; restore "
            "it into an env with the same task"
        )
    _warn_of_others(header["settings"], rules)
    episodes = []
    for world, values in enumerate(header["worlds"]):
        prefix = f"{_INFO}{world}."
        arrays = {
            name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)
        }
        info = {key: plain_entry(value) for key, value in values["task_info"].items()}
        words = tuple(values["unknown_words"])
        episodes.append(Episode(**{**values, "unknown_words": words, "task_info": {**info, **arrays}}))
    states = header["generators"]
    generators = None if states is None else [_generator(state) for state in states]
    return Saved(rules, tensors["rollout"].tobytes(), episodes, tensors["observations"], generators)


def _covered(tensors: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Return what the checksum covers; including the engine's snapshot again would double its time."""
    return {name: array for name, array in tensors.items() if name != "rollout"}


def _generator(state: Any) -> np.random.Generator:
    bits = np.random.PCG64()  # the only kind that Gymnasium makes
    try:
        bits.state = state
    except (ValueError, TypeError, KeyError) as error:
        raise SnapshotError(
            f"the state holds a generator that is no PCG64 ({error}); leave np_random to Gymnasium"
        ) from error
    return np.random.Generator(bits)


def _task_name(rules: Rules) -> str | None:
    return None if rules.task is None else type(rules.task).__name__


def _settings(rules: Rules) -> dict[str, Any]:
    """Return what else decides rewards and frames, as far as it is plain."""
    task, found = rules.task, dict[str, Any](recache=rules.recache)
    if is_dataclass(task):
        own = {one.name: getattr(task, one.name) for one in fields(task)}
        found |= {name: value for name, value in own.items() if is_json(value)}
    return found


def _warn_of_others(saved: Mapping[str, Any], rules: Rules) -> None:
    ours = json.loads(json.dumps(_settings(rules)))  # with lists for tuples
    differences = [
        f"{name} was {saved[name]!r}, here it is {own!r}"
        for name, own in ours.items()
        if name in saved and saved[name] != own
    ]
    if differences:
        logger.warning("the state is of an env with other settings: %s", "; ".join(differences))


def _plain(value: Any) -> Any:
    """Convert NumPy scalars for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} {value!r}"[:80])
