"""Scenes, their split, and takes."""

import itertools

import numpy as np
import pytest

from longlive_env.errors import ConfigError
from longlive_env.tiny.scene import (
    ATTRIBUTES,
    BLOCK_FRAMES,
    SUBJECTS,
    USUAL,
    USUAL_COLOURS,
    Scene,
    block_start,
    change_one,
    completed,
    in_split,
    is_held_out,
    other_values,
    sample_scene,
    sample_take,
    sample_usual,
    without_saying,
)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """Every combination."""
    return [Scene(*values) for values in itertools.product(*ATTRIBUTES.values())]


def test_a_tenth_of_the_combinations_is_held_out(scenes: list[Scene]) -> None:
    assert len(scenes) == 8 * 8 * 8 * 6 * 5
    assert np.mean([is_held_out(scene) for scene in scenes]) == pytest.approx(0.1, abs=0.01)
    assert all(in_split(scene, "train") != in_split(scene, "held_out") for scene in scenes)


def test_split_is_fixed(scenes: list[Scene]) -> None:
    """The shipped weights were trained on this split."""
    assert sum(map(is_held_out, scenes)) == 1576
    assert is_held_out(Scene("robot", "red", "city", "clear", "right"))
    assert not is_held_out(Scene("robot", "red", "city", "snow", "still"))


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_samples_stay_in_their_split(split: str) -> None:
    for number in range(200):
        rng = np.random.default_rng(number)
        take = sample_take(rng, 5 * BLOCK_FRAMES, switches=2, split=split)
        scenes = [scene for _, scene in take.segments]
        assert all(is_held_out(scene) == (split == "held_out") for scene in scenes)
        assert all(a != b for a, b in itertools.pairwise(scenes))
        assert is_held_out(sample_scene(rng, split)) == (split == "held_out")


def test_change_one_changes_that_attribute_only() -> None:
    rng = np.random.default_rng(0)
    for name in ATTRIBUTES:
        scene = sample_scene(rng)
        other = change_one(scene, name, rng)
        assert [a for a in ATTRIBUTES if scene.attribute(a) != other.attribute(a)] == [name]


def test_switches_fall_on_block_boundaries() -> None:
    starts = [block_start(block) for block in range(10)]
    assert starts[:3] == [0, 9, 21]
    take = sample_take(np.random.default_rng(1), 8 * BLOCK_FRAMES, switches=3)
    assert take.segments[0][0] == 0
    assert all(start in starts for start, _ in take.segments)
    assert take.scene_at(take.segments[1][0] - 1) == take.segments[0][1]


def test_too_many_switches_are_refused() -> None:
    with pytest.raises(ConfigError, match="do not fit in 2 blocks"):
        sample_take(np.random.default_rng(0), 2 * BLOCK_FRAMES, switches=2)


def test_unknown_values_are_refused() -> None:
    with pytest.raises(ConfigError, match="colour is 'beige'; expected one of red"):
        Scene("cat", "beige", "city", "clear", "left")
    with pytest.raises(ConfigError, match="split"):
        sample_scene(np.random.default_rng(0), "test")
    with pytest.raises(ConfigError, match="split is 'test'; expected 'train' or 'held_out'"):
        in_split(Scene("cat", "red", "city", "clear", "left"), "test")


def test_splits_and_other_values() -> None:
    scene = Scene("robot", "red", "city", "clear", "right")
    assert in_split(scene, "held_out") and not in_split(scene, "train")
    assert other_values(scene, "action") == ["left", "still", "jump", "dance"]


def test_a_scene_without_neighbours_in_its_split_stays() -> None:
    lonely = Scene("robot", "red", "city", "night", "left")
    assert is_held_out(lonely)
    assert change_one(lonely, "weather", np.random.default_rng(0), "held_out") == lonely


def test_what_a_first_prompt_leaves_out_is_usual() -> None:
    assert completed({}) == Scene("robot", "blue", "meadow", "clear", "still")
    assert completed({"subject": "chick", "action": "jump"}) == Scene(
        "chick", "yellow", "meadow", "clear", "jump"
    )
    assert completed({"colour": "pink"}) == Scene("robot", "pink", "meadow", "clear", "still")
    assert set(USUAL_COLOURS) == set(SUBJECTS) and set(USUAL) | {"colour"} == set(ATTRIBUTES)


@pytest.mark.parametrize("named", [{"subject": "dog"}, {"colour": "grey"}])
def test_values_that_do_not_exist_cannot_be_completed(named: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"is 'dog'; expected one of|is 'grey'; expected one of"):
        completed(named)


def test_what_differs_from_what_goes_without_saying_makes_the_scene(scenes: list[Scene]) -> None:
    for scene in scenes[::37]:
        unsaid = without_saying(scene)
        differing = [name for name in ATTRIBUTES if scene.attribute(name) != unsaid.attribute(name)]
        assert completed({name: scene.attribute(name) for name in differing}) == scene


def test_about_half_of_a_usual_scene_is_usual() -> None:
    rng = np.random.default_rng(0)
    drawn = [sample_usual(rng) for _ in range(400)]
    assert not any(map(is_held_out, drawn))
    assert all(is_held_out(sample_usual(rng, "held_out")) for _ in range(50))
    for name in ATTRIBUTES:
        usual = np.mean([scene.attribute(name) == without_saying(scene).attribute(name) for scene in drawn])
        assert usual == pytest.approx(0.5 + 0.5 / len(ATTRIBUTES[name]), abs=0.1)
