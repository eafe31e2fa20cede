"""What callers give a vector env, spread over its worlds."""

from typing import Any

import numpy as np
import pytest
from gymnasium.error import Error

from longlive_env.engine.config import PRESETS
from longlive_env.envs.batches import (
    checked_mask,
    goal_images_of_worlds,
    options_of_worlds,
    own_seeds,
    seeds_of_worlds,
    tiled,
)
from longlive_env.errors import ConfigError


def draws(generators: list[np.random.Generator]) -> list[int]:
    return [int(generator.integers(2**32)) for generator in generators]


@pytest.mark.parametrize(
    ("options", "first", "second"),
    [
        ({}, {}, {}),
        ({"prompt": "a", "goal": None}, {"prompt": "a"}, {"prompt": "a"}),
        ({"prompt": ("a", None)}, {"prompt": "a"}, {}),
        ({"prompt": np.array(["a", "b"])}, {"prompt": "a"}, {"prompt": "b"}),
        ({"prompt": 7}, {"prompt": 7}, {"prompt": 7}),  # the check of prompts will say what is wrong
        ({"goal": [None, "b"], "frames": [None, None]}, {}, {"goal": "b"}),
        ({"world_seed": 3}, {"world_seed": 3}, {"world_seed": 4}),
        ({"world_seed": np.array([3, 8])}, {"world_seed": 3}, {"world_seed": 8}),
        ({"other": [1, 2], "reset_mask": np.ones(2, np.bool_)}, {"other": [1, 2]}, {"other": [1, 2]}),
    ],
)
def test_options_are_for_all_or_for_each(
    options: dict[str, Any], first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert options_of_worlds(options, 2, PRESETS["tiny"]) == [first, second]


def test_each_world_has_its_own_clip_and_goal_picture() -> None:
    config = PRESETS["tiny"]
    picture = np.zeros((config.height, config.width, 3), np.uint8)
    options = {"frames": [picture, None], "goal_image": [None, picture]}
    first, second = options_of_worlds(options, 2, config)
    assert list(first) == ["frames"] and first["frames"].shape == (9, *picture.shape)
    assert list(second) == ["goal_image"] and second["goal_image"] is picture


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": ["a"]}, "got 1 prompts for 2 worlds; give one for each, or one for all"),
        ({"goal": ["a"] * 3}, "got 3 goals for 2 worlds; give one for each, or one for all"),
        ({"world_seed": [1]}, "got 1 world seeds for 2 worlds; give one for each, or one for all"),
        ({"world_seed": "12"}, "the seed is '12'; expected a whole number"),
        ({"frames": [None]}, "got 1 clips of frames for 2 worlds; give one"),
        ({"goal_image": [None]}, "got 1 goal pictures for 2 worlds; give one for each"),
    ],
)
def test_options_for_another_number_of_worlds_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        options_of_worlds(options, 2, PRESETS["tiny"])


def test_goal_pictures_are_for_all_or_for_each() -> None:
    picture, block = np.zeros((4, 6, 3), np.uint8), np.zeros((12, 4, 6, 3), np.uint8)
    assert goal_images_of_worlds(None, 2) == [None, None]
    for one in (picture, block):
        assert all(each is one for each in goal_images_of_worlds(one, 3))
        assert goal_images_of_worlds([one, None], 2) == [one, None]
    assert [each.shape for each in goal_images_of_worlds(np.stack([block] * 2), 2)] == [block.shape] * 2
    assert len(goal_images_of_worlds(list(block), 12)) == 12
    assert goal_images_of_worlds(block[:1], 1)[0].shape == (1, 4, 6, 3)
    for count, given in ((12, block), (2, np.stack([picture] * 2))):
        message = rf"may be one block for all or a picture for each of {count} worlds; give list\("
        with pytest.raises(ConfigError, match=message):
            goal_images_of_worlds(given, count)
    with pytest.raises(ConfigError, match="got 2 goal pictures for 3 worlds; give one for each"):
        goal_images_of_worlds([picture] * 2, 3)


def test_seeds_are_counted_or_listed_and_mean_what_they_do_in_gymnasium() -> None:
    generators, seeds = [np.random.default_rng(world) for world in range(3)], [0, 1, 2]
    new, numbers = seeds_of_worlds(np.int64(4), generators, seeds, [0, 2])
    assert numbers == [4, 1, 6]
    assert draws(new)[0] == int(np.random.default_rng(np.random.SeedSequence(4)).integers(2**32))
    listed, _ = seeds_of_worlds([4, None, 6], generators, seeds, [0, 1, 2])
    again, _ = seeds_of_worlds(4, generators, seeds, [0, 1, 2])
    assert [a == b for a, b in zip(draws(listed), draws(again), strict=True)] == [True, False, True]
    with pytest.raises(Error, match="-1"):
        seeds_of_worlds(-1, generators[:1], seeds[:1], [0])


@pytest.mark.parametrize("seed", [1.5, "12", [1.7, 2]])
def test_what_is_no_seed_is_refused(seed: Any) -> None:
    with pytest.raises(ConfigError, match="expected a whole number"):
        own_seeds(seed, 2)


def test_generators_are_copied_until_a_reset_has_succeeded() -> None:
    generators = [np.random.default_rng(world) for world in range(2)]
    copies, _ = seeds_of_worlds(None, generators, [0, 1], [0, 1])
    assert draws(copies) == draws(generators)


def test_no_mask_means_all_worlds() -> None:
    assert checked_mask(None, 3).tolist() == [True] * 3


@pytest.mark.parametrize(
    ("count", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (3, 2, 2), (9, 3, 3), (16, 4, 4)]
)
def test_pictures_of_many_worlds_are_about_square(count: int, rows: int, columns: int) -> None:
    blocks = np.zeros((count, 2, 6, 10, 3), np.uint8)
    blocks += np.arange(1, count + 1, dtype=np.uint8).reshape(-1, 1, 1, 1, 1)
    picture = tiled(blocks)
    assert picture.shape == (2, rows * 6, columns * 10, 3)
    corners = picture[0, ::6, ::10, 0].ravel()
    assert corners[:count].tolist() == list(range(1, count + 1)) and not corners[count:].any()
