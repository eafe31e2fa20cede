"""A world's vocabulary is the one that its configuration names, whatever the world itself is called."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from longlive_env import World
from longlive_env.engine.config import PRESETS
from longlive_env.envs import goals
from longlive_env.envs.prompt_env import PromptEnv
from longlive_env.envs.spaces import PromptSpace
from longlive_env.envs.vocabulary import OPEN, VOCABULARIES, named_by, vocabulary_of
from longlive_env.envs.wrappers import GoalInObservation, ProbeFeatures, SlotPrompts
from longlive_env.errors import ConfigError
from longlive_env.scenario import lint, parse_scenario
from longlive_env.scenario.sight import sight_of
from longlive_env.tiny.scene import ATTRIBUTES

TINY = PRESETS["tiny"]
CAT = "a red cat jumps in the city at night"
PUBLISHED = Path(__file__).parents[1] / "data" / "parity" / "mini"


@pytest.fixture
def copied(small_world_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copies the small world's folder, with changes of its configuration; None removes an entry."""

    def copy(**changes: str | None) -> Path:
        folder = Path(shutil.copytree(small_world_folder, tmp_path / "world"))
        values = json.loads((folder / "config.json").read_text()) | changes
        kept = {name: value for name, value in values.items() if value is not None}
        (folder / "config.json").write_text(json.dumps(kept))
        return folder

    return copy


def test_a_renamed_copy_keeps_its_goals_prompts_and_probe(
    copied: Callable[..., Path], small_world: World
) -> None:
    folder = copied(name="mine")
    env = PromptEnv(folder, task="goal")
    assert env.world.config == replace(small_world.config, name="mine") and named_by(folder) == "tiny"
    assert env.world.fingerprint == small_world.fingerprint
    frames, info = env.reset(seed=1)
    assert goals.parse(info["goal"]) and goals.parse(info["prompt"]) and "seen" in info
    assert env.action_space == PromptEnv(small_world).action_space
    assert not VOCABULARIES["tiny"].unknown_words(env.action_space.sample())
    assert goals.parse(env.reset(options={"goal_image": frames})[1]["goal"])
    assert ProbeFeatures(env).reset()[0].shape == (sum(map(len, ATTRIBUTES.values())),)
    assert GoalInObservation(env).reset()[0]["goal"].any()
    assert SlotPrompts(env).step(np.ones(len(ATTRIBUTES), np.int64))[4]["recached"]
    assert sight_of(env.world.config)(frames).keys() == ATTRIBUTES.keys()


def test_a_renamed_copy_reads_scenarios_alike() -> None:
    text = f"name: walk\nduration: 9s\nprompt: {CAT}\ngoals:\n  - {{name: wet, when: weather == rain}}\n"
    scenario, mine = parse_scenario(text, "walk.yaml"), replace(TINY, name="mine")
    assert scenario.plan(mine) == scenario.plan(TINY) and lint(scenario, mine) == []
    assert lint(scenario, replace(mine, vocabulary="")) == [
        "walk.yaml:5: nothing reads pictures of world 'mine'; this cannot be judged"
    ]


def test_a_world_of_another_name_that_names_none_takes_any_words(copied: Callable[..., Path]) -> None:
    folder = copied(name="mine", vocabulary=None)
    env = PromptEnv(folder)
    assert env.world.config.vocabulary == named_by(folder) == ""
    assert env.action_space == PromptSpace(2048, vocabulary="") != PromptSpace(2048, vocabulary="tiny")
    with pytest.raises(ConfigError, match="of the vocabulary 'tiny', and that of world 'mine' is ''; Goal"):
        PromptEnv(folder, task="goal")
    with pytest.raises(ConfigError, match="world 'mine', '', has no attributes; use DiscretePrompts"):
        SlotPrompts(env)


def test_a_folder_of_a_preset_from_before_the_entry_keeps_its_vocabulary(copied: Callable[..., Path]) -> None:
    folder = copied(vocabulary=None)
    assert World.load(folder).config.vocabulary == named_by(folder) == "tiny"


def test_an_unknown_one_is_refused_before_anything_is_played(copied: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match=r"config\.json names, is 'tinny'; did you mean 'tiny'\?"):
        PromptEnv(copied(vocabulary="tinny"))
    with pytest.raises(ConfigError, match="is 'forest'; expected 'tiny', or '' for any words"):
        vocabulary_of("forest")


def test_a_world_that_is_not_loaded_names_it_too(tmp_path: Path) -> None:
    assert named_by("tiny") == "tiny" and vocabulary_of(named_by("1.3b")) is OPEN
    assert named_by(PUBLISHED) == named_by(tmp_path) == named_by("absent") == ""
    (tmp_path / "config.json").write_text("[1]")
    assert named_by(tmp_path) == ""


def test_a_word_that_is_nearly_known_is_offered() -> None:
    nearest = vocabulary_of("tiny").nearest
    typed = {"rian": "rain", "Castel": "castle", "dinasaur": "dinosaur", "knight": "", "dog": "", "x": ""}
    assert {word: nearest(word) for word in typed} == typed and OPEN.nearest("rian") == ""
