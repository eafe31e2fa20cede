"""Gymnasium specs, by which a dataset describes the env of its episodes."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from longlive_env.engine.config_values import differences
from longlive_env.errors import RecordingError

OF_VECTORS = ("num_envs", "vectorization_mode", "autoreset_mode")  # arguments of vector envs only
WITHOUT_TRACE = ("render_mode", "device", "memory", "compile")  # arguments that do not change episodes


def spec_of(env: gym.Env[Any, Any] | EnvSpec | str | None) -> EnvSpec | None:
    """Return the spec of an env, if it has one."""
    if isinstance(env, str):
        return gym.spec(env)
    return env if env is None or isinstance(env, EnvSpec) else env.spec


def single_spec(spec: EnvSpec | None) -> EnvSpec | None:
    """Return the spec of a single env for a vector env made by `gym.make_vec`."""
    if spec is None:
        return None
    kwargs = {name: value for name, value in spec.kwargs.items() if name not in OF_VECTORS}
    if not isinstance(kwargs.get("prompt"), str):  # one for each world
        kwargs.pop("prompt", None)
    steps = kwargs.pop("max_episode_steps", spec.max_episode_steps)
    limit = None if steps == -1 else steps  # both mean no limit, but a spec only allows None
    return dataclasses.replace(gym.spec(spec.id), kwargs=kwargs, max_episode_steps=limit)


def warn_of_lost_env(spec: EnvSpec | None) -> None:
    """Warn if a dataset cannot recover its env: its world is an object, or a wrapper hides its arguments."""
    if spec is None:
        return
    hidden = [one.name for one in spec.additional_wrappers if one.kwargs is None]
    if hidden:
        gym.logger.warn(
            f"the env's spec does not hold the arguments of {', '.join(hidden)}, so that a dataset cannot "
            "recover the env; derive such a wrapper from gymnasium.utils.RecordConstructorArgs, or put it "
            "around the collector"
        )
    world = spec.kwargs.get("world", "")
    if not isinstance(world, str):
        gym.logger.warn(
            f"the env was made with a {type(world).__name__} as its world, which a dataset cannot hold, so "
            'that it cannot recover the env; name the world (world="tiny", or its folder as a text)'
        )


def check_same_env(ours: EnvSpec | None, theirs: EnvSpec | None, dataset_id: str) -> None:
    """Check that episodes of an env can be appended to a dataset, as far as both are known.

    Args:
        ours: spec of the env.
        theirs: spec of the dataset's env.
        dataset_id: name of the dataset.

    Raises:
        RecordingError: the envs differ in more than the limit of steps and the `WITHOUT_TRACE` arguments.
    """
    if ours is None or theirs is None:
        return
    differing = [
        f"its {path} is {was!r:.40}, here {here!r:.40}"
        for path, was, here in differences(_plain(theirs), _plain(ours))
        if not (path == "wrappers" and None in (was, here))  # specs of vector envs do not list adapters
    ]
    if differing:
        raise RecordingError(
            f"the dataset {dataset_id!r} was made in another env: {', '.join(differing)}; make the env as it "
            "was made, or choose another version"
        )


def check_same_weights(ours: str, theirs: str | None, dataset_id: str) -> None:
    """Check that episodes of a world can be appended to a dataset.

    Args:
        ours: fingerprint of the world.
        theirs: fingerprint that the dataset holds; None if it holds none.
        dataset_id: name of the dataset.

    Raises:
        RecordingError: the dataset holds another, or none.
    """
    if theirs is None:
        raise RecordingError(
            f"the dataset {dataset_id!r} does not say under which weights it was made; choose another version"
        )
    if theirs != ours:
        raise RecordingError(
            f"the dataset {dataset_id!r} was made under other weights ({theirs}, here {ours}), so that seeds "
            "show other frames; choose another version"
        )


def _plain(spec: EnvSpec) -> dict[str, Any]:
    """Return the relevant parts of a spec as JSON values, since datasets store theirs as JSON."""
    kwargs = {name: value for name, value in spec.kwargs.items() if name not in WITHOUT_TRACE}
    wrappers = [[one.name, one.kwargs] for one in spec.additional_wrappers]
    return json.loads(  # type: ignore[no-any-return]
        json.dumps({"id": spec.id, **kwargs, "wrappers": wrappers or None}, default=_fields)
    )


def _fields(value: Any) -> Any:
    """Convert a dataclass as `EnvSpec.to_json` does, and anything else to text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    return repr(value)
