"""Prompts of a few words stand for whole ones, in every rollout of a world that says how."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longlive_env.agents.goal import GoalAgent
from longlive_env.engine import world_files
from longlive_env.engine.completion import COMPLETION_FILE, EXCLUDING, Completion, PhraseBook
from longlive_env.engine.snapshot import from_bytes
from longlive_env.engine.world import World
from longlive_env.engine.world_places import find
from longlive_env.envs import goals
from longlive_env.envs.prompt_env import PromptEnv
from longlive_env.envs.prompts import EmbeddedPrompt
from longlive_env.envs.vector_env import PromptVectorEnv
from longlive_env.envs.vocabulary import vocabulary_of
from longlive_env.errors import ConfigError, PromptError, WeightsError
from longlive_env.recording import LogHeader
from longlive_env.scenario import parse_scenario, play
from longlive_env.tiny.captions import caption, known_words, short_caption
from longlive_env.tiny.scene import ATTRIBUTES, Scene, change_one, sample_scene, sample_usual
from longlive_env.training.world_model import tiny_completion

TINY = tiny_completion()
WHOLE = "a red robot walks right through the city on a clear day"
SMALL = Completion(
    sentence="a {colour} {subject} {action}",
    phrases={
        "colour": {"red": ("red",), "orange": ("orange",)},
        "subject": {"cat": ("cat",), "car": ("car", "jeep")},
        "action": {"left": ("goes left",), "right": ("goes right",), "still": ("waits",)},
    },
    usual={"colour": "red", "subject": "car", "action": "still"},
    short_phrases={"action": {"left": ("left",), "still": ("stop",)}},
    either={"action": {"goes": ("right", "left")}},
    relative={"action": {"turn round": {"left": "right", "right": "left"}}},
    weak={"action": ("still",)},
    goes_with={"subject": {"cat": {"colour": "orange"}}},
    linking=("a", "an", "and", "is", "the", ",", "!"),
    describes={"colour": "subject"},
)


@pytest.mark.parametrize(
    ("prompt", "before", "whole"),
    [
        ("", "", "a red car waits"),
        ("a cat", "", "an orange cat waits"),
        ("a red cat", "", "a red cat waits"),
        ("the RED jeep, goes left!", "", "the RED jeep, goes left!"),
        ("stop", "a red cat goes left", "a red cat waits"),
        ("a cat", "a red car goes left", "a red cat goes left"),
        ("left, orange", "a red car waits", "an orange car goes left"),
        ("a red car left", "", "a red car goes left"),
        ("a zebra goes", "", "a red car goes right"),
        ("it goes", "a red cat goes left", "a red cat goes left"),
        ("it goes", "a red cat waits", "a red cat goes right"),
        ("turn round", "a red cat goes left", "a red cat goes right"),
        ("it goes, then turn round", "a red cat goes right", "a red cat goes left"),
        ("turn round", "a red cat waits", "a red cat waits"),
        ("turn round", "", "a red car waits"),
        ("orange", "turn round", "an orange car waits"),
        ("stop, left", "a red cat goes right", "a red cat goes left"),
        ("left, then stop", "a red cat goes left", "a red cat waits"),
        ("turn round and stop", "a red cat goes left", "a red cat goes right"),
        ("hello", "the cat is red and waits", "the cat is red and waits"),
        ("red or orange", "an orange cat waits", "a red cat waits"),
        ("the red cat becomes an orange car", "a red cat waits", "an orange car waits"),
        ("a cat or a car", "", "an orange cat waits"),
        ("not orange, without a cat, don't stop", "a red car goes left", "a red car goes left"),
        ("no jeep, never orange", "a red cat goes left", "a red cat goes left"),
        ("a red cat and the cat goes left", "", "a red cat and the cat goes left"),
        ("a red cat goes left by an orange tree", "", "a red cat goes left"),
        ("by an orange tree, a red cat goes left", "an orange cat goes left", "a red cat goes left"),
        ("on orange sand, a cat, red, goes left", "", "an orange cat goes left"),
        ("a red cat goes left, slowly", "a red cat goes left", "a red cat goes left"),
        ("a red cat, not orange, goes left", "", "a red cat goes left"),
        ("a red cat waits, left of a car", "a red car waits", "a red cat waits"),
        ("no cat but an orange cat goes left", "", "an orange cat goes left"),
    ],
)
def test_what_is_left_out_is_usual_at_first_and_stays_later(prompt: str, before: str, whole: str) -> None:
    assert SMALL.complete(prompt, before) == whole


def test_a_phrase_that_is_plain_outdoes_a_short_one() -> None:
    book = PhraseBook(
        {"place": {"city": ("in the city",), "field": ("in a field",)}}, {"place": {"field": ("flowers",)}}
    )
    assert book.read("flowers in the city").values == {"place": ("city",)}
    found = book.read("Flowers everywhere")
    assert (found.values, found.in_full, found.rest) == ({"place": ("field",)}, frozenset(), ("everywhere",))
    assert not found.doubtful and book.read("flowers in the city").doubtful


@pytest.mark.parametrize(
    ("prompt", "action"),
    [
        ("jump right now", "jumps"),
        ("right away, at night", "dances"),
        ("All right, walk left", "moves left"),
        ("turn right now", "moves right"),
        ("now right", "moves right"),
        ("to the right now", "moves right"),
        ("stop dancing and jump", "jumps"),
        ("Turn around!", "dances"),
        ("leave the castle and run", "moves right"),
    ],
)
def test_phrases_of_the_tiny_world(prompt: str, action: str) -> None:
    whole = TINY.complete(prompt, "a red cat dances in the city on a clear day")
    assert f" {action} " in whole and " in the city " in whole


def test_words_may_have_apostrophes(world: World) -> None:
    assert world.unknown_words("it's night, don't stop right away, I won't, o'clock") == ["won't", "o'clock"]
    assert vocabulary_of("tiny").unknown_words("it's night, don't stop right away") == []


def test_words_that_exclude_are_known(world: World) -> None:
    text = ", ".join(EXCLUDING)
    assert world.unknown_words(text) == vocabulary_of("tiny").unknown_words(text) == []


words = st.sampled_from([*known_words(), "dog", "zebra", ",", "."])


@given(st.lists(words, max_size=12).map(" ".join), st.lists(words, max_size=12).map(" ".join))
def test_a_whole_prompt_stands_for_itself(first: str, second: str) -> None:
    """Whatever is typed, what comes out names everything, and is completed to itself."""
    before = TINY.complete(first)
    whole = TINY.complete(second, before)
    for text in (before, whole):
        assert TINY.complete(text) == TINY.complete(text, WHOLE) == text
    assert TINY.complete("", whole) == whole


def test_short_captions_are_completed_to_the_scenes_that_they_ask_for() -> None:
    for seed in range(400):
        rng = np.random.default_rng(seed)
        before = sample_scene(rng) if seed % 2 else None
        scene = change_one(before, str(rng.choice(list(ATTRIBUTES))), rng) if before else sample_usual(rng)
        text = short_caption(scene, rng, before)
        whole = TINY.complete(text, caption(before, rng) if before else "")
        assert Scene(**goals.parse(whole)) == scene, text


def test_the_shipped_world_completes_as_captions_have_it(tmp_path: Path) -> None:
    world = World.load("tiny")
    assert world.completion == TINY
    world.save(tmp_path)
    assert (tmp_path / COMPLETION_FILE).read_text() == (find("tiny") / COMPLETION_FILE).read_text()
    assert world.unknown_words("a Bot jumps, midnight walk on Mars") == ["Mars"]
    known = world.encode_prompt([TINY.complete("a bot in space at midnight")])
    assert known.shape[0] == 1 and world.unknown_words(TINY.complete("a bot in space at midnight")) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sentence": "a {colour} {subject}"}, "expected a place for each of {colour}, {subject}, {action}"),
        ({"sentence": "a {colour} {subject} {action} {place}"}, "expected a place for each of"),
        ({"sentence": "a {"}, "cannot be filled in"),
        ({"usual": {**SMALL.usual, "place": "city"}}, "usual names 'place'"),
        (
            {"phrases": {**SMALL.phrases, "colour": {"red": []}}},
            r"phrases has \[\] for 'red'",
        ),
        ({"short_phrases": {"action": {"left": [" "]}}}, r"short_phrases has \[' '\] for 'left'"),
        ({"either": {"action": {"Goes": ["left"]}}}, "for 'Goes'; expected values for a lower-case word"),
        ({"either": {"action": {"goes": []}}}, r"either has \[\] for 'goes'"),
        ({"relative": {"action": {"back": {"left": "up"}}}}, "relative has 'up' for action"),
        ({"relative": {"action": {"left": {"left": "right"}}}}, r"relative has \['left'\] for action"),
        ({"relative": {"action": {"": {"left": "right"}}}}, r"relative has \[''\] for action"),
        ({"weak": {"action": ["up"]}}, "weak has 'up' for action"),
        (
            {"usual": {"colour": "red", "subject": "car"}},
            "usual has None for action; expected one of left",
        ),
        ({"usual": {"colour": "blue", "subject": "car", "action": "still"}}, "usual has 'blue' for colour"),
        ({"short_phrases": {"weather": {}}}, "short_phrases names 'weather'; expected one of colour"),
        ({"short_phrases": {"action": {"dance": ["dance"]}}}, "short_phrases has 'dance' for action"),
        ({"either": {"action": {"goes": ["up"]}}}, "either has 'up' for action"),
        ({"describes": {"colour": "place"}}, "describes names 'place'; expected one of colour"),
        ({"goes_with": {"subject": {"dog": {}}}}, "goes_with has 'dog' for subject"),
        ({"goes_with": {"subject": {"cat": {"colour": "grey"}}}}, "goes_with has 'grey' for colour"),
        ({"phrases": 3}, "completion.phrases is 3; expected a table"),
        ({"sentences": "x"}, "completion has no 'sentences'; did you mean 'sentence'"),
    ],
)
def test_files_that_make_no_sense(
    small_world_folder: Path, tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    plain = json.loads(json.dumps(dataclasses.asdict(SMALL)))
    assert Completion.of(plain) == SMALL
    folder = shutil.copytree(small_world_folder, tmp_path / "world")
    (folder / COMPLETION_FILE).write_text(json.dumps({**plain, **changes}), encoding="utf-8")
    with pytest.raises(WeightsError, match=f"completion.json does not say how to complete prompts: .*{told}"):
        World.load(folder)


def test_a_completion_that_makes_no_sense_is_refused_in_code_too() -> None:
    with pytest.raises(ConfigError, match=r"expected a place for each of \{colour\}"):
        dataclasses.replace(SMALL, sentence="a {subject} {action}")


@pytest.fixture(scope="module")
def world(small_world: World) -> World:
    """The small world, with the tiny world's completion."""
    one = small_world
    return World(one.config, one.transformer, one.codec, one.text_encoding, one.tokenizer, TINY)


def test_rollouts_complete_their_prompts(world: World, small_world: World) -> None:
    rollout, literal = world.start("a cat", seed=3), small_world.start(TINY.complete("a cat"), seed=3)
    assert rollout.prompts == ["a cat"] and rollout.whole_prompts == literal.prompts
    assert rollout.step().equal(literal.step())
    rollout.switch_prompt("jump")
    literal.switch_prompt("an orange cat jumps in the meadow on a clear day")
    assert rollout.prompts == ["jump"] and rollout.whole_prompts == literal.whole_prompts == literal.prompts
    assert rollout.step().equal(literal.step())
    rollout.switch_prompt(WHOLE)
    assert rollout.whole_prompts == [WHOLE]


def test_each_world_of_a_batch_completes_by_what_it_shows(world: World) -> None:
    rollout = world.start([WHOLE, "a ghost at night"], seed=1)
    rollout.switch_prompt("dance")
    assert rollout.whole_prompts == [
        "a red robot dances in the city on a clear day",
        "a white ghost dances in the meadow at night",
    ]
    rollout.switch_prompt(["a car"], worlds=[1])
    assert rollout.whole_prompts[1] == "a white car dances in the meadow at night"


def test_states_keep_what_a_prompt_stands_for(world: World) -> None:
    rollout = world.start(WHOLE, seed=1)
    rollout.step()
    rollout.switch_prompt("at night")
    whole = "a red robot moves right in the city at night"
    assert rollout.whole_prompts == [whole]
    copies = [rollout.fork(), world.resume(rollout.snapshot()), world.resume(rollout.keep())]
    other = world.start("a cat", seed=2)
    other.assign([0], rollout)
    frames = []
    for copy in (rollout, *copies, other):
        assert (copy.prompts, copy.whole_prompts) == (["at night"], [whole])
        copy.switch_prompt("jump")
        assert copy.whole_prompts == ["a red robot jumps in the city at night"]
        frames.append(copy.step())
    assert all(one.equal(frames[0]) for one in frames)


def test_a_world_that_restarts_begins_a_new_take(world: World) -> None:
    rollout = world.start([WHOLE, WHOLE], seed=1)
    rollout.step()
    rollout.reset_world(1, "jump", seed=5)
    assert rollout.whole_prompts == [WHOLE, "a blue robot jumps in the meadow on a clear day"]
    assert rollout.step()[1, -9:].equal(world.start("jump", seed=5).step()[0])


def test_snapshots_from_before_completion_are_read(world: World) -> None:
    kept = from_bytes(world.start(WHOLE, seed=1).snapshot())
    header = {name: value for name, value in kept.header.items() if name != "whole_prompts"}
    rollout = world.resume(dataclasses.replace(kept, header=header))
    assert rollout.whole_prompts == rollout.prompts == [WHOLE]


def test_what_a_prompt_stands_for_is_limited(world: World, small_world: World) -> None:
    """A world that has learned short sentences reads long prompts, too."""
    rollout, literal = world.start(WHOLE, seed=1), small_world.start(WHOLE, seed=1)
    with pytest.raises(PromptError, match="longer than the 32 tokens"):
        literal.switch_prompt("cat " * 40)
    assert literal.prompts == literal.whole_prompts == [WHOLE]
    rollout.switch_prompt("cat " * 40)
    assert rollout.whole_prompts == ["a red cat moves right in the city on a clear day"]
    whole = f"{WHOLE}{', and' * 20}"
    for call in (rollout.switch_prompt, world.check_prompt_length, lambda text: world.encode_prompt([text])):
        with pytest.raises(PromptError, match="longer than the 32 tokens"):
            call(whole)


def test_embeddings_of_ones_own_are_taken_as_they_are(world: World) -> None:
    """They stand for nothing in words, unless told."""
    rollout, text = world.start(WHOLE, seed=1), world.encode_prompt(["jumps"])
    rollout.switch_prompt("jump", text=text)
    assert rollout.state.text.equal(text)
    assert (rollout.prompts, rollout.whole_prompts) == (["jump"], [WHOLE])
    rollout.switch_prompt("jump", text=text, whole=["a cat"])
    assert rollout.whole_prompts == ["a cat"]
    rollout.reset_world(0, "x", 1, text=text, whole=["a car"])
    assert rollout.whole_prompts == ["a car"]
    assert world.start("x", text=text).whole_prompts == [""]
    with pytest.raises(ConfigError, match="give one for each"):
        rollout.switch_prompt("jump", text=text, whole=["a", "b"])


def test_on_the_way_from_one_short_prompt_to_another_both_mean_what_they_did(world: World) -> None:
    text = """\
name: blend
duration: 7 blocks
prompt: a cat
timeline: [{at: block 2, prompt: jump at night, blend: 3 blocks}]
"""
    played = [block.frames for block in play(world, parse_scenario(text, "b.yaml").plan(world.config))]
    before = "an orange cat stands still in the meadow on a clear day"
    after = "an orange cat jumps in the meadow at night"
    assert (world.completed("a cat"), world.completed("jump at night", before)) == (before, after)
    a, b = world.encode_prompt([before]), world.encode_prompt([after])
    rollout, frames = world.start(before, seed=0), []
    for text in (None, None, (2 * a + b) / 3, (a + 2 * b) / 3, b, None, None):
        if text is not None:
            rollout.switch_prompt(after, text=text)
        frames.append(rollout.step()[0].int())
    for one, other in zip(played, frames, strict=True):
        assert (torch.from_numpy(one).int() - other).abs().max() <= 1


def test_embeddings_in_envs_stand_for_the_text_that_they_are_near(world: World) -> None:
    tokens = world.encode_prompt([WHOLE])[0].float()
    near = EmbeddedPrompt.of(tokens[: int(tokens.abs().sum(dim=1).count_nonzero())] * 1.01, WHOLE)
    env = PromptEnv(world)
    env.reset(seed=1, options={"prompt": "a cat"})
    env.step(near)
    assert env.rollout.whole_prompts == [WHOLE]
    env.step("jump")
    assert env.rollout.whole_prompts == ["a red robot jumps in the city on a clear day"]
    env.reset(seed=1, options={"prompt": near})
    assert (env.rollout.prompts, env.rollout.whole_prompts) == ([str(near)], [WHOLE])
    envs = PromptVectorEnv(2, world)
    envs.reset(seed=1, options={"prompt": "a cat"})
    envs.step([near, "jump"])
    assert envs.rollout.whole_prompts == [WHOLE, "an orange cat jumps in the meadow on a clear day"]


def test_tasks_go_by_what_the_frames_will_show(world: World) -> None:
    """A tour leads elsewhere, and a held scene is the one that begins."""
    for seed in range(12):
        tour = PromptEnv(world, task="tour")
        _, info = tour.reset(seed=seed, options={"prompt": "a cat"})
        assert info["prompt"] == "a cat" and not any("meadow" in stop for stop in info["route"])
    hold = PromptEnv(world, task="hold")
    hold.reset(seed=3, options={"prompt": "a red cat"})
    scene = hold.episodes.episodes[0].task_state["scene"]
    assert Scene(**scene) == Scene("cat", "red", "meadow", "clear", "still")


def test_an_agent_that_plans_goes_by_what_is_in_force() -> None:
    agent = GoalAgent("snow")
    candidates = agent.candidates("jump", "a red cat jumps in the city at night")
    assert candidates[:2] == ["jump", "a red cat jumps in the city in the snow"]


def test_logs_tell_when_prompts_were_completed_otherwise(world: World, small_world: World) -> None:
    def header(one: World) -> LogHeader:
        return LogHeader.of(one, name="x", seed=1, recache="full", goals=())

    other = dataclasses.replace(TINY, usual={**TINY.usual, "weather": "fog"})
    models = world.config, world.transformer, world.codec, world.text_encoding, world.tokenizer
    assert header(world).differences(header(world)) == []
    assert header(world).differences(header(World(*models, other))) == [
        f"completion was {TINY.digest}, here it is {other.digest}"
    ]
    assert header(small_world).differences(header(world)) == [
        f"completion was the default, here it is {TINY.digest}"
    ]


def test_encoding_ahead_follows_a_take(world: World, small_world_folder: Path) -> None:
    parts = world_files.load(small_world_folder, text_placement="freed")
    freed = World(*parts._replace(completion=TINY))
    freed.encode_ahead([])
    assert not freed.text_encoding.loaded
    freed.encode_ahead(["a cat", "jump"])
    assert not freed.text_encoding.loaded
    rollout = freed.start("a cat")
    rollout.switch_prompt("jump")
    assert list(freed.text_encoding._recent) == [TINY.complete("a cat"), *rollout.whole_prompts]


def test_saved_worlds_keep_their_completion(world: World, tmp_path: Path) -> None:
    world.save(tmp_path)
    loaded = World.load(tmp_path)
    assert loaded.completion == TINY and loaded.replaced().completion is loaded.completion
    assert loaded.start("a cat").whole_prompts == ["an orange cat stands still in the meadow on a clear day"]
    World(world.config, world.transformer, world.codec, world.text_encoding, world.tokenizer).save(tmp_path)
    assert World.load(tmp_path).completion is None  # nothing is left of the other's


def test_words_that_ask_for_nothing_are_left_out(world: World) -> None:
    whole = "a red robot walks right in the city at night in a storm, by a lighthouse"
    assert world.unknown_words(whole) == world.unknown_words("a storm by a lighthouse") == ["lighthouse"]
    assert world.completed(whole) == "a red robot moves right in the city at night"


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_whole_captions_are_passed_on_as_they_are(split: str) -> None:
    for seed in range(500):
        rng = np.random.default_rng(seed)
        scene = sample_scene(rng)
        text = caption(scene, rng, split)
        whole = TINY.complete(text, WHOLE)
        assert goals.parse(text) == goals.parse(whole) == dataclasses.asdict(scene)
        assert whole == text or ("sky" in text and scene.colour not in text.split("sky")[0].split()[-1:])


@pytest.mark.parametrize(
    ("prompt", "whole"),
    [
        (
            "in the city, an orange car is moving left under a blue sky",
            "an orange car moves left in the city on a clear day",
        ),
        (
            "a white ghost moves right through the city past a yellow taxi in the rain",
            "a white ghost moves right in the city in the rain",
        ),
        (
            "By the blue sea, a yellow robot dances on the beach on a sunny day!",
            "a yellow robot dances on the beach on a clear day",
        ),
        (
            "A majestic golden dragon strolls to the left through the city at night, cinematic, 4k, detailed",
            "a yellow dinosaur moves left in the city at night",
        ),
    ],
)
def test_nothing_else_reaches_the_networks(prompt: str, whole: str) -> None:
    """They take the colour of one thing for that of another."""
    assert TINY.complete(prompt) == TINY.complete(prompt, WHOLE) == whole
