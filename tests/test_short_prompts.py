"""Short prompts tell worlds that fill in what is left out from worlds that do not."""

from dataclasses import replace

import numpy as np
import pytest
from rendered_world import Meaning, RenderedWorld

from longlive_env.evaluate import EvalConfig, Measure
from longlive_env.short_prompts import BLOCKS, evaluate_short, short_config, short_trials
from longlive_env.tiny.scene import ATTRIBUTES, Scene, is_held_out, sample_scene

CONFIG = short_config(EvalConfig(rollouts=10, blocks=8, batch=4, rendered=1))


def shares(measures: tuple[Measure, ...]) -> dict[tuple[str, str], float]:
    return {(one.group, one.name): one.value.share for one in measures}


def meant() -> Meaning:
    """What the prompts of an evaluation mean."""
    first = {one.prompts[0]: one.scenes[0] for one in short_trials(CONFIG)}
    later = {(one.prompts[1], one.scenes[0]): one.scenes[1] for one in short_trials(CONFIG)}
    return lambda prompt, before: later[prompt, before] if before else first[prompt]


def test_trials_change_one_attribute_of_a_scene_that_is_partly_usual() -> None:
    planned = list(short_trials(CONFIG))
    assert planned == list(short_trials(CONFIG)) and len({one.seed for one in planned}) == 10
    for one in planned:
        first, second = one.scenes
        assert is_held_out(first) and is_held_out(second)
        assert [name for name in ATTRIBUTES if first.attribute(name) != second.attribute(name)] == [
            one.changed
        ]
        assert replace(first, **{one.changed: second.attribute(one.changed)}) == second
    assert {one.changed for one in planned} == set(ATTRIBUTES)


def test_rollouts_are_shorter_than_those_of_whole_prompts() -> None:
    assert short_config(EvalConfig()).blocks == BLOCKS < EvalConfig().blocks
    assert CONFIG.blocks == 8


def test_a_world_that_fills_in_what_is_left_out() -> None:
    seen = list[int]()
    found = shares(
        evaluate_short(RenderedWorld(meant()), CONFIG, on_block=lambda batch, block, _: seen.append(block))
    )
    assert list(found) == [("few", "named"), ("few", "left out"), ("edit", "changed"), ("edit", "unchanged")]
    assert min(found.values()) >= 0.9
    assert seen == [*range(8)] * 3


def test_a_world_that_draws_anything_that_is_left_out() -> None:
    """It shows the one thing that changes, and draws the rest anew."""
    meaning, rng = meant(), np.random.default_rng(0)

    def forgetful(prompt: str, before: Scene | None) -> Scene:
        scene = meaning(prompt, before)
        if before is None:
            return scene
        kept = {
            name: scene.attribute(name)
            for name in ATTRIBUTES
            if scene.attribute(name) != before.attribute(name)
        }
        return replace(sample_scene(rng), **kept)

    found = shares(evaluate_short(RenderedWorld(forgetful), CONFIG))
    assert found["edit", "changed"] >= 0.9 and found["edit", "unchanged"] < 0.5
    assert found["few", "left out"] >= 0.9


def test_a_world_that_shows_nothing_usual() -> None:
    other = Scene("snail", "red", "moon", "fog", "left")
    found = shares(evaluate_short(RenderedWorld(lambda *_: other), CONFIG))
    assert found["few", "left out"] < 0.3


@pytest.mark.parametrize("seed", [1, 2])
def test_seeds_draw_other_trials(seed: int) -> None:
    other = short_config(EvalConfig(rollouts=10, blocks=8, seed=seed))
    assert [one.scenes for one in short_trials(other)] != [one.scenes for one in short_trials(CONFIG)]
