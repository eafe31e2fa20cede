"""What callers give a vector env, checked and spread over its worlds.

Shapes: N worlds, T pixel frames, H rows, W columns.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode

from longlive_env.engine.seeds import checked_seed
from longlive_env.errors import ConfigError, PromptError
from longlive_env.frames import Frames


def checked_actions(actions: Any, count: int) -> list[Any]:
    """The actions of `count` worlds, one for each; what each of them is remains to be checked.

    Raises:
        PromptError: it is one text, no sequence, or of another length.
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
    """Which of `count` worlds a reset starts anew: bool [N]; None means all.

    Raises:
        ConfigError: it is not a bool array [N], or chooses no world.
    """
    if mask is None:
        return np.ones(count, np.bool_)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (count,):
        got = f"{mask.dtype} {list(mask.shape)}" if isinstance(mask, np.ndarray) else repr(mask)
        raise ConfigError(f"reset_mask is {got}; expected a numpy array of bool [{count}]")
    if not mask.any():
        raise ConfigError("reset_mask chooses no world; mark at least one, or leave the reset out")
    return mask


def prompts_of_worlds(prompts: Any, count: int) -> list[Any]:
    """A prompt or None for each of `count` worlds; see `_for_worlds`."""
    return _for_worlds(prompts, count, "prompts")


def goals_of_worlds(goals: Any, count: int) -> list[Any]:
    """A goal or None for each of `count` worlds; see `_for_worlds`."""
    return _for_worlds(goals, count, "goals")


def goal_images_of_worlds(pictures: Any, count: int) -> list[Any]:
    """A goal picture, a block of them or None, for each of `count` worlds.

    Args:
        pictures: an array [H, W, 3] or [T, H, W, 3] for all, blocks [N, T, H, W, 3], or a sequence of N.
        count: N.

    Raises:
        ConfigError: there are more or fewer than N, or an array may be a block as well as N pictures.
    """
    shape = tuple(getattr(pictures, "shape", ()))
    if len(shape) == 4 and shape[0] == count > 1:
        raise ConfigError(
            f"goal_image {list(shape)} may be one block for all or a picture for each of {count} worlds; "
            f"give list(goal_image) for one each, [goal_image] * {count} for all"
        )
    if len(shape) in (3, 4):
        return [pictures] * count
    return _for_worlds(pictures, count, "goal pictures")


def _for_worlds(given: Any, count: int, what: str) -> list[Any]:
    """What is one for all, or one for each.

    Raises:
        ConfigError: there are more or fewer.
    """
    if given is None or isinstance(given, str) or not isinstance(given, (Sequence, np.ndarray)):
        return [given] * count
    if len(given) != count:
        raise ConfigError(f"got {len(given)} {what} for {count} worlds; give one for each, or one for all")
    return list(given)


def world_seeds_of(seeds: Any, count: int) -> list[Any]:
    """A seed of the noise, or None, for each of `count` worlds: one is counted on from.

    Raises:
        ConfigError: there are more or fewer.
    """
    if seeds is None:
        return [None] * count
    if not isinstance(seeds, (Sequence, np.ndarray)) or np.ndim(seeds) == 0:
        return [checked_seed(seeds) + world for world in range(count)]
    if len(seeds) != count:
        raise ConfigError(
            f"got {len(seeds)} world seeds for {count} worlds; give one for each, or one for all"
        )
    return list(seeds)


def own_seeds(seed: Any, count: int) -> list[int | None]:
    """The seed of each of `count` worlds: `seed + i`, or the `i`-th of a sequence; None where there is none.

    Raises:
        ConfigError: there are more or fewer.
    """
    if seed is None or isinstance(seed, Integral):
        return [None if seed is None else int(seed) + world for world in range(count)]
    if isinstance(seed, str) or not isinstance(seed, (Sequence, np.ndarray)):
        raise ConfigError(f"the seed is {seed!r}; expected a whole number, or one for each of {count} worlds")
    if len(seed) != count:
        raise ConfigError(f"got {len(seed)} seeds for {count} worlds; give one for each, or one for all")
    for one in seed:
        if not (one is None or isinstance(one, Integral)):
            raise ConfigError(f"the seed of a world is {one!r}; expected a whole number or None")
    return [None if one is None else int(one) for one in seed]


def seeds_of_worlds(
    seed: Any,
    count: int,
    generators: Sequence[np.random.Generator] | None = None,
    seeds: Sequence[int] = (),
    chosen: Collection[int] = (),
) -> tuple[list[np.random.Generator], list[int]]:
    """Generators of worlds after a reset, and what they were seeded with.

    Args:
        seed: world `i` gets `seed + i`, or the `i`-th of a sequence; None goes on with its generator.
        count: N.
        generators: that the worlds have; they are copied, so that a reset that fails leaves no trace. None
            makes new ones from chance.
        seeds: what those were seeded with.
        chosen: worlds that a seed is meant for.

    Raises:
        ConfigError: `seed` has another length.
        gymnasium.error.Error: a seed is not an integer, or negative.
    """
    if generators is None:
        made = [seeding.np_random() for _ in range(count)]
        return [generator for generator, _ in made], [drawn for _, drawn in made]
    wanted = own_seeds(seed, count)
    new_generators, new_seeds = list(generators), list(seeds)
    for world in chosen:
        one = wanted[world]
        if one is None:
            new_generators[world] = copy.deepcopy(generators[world])
        else:
            new_generators[world], new_seeds[world] = seeding.np_random(int(one))
    return new_generators, new_seeds


def tiled(blocks: Frames) -> Frames:
    """Blocks [N, T, H, W, 3] side by side in one picture [T, rows * H, columns * W, 3]; gaps are black."""
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
    """The member of `AutoresetMode` that `mode` is or names.

    Raises:
        ConfigError: there is none.
    """
    try:
        return AutoresetMode(mode)
    except ValueError as error:
        known = ", ".join(repr(one.value) for one in AutoresetMode)
        raise ConfigError(f"autoreset_mode is {mode!r}; expected one of {known}") from error
