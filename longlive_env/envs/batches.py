"""Arguments of a vector env, checked and distributed over its worlds.

Shapes: N worlds, T pixel frames, H rows, W columns.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode

from longlive_env.engine.config import WorldConfig
from longlive_env.engine.prefill import given_clips
from longlive_env.engine.seeds import checked_seed
from longlive_env.errors import ConfigError, PromptError
from longlive_env.frames import Frames

# Reset options that may differ between worlds.
PER_WORLD = ("prompt", "frames", "world_seed", "goal", "goal_image")


def checked_actions(actions: Any, count: int) -> list[Any]:
    """Return the actions of `count` worlds, one for each, with their values still unchecked.

    Raises:
        PromptError: `actions` is a text, not a sequence, or of another length.
    """
    if isinstance(actions, (str, bytes)):
        raise PromptError(
            f"step got the text {actions[:40]!r} for {count} worlds, and would take letters for prompts; "
            f"give {count} prompts, e.g. [prompt] * {count}"
        )
    if not isinstance(actions, (Sequence, np.ndarray)) or np.ndim(np.asarray(actions, object)) != 1:
        raise PromptError(f"actions are {actions!r}; give a sequence of {count} prompts")
    if len(actions) != count:
        raise PromptError(f"got {len(actions)} prompts for {count} worlds; give one for each, '' keeps it")
    return list(actions)


def checked_mask(mask: Any, count: int) -> npt.NDArray[np.bool_]:
    """Return which of `count` worlds a reset restarts: bool [N]; None means all.

    Raises:
        ConfigError: `mask` is not a bool array [N], or selects no world.
    """
    if mask is None:
        return np.ones(count, np.bool_)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (count,):
        got = f"{mask.dtype} {list(mask.shape)}" if isinstance(mask, np.ndarray) else repr(mask)
        raise ConfigError(f"reset_mask is {got}; expected a numpy array of bool [{count}]")
    if not mask.any():
        raise ConfigError("reset_mask chooses no world; mark at least one, or leave the reset out")
    return mask


def options_of_worlds(options: Mapping[str, Any], count: int, config: WorldConfig) -> list[dict[str, Any]]:
    """Return the reset options of each of `count` worlds, without those that are left open for it.

    Args:
        options: options of a vector env's `reset`; `"reset_mask"` is ignored.
        count: number of worlds, N.
        config: configuration of the worlds; clips of `"frames"` are brought to whole blocks.

    Raises:
        ConfigError: an option has values for more or fewer than N worlds, or the frames do not fit.
    """
    prompts, clips, seeds, goals, pictures = map(options.get, PER_WORLD)
    values = (
        for_worlds(prompts, count, "prompts"),
        given_clips(clips, count, config),
        world_seeds_of(seeds, count),
        for_worlds(goals, count, "goals"),
        goal_images_of_worlds(pictures, count),
    )
    own = dict(zip(PER_WORLD, values, strict=True))
    shared = {name: value for name, value in options.items() if name not in (*own, "reset_mask")}
    return [
        {**shared, **{name: values[world] for name, values in own.items() if values[world] is not None}}
        for world in range(count)
    ]


def goal_images_of_worlds(pictures: Any, count: int) -> list[Any]:
    """Return a goal picture, a goal block or None for each of `count` worlds.

    Args:
        pictures: one array [H, W, 3] or [T, H, W, 3] for all, blocks [N, T, H, W, 3], or a sequence of N.
        count: number of worlds, N.

    Raises:
        ConfigError: there are more or fewer than N, or an array could be one block or N pictures.
    """
    shape = tuple(getattr(pictures, "shape", ()))
    if len(shape) == 4 and shape[0] == count > 1:
        raise ConfigError(
            f"goal_image {list(shape)} may be one block for all or a picture for each of {count} worlds; "
            f"give list(goal_image) for one each, [goal_image] * {count} for all"
        )
    if len(shape) in (3, 4):
        return [pictures] * count
    return for_worlds(pictures, count, "goal pictures")


def for_worlds(given: Any, count: int, what: str) -> list[Any]:
    """Return a value for each world, from one for all or one for each.

    Raises:
        ConfigError: there are more or fewer.
    """
    if given is None or isinstance(given, str) or not isinstance(given, (Sequence, np.ndarray)):
        return [given] * count
    if len(given) != count:
        raise ConfigError(f"got {len(given)} {what} for {count} worlds; give one for each, or one for all")
    return list(given)


def world_seeds_of(seeds: Any, count: int) -> list[Any]:
    """Return a noise seed or None for each of `count` worlds; a single seed is counted up from.

    Raises:
        ConfigError: there are more or fewer.
    """
    single = not isinstance(seeds, (Sequence, np.ndarray)) or np.ndim(seeds) == 0
    if seeds is not None and single:
        return [checked_seed(seeds) + world for world in range(count)]
    return for_worlds(seeds, count, "world seeds")


def own_seeds(seed: Any, count: int) -> list[int | None]:
    """Return the seed of each of `count` worlds: `seed + i`, item `i` of a sequence, or None.

    Raises:
        ConfigError: there are more or fewer.
    """
    if seed is None or isinstance(seed, Integral):
        return [None if seed is None else int(seed) + world for world in range(count)]
    if isinstance(seed, str) or not isinstance(seed, (Sequence, np.ndarray)):
        raise ConfigError(f"the seed is {seed!r}; expected a whole number, or one for each of {count} worlds")
    seeds = for_worlds(seed, count, "seeds")
    for one in seeds:
        if not (one is None or isinstance(one, Integral)):
            raise ConfigError(f"the seed of a world is {one!r}; expected a whole number or None")
    return [None if one is None else int(one) for one in seeds]


def seeds_of_worlds(
    seed: Any, generators: Sequence[np.random.Generator], seeds: Sequence[int], chosen: Collection[int]
) -> tuple[list[np.random.Generator], list[int]]:
    """Return the worlds' generators after a reset, and the seeds of these.

    Args:
        seed: world `i` gets `seed + i`, or item `i` of a sequence; None keeps its generator.
        generators: current generators, which are copied, so that a failed reset leaves no trace.
        seeds: seeds of the current generators.
        chosen: worlds to seed.

    Raises:
        ConfigError: `seed` has another length.
        gymnasium.error.Error: a seed is not an integer, or negative.
    """
    wanted = own_seeds(seed, len(generators))
    new_generators, new_seeds = list(generators), list(seeds)
    for world in chosen:
        one = wanted[world]
        if one is None:
            new_generators[world] = copy.deepcopy(generators[world])
        else:
            new_generators[world], new_seeds[world] = seeding.np_random(int(one))
    return new_generators, new_seeds


def tiled(blocks: Frames) -> Frames:
    """Tile blocks [N, T, H, W, 3] into one picture [T, rows * H, columns * W, 3]; gaps are black."""
    count, frames, height, width, _ = blocks.shape
    columns = math.ceil(math.sqrt(count * height / width))
    rows = math.ceil(count / columns)
    picture = np.zeros((frames, rows * height, columns * width, 3), np.uint8)
    for world, block in enumerate(blocks):
        row, column = divmod(world, columns)
        place = (slice(row * height, (row + 1) * height), slice(column * width, (column + 1) * width))
        picture[:, place[0], place[1]] = block
    return picture


def checked_autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    """Return the member of `AutoresetMode` that `mode` is or names.

    Raises:
        ConfigError: there is no such mode.
    """
    try:
        return AutoresetMode(mode)
    except ValueError as error:
        known = ", ".join(repr(one.value) for one in AutoresetMode)
        raise ConfigError(f"autoreset_mode is {mode!r}; expected one of {known}") from error
