"""What a dataset says of the env that its episodes were played in: a spec of Gymnasium."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from longlive_env.errors import RecordingError

OF_VECTORS = ("num_envs", "vectorization_mode", "autoreset_mode")  # arguments that no single env takes
WITHOUT_TRACE = ("render_mode", "device", "memory", "compile")  # episodes are the same without


def spec_of(env: gym.Env[Any, Any] | EnvSpec | str | None) -> EnvSpec | None:
    """The spec of an env, if there is one."""
    if isinstance(env, str):
        return gym.spec(env)
    return env if env is None or isinstance(env, EnvSpec) else env.spec


def single_spec(spec: EnvSpec | None) -> EnvSpec | None:
    """The spec of one env of a vector env that `gym.make_vec` has made."""
    if spec is None:
        return None
    kwargs = {name: value for name, value in spec.kwargs.items() if name not in OF_VECTORS}
    if not isinstance(kwargs.get("prompt"), str):  # one for each world
        kwargs.pop("prompt", None)
    steps = kwargs.pop("max_episode_steps", spec.max_episode_steps)
    limit = None if steps == -1 else steps  # both mean none, and a spec knows the first alone
    return dataclasses.replace(gym.spec(spec.id), kwargs=kwargs, max_episode_steps=limit)


def warn_of_unnamed_world(spec: EnvSpec | None) -> None:
    """Tell that an env cannot be made again from a dataset, if its world was given as an object."""
    world = "" if spec is None else spec.kwargs.get("world", "")
    if not isinstance(world, str):
        gym.logger.warn(
            f"the env was made with a {type(world).__name__} as its world, which a dataset cannot hold, so "
            'that it cannot recover the env; name the world (world="tiny", or its folder as a text)'
        )


def check_same_env(ours: EnvSpec | None, theirs: EnvSpec | None, dataset_id: str) -> None:
    """Pass if a dataset can grow by episodes of an env, as far as both are known.

    Args:
        ours: of the env.
        theirs: of the dataset's.
        dataset_id: its name.

    Raises:
        RecordingError: the envs differ in more than the limit of steps and what is `WITHOUT_TRACE`.
    """
    if ours is None or theirs is None:
        return
    differing = list(_differences(_plain(theirs), _plain(ours)))
    if differing:
        told = ", ".join(f"its {path} is {was!r:.40}, here {here!r:.40}" for path, was, here in differing)
        raise RecordingError(
            f"the dataset {dataset_id!r} was made in another env: {told}; make the env as it was made, or "
            "choose another version"
        )


def _plain(spec: EnvSpec) -> dict[str, Any]:
    """What matters of a spec, as JSON has it, in which datasets keep theirs."""
    kwargs = {name: value for name, value in spec.kwargs.items() if name not in WITHOUT_TRACE}
    wrappers = [[one.name, one.kwargs] for one in spec.additional_wrappers]
    return json.loads(  # type: ignore[no-any-return]
        # Specs of vector envs lack their adapters, so none says nothing.
        json.dumps({"id": spec.id, **kwargs, "wrappers": wrappers or None}, default=_fields)
    )


def _fields(value: Any) -> Any:
    """A dataclass as `EnvSpec.to_json` writes it; what a file cannot hold as a text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    return repr(value)


def _differences(was: dict[str, Any], here: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Dotted path and both values of each setting that differs; None stands for one that is not there."""
    for name in dict.fromkeys([*was, *here]):
        one, other = was.get(name), here.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            yield from ((f"{name}.{path}", *values) for path, *values in _differences(one, other))
        elif one != other and not (name == "wrappers" and None in (one, other)):
            yield name, one, other
