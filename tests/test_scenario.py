"""Scenario files: what is read, what is complained about, and which blocks a plan switches in."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from longlive_env.engine.config import PRESETS
from longlive_env.errors import RecordingError, ScenarioError
from longlive_env.recording import ActionLog, LogBlock, LogHeader
from longlive_env.scenario import (
    Change,
    Cue,
    Moment,
    Pace,
    Scenario,
    Wording,
    lint,
    load_prompt_lists,
    load_scenario,
    parse_scenario,
    replay_plan,
    shipped_scenarios,
)
from longlive_env.tiny import captions, scene

TINY = PRESETS["tiny"]
PACE = Pace.of(TINY)
FULL = """\
name: walk
description: A walk.
world: tiny
seed: 7
duration: 20s
recache: none
prompt: a red robot walks right through the city
timeline:
  - {at: 5s, prompt: a red robot jumps in the city}
  - at: block 12
    prompt: a red robot waits in the city
keys:
  1: a red robot jumps in the city
  UP: {action: jumps}
notes: Nothing.
"""


def test_every_key_is_read() -> None:
    scenario = parse_scenario(FULL, "walk.yaml")
    assert scenario == Scenario(
        name="walk",
        description="A walk.",
        world="tiny",
        seed=7,
        duration=Moment(20, "seconds"),
        recache="none",
        prompt="a red robot walks right through the city",
        timeline=(
            Cue(Moment(5, "seconds"), Change("a red robot jumps in the city", line=9), 9),
            Cue(Moment(12, "blocks"), Change("a red robot waits in the city", line=11), 11),
        ),
        keys={"1": Change("a red robot jumps in the city", line=13), "up": Change("jumps", "action", 14)},
        notes="Nothing.",
        file="walk.yaml",
        line=7,
    )


def broken(old: str, new: str) -> str:
    assert FULL.count(old) == 1
    return FULL.replace(old, new)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            broken("duration:", "duraton:"),
            r"walk.yaml:5: unknown key 'duraton' in the scenario; did you mean 'duration'",
        ),
        (
            broken("at: block", "att: block"),
            r"walk.yaml:10: unknown key 'att' in timeline\[1\]; did you mean 'at'",
        ),
        (broken("prompt: a red robot waits in the city", "nte: x"), r"walk.yaml:11: unknown key 'nte'"),
        (
            broken("    prompt: a red robot waits in the city\n", ""),
            r"walk.yaml:10: timeline\[1\] lacks the key 'prompt'",
        ),
        (broken("duration: 20s\n", ""), "walk.yaml:1: the scenario lacks the key 'duration'"),
        (broken("duration: 20s", "duration: soon"), "walk.yaml:5: duration: 'soon' is not a time"),
        (broken("at: 5s", "at: -5s"), "walk.yaml:9: at: '-5s' is not a time"),
        (broken("recache: none", "recache: ful"), "walk.yaml:6: recache is 'ful'; did you mean 'full'"),
        (broken("seed: 7", "seed: seven"), "walk.yaml:4: seed is 'seven'; expected a whole number"),
        (broken("name: walk", "name: ../walk"), "walk.yaml:1: name is '../walk'; use letters"),
        (broken("notes: Nothing.", "notes:"), "walk.yaml:15: notes is not a text"),
        (broken("notes: Nothing.", "name: again"), "walk.yaml:15: key 'name' comes twice"),
        (broken("notes: Nothing.", "notes: [unclosed"), r"walk.yaml:15: not valid YAML: the \[ that opens"),
        (broken("timeline:\n", "timeline: 3\nx:\n"), "unknown key 'x'"),
        (broken("  UP:", "  upp:"), "walk.yaml:14: there is no key 'upp'; did you mean 'up'"),
        (broken("  UP:", "  1:"), "walk.yaml:14: key '1' comes twice"),
        (broken("action: jumps", "acton: jumps"), "walk.yaml:14: unknown key 'acton' in UP; did you mean"),
        (
            broken("{action: jumps}", "{}"),
            "walk.yaml:14: UP changes nothing; give prompt, or some of subject, colour",
        ),
        (
            broken("action: jumps", "action: jumps, prompt: a cat"),
            "walk.yaml:14: UP has both 'prompt' and 'action'; give the whole prompt, or parts of it",
        ),
        (broken("prompt: a red robot walks right through the city", "prompt: ''"), "empty; write something$"),
        (broken("{action: jumps}", "{action: ''}"), "walk.yaml:14: action is empty; write something$"),
        (
            broken("{action: jumps}", "{action: '', weather: at night}"),
            "walk.yaml:14: action is empty; write something or leave it out",
        ),
        (broken("notes: Nothing.", "notes: ''"), "walk.yaml:15: notes is empty; write something or leave it"),
        (broken("notes: N", "quick: [a, b]\nnotes: N"), "walk.yaml:13: the key '1' is entry 1 of quick"),
        (
            broken("notes: N", f"quick: {['a'] * 10}\nnotes: N"),
            "walk.yaml:15: quick has 10 entries; there are 9",
        ),
        ("", "walk.yaml:1: the file is empty"),
        ("- 1", "walk.yaml:1: the scenario is not a table"),
    ],
)
def test_errors_name_file_line_and_key(text: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        parse_scenario(text, "walk.yaml")


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("0s", 0),
        ("block 0", 0),
        ("0.1s", 1),
        ("5s", 7),
        ("9 blocks", 9),
        ("block 3", 3),
        ("1m", 81),
        ("2.5 s", 4),
    ],
)
def test_moments_in_blocks(text: str, block: int) -> None:
    assert Moment.parse(text).block(PACE) == block


@given(st.decimals(0, 600, places=3))
def test_a_moment_takes_effect_at_the_first_block_that_begins_then_or_later(seconds: object) -> None:
    moment = Moment.parse(f"{seconds}s")
    for pace in (PACE, Pace.of(TINY, continues=True)):
        block, frame = moment.block(pace), moment.amount * TINY.fps
        assert pace.first_frame(block) >= frame - 1e-6
        assert block == 0 or pace.first_frame(block - 1) < frame


def test_only_a_video_of_ones_own_has_a_short_first_block() -> None:
    going_on = Pace.of(TINY, continues=True)
    assert [PACE.first_frame(block) for block in range(4)] == [0, 9, 21, 33]
    assert [going_on.first_frame(block) for block in range(4)] == [0, 12, 24, 36]
    second = Moment.parse("0.75s")
    assert (second.block(PACE), second.block(going_on)) == (2, 1)
    assert PACE.seconds(0.5) == 4.5 / 16 and PACE.seconds(1.5) == 15 / 16 and going_on.seconds(1.5) == 18 / 16
    for pace in (PACE, going_on):
        for position in (0, 0.25, 1, 2.5):
            assert pace.position(pace.seconds(position) * 16) == pytest.approx(position)


def test_the_plan_switches_where_the_timeline_says() -> None:
    plan = parse_scenario(FULL, "walk.yaml").plan(TINY)
    assert plan.blocks == 27  # 20 s are 320 frames: 9 and then 26 times 12 are 321
    assert dict(plan.switches) == {7: "a red robot jumps in the city", 12: "a red robot waits in the city"}
    assert (plan.prompt, plan.seed, plan.recache) == ("a red robot walks right through the city", 7, "none")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            broken("at: block 12", "at: block 7"),
            "walk.yaml:11: at block 7 is block 7, and the prompt at 5s is already",
        ),
        (broken("at: 5s", "at: 0s"), "walk.yaml:9: at 0s is block 0, and the starting prompt is already"),
        (broken("duration: 20s", "duration: 12 blocks"), "walk.yaml:11: .* the last one is block 11"),
        (broken("duration: 20s", "duration: 0s"), "walk.yaml:5: the duration is 0s"),
    ],
)
def test_impossible_timelines(text: str, message: str) -> None:
    scenario = parse_scenario(text, "walk.yaml")
    with pytest.raises(ScenarioError, match=message):
        scenario.plan(TINY)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (broken("seed: 7", f"seed: {'9' * 5000}"), "walk.yaml:4: seed has 5000 characters; expected 100"),
        (
            broken("duration: 20s", f"duration: {'9' * 400}s"),
            "walk.yaml:5: duration: the time is too long; write at most 86400 seconds",
        ),
        (broken("at: block 12", f"at: block {'9' * 5000}"), "walk.yaml:10: at: the time is too long"),
        (
            broken("{at: 5s, prompt:", f"{{at: 5s, choose: [{{prompt: a, weight: {'9' * 400}}}, b]}} #"),
            "walk.yaml:9: weight has 400 characters",
        ),
        (
            broken("notes: N", f"goals: [{{name: a, when: weather == fog, points: -{'9' * 400}}}]\nnotes: N"),
            "walk.yaml:15: points has 401 characters",
        ),
    ],
)
def test_numbers_beyond_all_bounds(text: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        parse_scenario(text, "walk.yaml")


def test_a_shortened_plan_leaves_later_prompts_out() -> None:
    scenario = parse_scenario(broken("duration: 20s", "duration: 8 blocks"), "walk.yaml")
    assert dict(scenario.plan(TINY, cut=True).switches) == {7: "a red robot jumps in the city"}


def test_shipped_scenarios_are_sound() -> None:
    scenarios = shipped_scenarios()
    assert len(scenarios) >= 6 and {"demo", "short", "weather", "story"} <= set(scenarios)
    known = set(captions.vocabulary())
    for name, scenario in scenarios.items():
        plan = scenario.plan(PRESETS[scenario.world])
        assert scenario.file == f"{name}.yaml" and scenario.name == name
        assert lint(scenario, PRESETS[scenario.world]) == []
        prompts = [plan.prompt, *plan.switches.values(), *(change.words for change in scenario.bound)]
        assert scenario.world != "tiny" or set(captions.words(" ".join(prompts))) <= known, name
    assert scenarios["demo"].duration == Moment(30, "seconds") and len(scenarios["demo"].timeline) == 3
    assert max(scenario.duration.amount for scenario in scenarios.values()) == 240


def test_words_of_the_published_worlds_scenarios_take_each_others_place() -> None:
    """That world has no vocabulary, so what a key or a cue exchanges is found by the scenario's own words."""
    scenarios = [scenario for scenario in shipped_scenarios().values() if scenario.pack == "published"]
    assert len(scenarios) >= 2
    for scenario in scenarios:
        changes = scenario.bound
        wording = Wording.of(PRESETS[scenario.world].vocabulary, changes)
        assert {change.part for change in changes} >= {"action", "weather"}
        for part in {change.part for change in changes}:
            assert any(change.part == part and change.words in scenario.prompt for change in changes)
        for change in changes:
            said = wording.exchange(scenario.prompt, change.part, change.words)
            assert change.words in said and said.endswith(scenario.prompt[-40:])
        plan = scenario.plan(PRESETS[scenario.world])
        assert all(prompt.endswith(plan.prompt[-40:]) for prompt in plan.switches.values())


def test_the_weather_cycle_shows_every_weather() -> None:
    scenario = shipped_scenarios()["weather"]
    text = " ".join([scenario.prompt, *scenario.plan(TINY).switches.values()])
    phrases = captions.PHRASES["weather"]
    assert all(any(phrase in text for phrase in phrases[weather]) for weather in scene.WEATHERS)


def test_scenarios_by_name_and_by_file(tmp_path: Path) -> None:
    assert load_scenario("demo").name == "demo"
    file = tmp_path / "walk.yml"
    file.write_text(FULL, encoding="utf-8")
    assert load_scenario(str(file)).name == "walk"
    with pytest.raises(ScenarioError, match="no scenario is called 'dmo'; did you mean 'demo'"):
        load_scenario("dmo")
    with pytest.raises(ScenarioError, match=r"cannot read .*: No such file"):
        load_scenario(str(tmp_path / "none.yaml"))
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ScenarioError, match="not UTF-8"):
        load_scenario(str(file))


def test_what_is_wrong_with_a_seed_is_said_with_its_line() -> None:
    scenario = parse_scenario(broken("seed: 7", f"seed: {2**64}"), "walk.yaml")
    with pytest.raises(ScenarioError, match=f"walk.yaml:4: the seed is {2**64}; expected a whole number"):
        scenario.plan(TINY)
    with pytest.raises(ScenarioError, match="walk: the seed is -1"):
        Scenario("walk", "a cat", Moment(9, "seconds"), seed=-1).plan(TINY)


def test_frames_are_found_beside_the_scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "walk.yaml"
    file.write_text(FULL + "frames: start.png\n", encoding="utf-8")
    scenario = load_scenario(str(file))
    with pytest.raises(ScenarioError, match=r"walk.yaml:16: cannot read frames from .*start.png: No such"):
        scenario.plan(TINY)
    Image.new("RGB", (TINY.width, TINY.height), (9, 8, 7)).save(tmp_path / "start.png")
    monkeypatch.chdir(tmp_path.parent)
    plan = scenario.plan(TINY)
    assert plan.start is not None and plan.start.shape == (1, TINY.height, TINY.width, 3)
    assert plan.start[0, 0, 0].tolist() == [9, 8, 7]
    without = dataclasses.replace(scenario, frames="").plan(TINY)
    assert without.blocks == plan.blocks and plan.frames == without.frames + 3 == 12 * plan.blocks


def advice(prompt: str, world: str = "tiny", *later: str) -> list[str]:
    times = (Moment(5.0 * i, "seconds") for i in range(1, len(later) + 1))
    timeline = tuple(Cue(at, Change(text, line=9), 9) for at, text in zip(times, later, strict=False))
    scenario = Scenario("walk", prompt, Moment(20, "seconds"), timeline=timeline, file="walk.yaml", line=7)
    return lint(scenario, PRESETS[world])


@pytest.mark.parametrize(
    ("prompt", "lacks"),
    [
        ("a red robot walks right through the city", ""),
        ("On the lunar surface, a bunny hops", ""),
        ("a red robot walks right in the rain", "setting"),
        ("it walks through the city", "subject"),
        ("it stops", "subject setting"),
    ],
)
def test_lint_knows_the_tiny_world(prompt: str, lacks: str) -> None:
    found = [re.search(r"names no (\w+)", line) for line in advice(prompt)]
    assert " ".join(match[1] for match in found if match) == lacks
    assert all(line.startswith(f"walk.yaml:7: {prompt!r}") for line in advice(prompt))


@pytest.mark.parametrize(
    ("prompt", "lacks"),
    [
        ("A woman in a red coat turns around on a wide beach.", ""),
        ("She turns around on a wide beach.", "subject"),
        ("A woman turns around.", "setting"),
        ("Jump!", "subject setting"),
        ("女の子が海辺を歩いている", ""),
    ],
)
def test_lint_guesses_in_other_worlds(prompt: str, lacks: str) -> None:
    found = [re.search(r"names no (\w+)", line) for line in advice(prompt, "1.3b")]
    assert " ".join(match[1] for match in found if match) == lacks


def test_lint_notices_a_prompt_that_changes_nothing() -> None:
    prompt = "a red robot walks right through the city"
    assert advice(prompt, "tiny", prompt) == [
        f"walk.yaml:9: {prompt!r} is already in force; this entry changes nothing"
    ]


@pytest.mark.parametrize(
    ("change", "after"),
    [
        (Change("a cat waits in the desert"), "a cat waits in the desert"),
        (Change("jumps up and down", "action"), "a blue cat jumps up and down by the sea, in the rain"),
        (Change("at night", "weather"), "a blue cat keeps dancing by the sea, at night"),
        (Change("on the moon", "setting"), "a blue cat keeps dancing on the moon, in the rain"),
    ],
)
def test_a_change_says_the_rest_of_the_prompt_again(change: Change, after: str) -> None:
    prompt = "a blue cat keeps dancing by the sea, in the rain"
    assert change.apply(prompt, Wording.of("tiny")) == after


def test_words_of_ones_own_can_be_exchanged_again() -> None:
    flips, waits = Change("does a backflip", "action"), Change("waits", "action")
    scenario = Scenario(
        "walk", "a cat waits at home", Moment(9, "seconds"), keys={"up": flips, "down": waits}
    )
    for vocabulary in ("tiny", ""):
        wording = scenario.wording(vocabulary)
        assert flips.apply(scenario.prompt, wording) == "a cat does a backflip at home"
        assert waits.apply("a cat does a backflip at home", wording) == scenario.prompt
        assert flips.apply("a cat awaits.", wording) == "a cat awaits, does a backflip"


def test_lint_looks_at_keys() -> None:
    text = FULL.replace("{action: jumps}", "jumps").replace(
        "notes: N", "quick: [{weather: at night}]\nnotes: N"
    )
    found = lint(parse_scenario(text.replace("  1:", "  2:"), "walk.yaml"), TINY, lambda text: ["x"])
    assert [line for line in found if "does not know" not in line] == [
        "walk.yaml:14: up: 'jumps' is a whole prompt without subject or setting; "
        "to change a part of the prompt, write {action: jumps}",
        "walk.yaml:15: quick 1: 'a red robot walks right through the city' holds no weather that is known; "
        "'at night' would be added at its end",
    ]
    assert "walk.yaml:14: up: world 'tiny' does not know 'x'" in found


def test_longlive_prompt_lists(tmp_path: Path) -> None:
    file = tmp_path / "interactive_example.jsonl"
    lists = [["a cat in a garden", "a cat on a roof", "a cat at home"], ["one prompt in a room"]]
    file.write_text("\n\n".join(json.dumps({"prompts": prompts}) for prompts in lists), encoding="utf-8")
    first, second = load_prompt_lists(file, Moment(10, "seconds"))
    assert (first.name, second.name) == ("interactive_example-1", "interactive_example-3")
    plan = first.plan(PRESETS["1.3b"])
    assert (plan.prompt, plan.blocks) == ("a cat in a garden", 41)
    assert dict(plan.switches) == {14: "a cat on a roof", 27: "a cat at home"}
    assert dict(second.plan(TINY).switches) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; expected lines such as"),
        (f'{{"prompts": [{"9" * 5000}]}}', r"list.jsonl:1: not valid JSON"),
        ("[" * 100_000, r"list.jsonl:1: not valid JSON"),
        ('{"prompts": ["a"]}\nnonsense', r"list.jsonl:2: not valid JSON"),
        ('{"prompts": []}', r"list.jsonl:1: expected"),
        ('{"prompts": "a cat"}', r"list.jsonl:1: expected"),
        ('{"prompts": ["a", ""]}', r"list.jsonl:1: expected"),
        ('["a"]', r"list.jsonl:1: expected"),
    ],
)
def test_wrong_prompt_lists(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "list.jsonl"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError, match=message):
        load_prompt_lists(file, Moment(10, "seconds"))


def log_of(prompts: list[str], recache: str = "full") -> ActionLog:
    header = LogHeader("walk", "tiny", 7, recache, 96, 160, 16, "cpu", 1, {})
    return ActionLog(header, tuple(LogBlock(i, prompt, 12, i, "") for i, prompt in enumerate(prompts)), True)


def test_a_log_becomes_the_plan_that_was_played() -> None:
    plan = replay_plan(log_of(["a", "a", "b", "b", "a"], "none"), TINY)
    assert (plan.prompt, plan.seed, plan.blocks, plan.recache) == ("a", 7, 5, "none")
    assert dict(plan.switches) == {2: "b", 4: "a"}
    with pytest.raises(RecordingError, match="holds no block"):
        replay_plan(log_of([]), TINY)
    with pytest.raises(RecordingError, match="recache is 'some'"):
        replay_plan(log_of(["a"], "some"), TINY)
