"""Menus: every action of a space is a prompt, and prompts change only what was asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longlive_env import World
from longlive_env.envs import goals
from longlive_env.envs.wrappers import attribute_prompts
from longlive_env.envs.wrappers.menus import PromptSlots, PromptTable, with_values
from longlive_env.errors import ConfigError, PromptError
from longlive_env.tiny.scene import ATTRIBUTES, Scene

NOW = "at night, a crimson droid hops on a beach"  # a red robot, in other words
SCENES = st.builds(Scene, *(st.sampled_from(values) for values in ATTRIBUTES.values()))


def test_tables() -> None:
    table = PromptTable(["a cat", "a dog"])
    assert [table.prompt(action, NOW) for action in range(table.space.n)] == ["", "a cat", "a dog"]
    assert table.prompt(np.int64(2), NOW) == table.prompt(np.array(2), NOW) == "a dog"
    plain = PromptTable(["a cat", "a dog"], keep=False)
    assert plain.space.n == 2 and plain.prompt(0, NOW) == "a cat"


def test_partial_tables_change_what_they_name() -> None:
    table = PromptTable(["in the snow", "a red cat", "on the beach"], partial=True)
    prompts = [table.prompt(action, NOW) for action in range(4)]
    assert prompts == [
        "",
        "a red robot jumps on the beach in the snow",
        "a red cat jumps on the beach at night",
        NOW,  # it is there already
    ]
    assert table.prompt(1, "a zebra") == "in the snow"
    twice = "a red robot walks left in the city, then jumps"  # of two actions the first is kept
    assert table.prompt(1, twice) == "a red robot moves left in the city in the snow"


@pytest.mark.parametrize("colours", [("red", "yellow"), ("yellow", "red")])
def test_of_several_values_the_first_is_kept(colours: tuple[str, str]) -> None:
    now = "a {} robot with a {} hat walks right in the city".format(*colours)
    night = f"a {colours[0]} robot moves right in the city at night"
    slots = PromptSlots(("colour", "weather"))
    assert slots.prompt([0, 2], now) == night
    assert slots.prompt([0, 2], f"{now} at night") == f"{now} at night", "that is what was asked for"
    assert slots.prompt([3, 0], now) == f"a {ATTRIBUTES['colour'][2]} robot moves right in the city"


@given(SCENES, st.sampled_from(list(ATTRIBUTES)), st.data())
def test_changed_prompts_are_the_plainest_of_changed_scenes(
    scene: Scene, name: str, data: st.DataObject
) -> None:
    value = data.draw(st.sampled_from(ATTRIBUTES[name]))
    changed = Scene(**{**goals.values_of(scene, tuple(ATTRIBUTES)), name: value})
    assert with_values(goals.describe_scene(scene), {name: value}) == goals.describe_scene(changed)


def test_the_prompts_of_attributes() -> None:
    assert len(attribute_prompts()) == sum(map(len, ATTRIBUTES.values()))
    assert attribute_prompts("weather")[:2] == ("on a clear day", "at night")
    with pytest.raises(
        ConfigError, match=r"the list of attributes is \('mood',\); expected one or more of subject"
    ):
        attribute_prompts("mood")


def test_slots() -> None:
    slots = PromptSlots()
    assert slots.space.nvec.tolist() == [9, 9, 9, 7, 6]
    assert slots.prompt(np.zeros(5, int), NOW) == ""
    assert slots.prompt(np.array([1, 1, 3, 2, 4]), NOW) == NOW, "these are the values it has"
    assert slots.prompt(np.array([2, 0, 0, 3, 0]), NOW) == "a red cat jumps on the beach in the rain"
    few = PromptSlots(["weather"])
    assert (
        few.space.nvec.tolist() == [7]
        and few.prompt([1], NOW) == "a red robot jumps on the beach on a clear day"
    )
    rng = np.random.default_rng(0)
    for _ in range(20):
        action = rng.integers(few.space.nvec)
        assert few.space.contains(action) and isinstance(few.prompt(action, NOW), str)


@pytest.mark.parametrize("action", [3, -1, 1.0, "a cat", None, [1]])
def test_actions_that_stand_for_nothing(action: object) -> None:
    with pytest.raises(PromptError, match="the action is"):
        PromptTable(["a cat", "a dog"]).prompt(action, NOW)


def test_numbers_that_stand_for_nothing() -> None:
    for action in ([1, 2], [0.5] * 5, np.zeros((1, 5), int)):
        with pytest.raises(PromptError, match="expected 5 integers"):
            PromptSlots().prompt(action, NOW)
    with pytest.raises(PromptError, match=r"the weather of action \[0, 0, 0, 7, 0\] is not from 0 to 6"):
        PromptSlots().prompt([0, 0, 0, 7, 0], NOW)


def test_impossible_menus(small_world: World) -> None:
    for prompts, message in (
        ([], "the list of prompts is empty; give one or more"),
        ("a cat", "got the prompts 'a cat'; expected a list of texts"),
        (5, "got the prompts 5; expected a list of texts"),
        (["a cat", 1], r"the list of prompts holds 1 \(int\); expected texts"),
    ):
        with pytest.raises(ConfigError, match=message):
            PromptTable(prompts)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="the partial prompt 'a zebra' names nothing"):
        PromptTable(["a zebra"], partial=True)
    with pytest.raises(PromptError, match="control character"):
        PromptTable.of(small_world, ["a cat", "a \0 dog"], partial=False, keep=True)
    for slots in ([], ["mood"], ["weather", "weather"]):
        with pytest.raises(ConfigError, match=r"the list of slots is .*each once"):
            PromptSlots(slots)
