"""Goals as texts: what is described is read back, in every wording that captions have."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longlive_env.envs import goals
from longlive_env.errors import ConfigError
from longlive_env.tiny import captions
from longlive_env.tiny.scene import ATTRIBUTES, Scene, sample_scene

VALUES = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(values) for name, values in ATTRIBUTES.items()}
).filter(bool)


@given(VALUES)
def test_descriptions_are_read_back(values: dict[str, str]) -> None:
    assert goals.parse_wholly(goals.describe(values)) == values


@given(st.integers(0, 2**32), st.sampled_from(["train", "held_out"]))
def test_captions_are_read_back(seed: int, split: str) -> None:
    rng = np.random.default_rng(seed)
    scene = sample_scene(rng, split)
    text = captions.caption(scene, rng, split)
    assert goals.parse_wholly(text) == goals.values_of(scene, tuple(ATTRIBUTES)), text


def test_descriptions_are_plain_english() -> None:
    looks = {"subject": "robot", "colour": "orange", "setting": "city", "weather": "night"}
    assert goals.describe(looks) == "an orange robot in the city at night"
    assert goals.describe({"colour": "red", "action": "left"}) == "something red moves left"
    assert goals.describe({"setting": "moon"}) == "on the moon"
    scene = Scene("robot", "orange", "moon", "night", "jump")
    assert goals.describe_scene(scene) == "an orange robot jumps on the moon at night"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a zeppelin", "names nothing that a scene can show; try something like"),
        ("a red robot or a cat", "names two values of subject"),
        ("", "names nothing"),
    ],
)
def test_goals_that_mean_nothing(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        goals.parse(text)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a cat, not red", "not"),
        ("a robot that is not in the city", "not"),
        ("a cat in the city without rain", "without"),
        ("no cats in the city", "no"),
    ],
)
def test_goals_cannot_exclude(text: str, word: str) -> None:
    """They would be scored as the opposite of what they say."""
    with pytest.raises(ConfigError, match=f"says what not to show \\('{word}'\\).*name what to show"):
        goals.parse_wholly(text)
    assert goals.parse_wholly("a cat does not move") == {"subject": "cat", "action": "still"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "at least one of subject, colour"),
        ({"mood": "sad"}, "'mood' is not an attribute"),
        ({"setting": "attic"}, "setting 'attic' is unknown; expected one of city, forest"),
    ],
)
def test_values_that_do_not_exist(values: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        goals.describe(values)


def test_a_lenient_reading_leaves_out_what_is_named_twice() -> None:
    text = "a red and blue robot walks left in the city"
    assert goals.parse_leniently(text) == {"subject": "robot", "setting": "city", "action": "left"}
    assert goals.parse_leniently("a lighthouse") == goals.parse_first("a lighthouse") == {}


def test_values_are_found_in_the_order_of_the_text() -> None:
    for text, first in (("a blue and red robot", "blue"), ("a robot, red like a blue one", "red")):
        assert goals.parse_first(text) == {"subject": "robot", "colour": first}
    with pytest.raises(ConfigError, match="two values of colour, red and blue"):
        goals.parse("a red and blue robot")
