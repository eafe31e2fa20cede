"""Advice on changes of parts of a prompt."""

import dataclasses
import re

import pytest
import yaml

from longlive_env.engine.config import PRESETS
from longlive_env.scenario import Change, Moment, Scenario, lint, parse_scenario
from longlive_env.scenario.comments import cut_off
from longlive_env.scenario.template import template

HORSE = "A white horse with a flowing mane turns around on a wide beach"


@pytest.mark.parametrize(
    ("world", "prompt", "colours", "warnings"),
    [
        ("1.3b", HORSE, ["golden", "black"], 2),
        ("1.3b", HORSE, ["golden", "white"], 0),  # so white is known
        ("1.3b", HORSE.replace("white horse with a flowing mane", "boat"), ["golden"], 0),
        ("tiny", "a robot walks right through the city", ["blue"], 0),
    ],
)
def test_lint_warns_of_a_colour_before_a_colour(
    world: str, prompt: str, colours: list[str], warnings: int
) -> None:
    quick = (Change("a boat", "subject"), *(Change(words, "colour") for words in colours))
    scenario = Scenario("walk", prompt, Moment(9, "seconds"), quick=quick, file="walk.yaml")
    found = [line for line in lint(scenario, PRESETS[world]) if "whose colour" in line]
    assert len(found) == warnings
    if warnings:
        assert found[0] == (
            "walk.yaml: quick 2: 'golden' would be put before 'white horse with a flowing mane', whose "
            "colour world '1.3b' does not know; change the subject instead"
        )


HEAD = "name: walk\nduration: 20s\nprompt: a blue cat stops on the moon at night\n"


def advice(text: str) -> list[str]:
    return lint(parse_scenario(HEAD + text, "walk.yaml"), PRESETS["tiny"])


def test_lint_warns_of_a_part_under_the_wrong_key() -> None:
    assert advice(
        """\
timeline:
  - {at: 3s, weather: in the rain}
  - {at: 6s, weather: on the moon}
  - at: 9s
    action: at night
    weather: in the snow
keys:
  d: {subject: green}
quick:
  - {colour: blue, setting: stops}
"""
    ) == [
        "walk.yaml:6: 'on the moon' is a setting; write setting: on the moon",
        "walk.yaml:8: 'at night' is a weather; write weather: at night",
        "walk.yaml:11: d: 'green' is a colour; write colour: green",
        "walk.yaml:13: quick 1: 'stops' is an action; write action: stops",
    ]


def test_lint_looks_at_each_of_several_parts() -> None:
    head = HEAD.replace(" at night", "")
    text = "timeline:\n  - at: 3s\n    setting: on the beach\n    weather: in the rian\n"
    assert lint(parse_scenario(head + text, "walk.yaml"), PRESETS["tiny"]) == [
        "walk.yaml:7: 'a blue cat stops on the moon' holds no weather that is known; "
        "'in the rian' would be added at its end",
        "walk.yaml:7: world 'tiny' does not know 'rian' (did you mean 'rain'?)",
    ]
    twice = "timeline:\n  - {at: 3s, action: jumps, colour: red}\n  - {at: 6s, action: jumps, colour: red}\n"
    assert advice(twice) == ["walk.yaml:6: 'jumps, red' is already in force; this entry changes nothing"]


@pytest.mark.parametrize(
    ("entry", "words", "part"),
    [
        ("{at: 3s, prompt: jumps}", "jumps", "action"),
        ("{at: 3s, when: weather == rain, then: in the rain}", "in the rain", "weather"),
        ("{at: 3s, when: weather == rain, then: {action: jumps}, else: waits}", "waits", "action"),
        ("{at: 3s, choose: [{action: jumps}, azure]}", "azure", "colour"),
    ],
)
def test_lint_sees_a_part_that_is_written_as_a_whole_prompt(entry: str, words: str, part: str) -> None:
    found = [line for line in advice(f"timeline:\n  - {entry}\n") if "does not know" not in line]
    assert found == [
        f"walk.yaml:5: {words!r} is a whole prompt without subject or setting; "
        f"to change a part of the prompt, write {{{part}: {words}}}"
    ]


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("on the beach", "is a whole prompt without subject; .* write {setting: on the beach}"),
        ("a red cat", "is a whole prompt without setting; .* write {subject: a red cat}"),
        ("a red cat jumps", "names no setting"),
        ("jumps on the beach", "names no subject"),
    ],
)
def test_lint_tells_a_part_from_a_prompt_that_lacks_one(prompt: str, told: str) -> None:
    for text in (f"timeline:\n  - {{at: 3s, prompt: {prompt}}}\n", f"keys:\n  d: {prompt}\n"):
        (line,) = advice(text)
        assert re.search(told, line)


@pytest.mark.parametrize("words", ["jumps, at night", "jumps: now", "jumps #1", "@night", "* jumps", "jumps"])
def test_a_remedy_is_valid_yaml(words: str) -> None:
    lines = advice(f"timeline:\n  - {{at: 6s, prompt: {words!r}}}\n")
    remedy = next(line.partition("; to change a part of the prompt, write ")[2] for line in lines)
    assert yaml.safe_load(remedy) == {"action": words}
    assert remedy == "{action: jumps}" or words != "jumps"


@pytest.mark.parametrize("words", ["on the moon", "on the moon,"])
def test_a_remedy_for_a_wrong_key_is_valid_yaml(words: str) -> None:
    (line,) = [line for line in advice(f"quick:\n  - weather: {words!r}\n") if " is a setting; " in line]
    assert yaml.safe_load(f"{{{line.partition('; write ')[2]}}}") == {"setting": words}


def test_curly_quotes_are_told() -> None:
    text = """\
description: “A walk”
notes: “Go” is what it says
timeline:
  - at: 6s
    prompt: ‘a blue cat jumps, on the moon’
    note: „Why?“
keys:
  d: {action: “jumps”}
goals:
  - {name: “wet”, when: weather == rain}
"""
    remedy = 'it stays a part of the text, so write straight quotes (") instead'
    found = [line.partition(": ") for line in advice(text) if line.endswith(remedy)]
    assert [place for place, _, _ in found] == [f"walk.yaml:{line}" for line in (8, 11, 4, 8, 13)]
    assert found[1][2] == f"'“jumps”' begins with “; {remedy}"


def test_a_prompt_of_an_option_is_told_once() -> None:
    scenario = parse_scenario(template("full"), "full.yaml")
    places = {**scenario.places, "prompt": "--prompt"}
    given = dataclasses.replace(scenario, prompt="a red robot in the city", places=places)
    assert lint(given, PRESETS["tiny"]) == [
        "--prompt: 'a red robot in the city' holds no action or weather that is known, and the scenario "
        "changes that; its words would be added at the end, so name one there"
    ]
    own = lint(dataclasses.replace(given, places=scenario.places), PRESETS["tiny"])
    assert len(own) > 10  # each where it stands, as it can be mended there


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("&a blue cat", "walk.yaml:1: '&a' is read as a name for what follows, and nothing uses it; put"),
        ("&cat a blue cat\nnotes: *cat", ""),
        ("'&a blue cat'", ""),
    ],
)
def test_a_name_that_nothing_uses_may_be_text(prompt: str, told: str) -> None:
    found = list(cut_off(f"prompt: {prompt}\n", "walk.yaml"))
    assert (len(found) == 1 and found[0].startswith(told)) if told else not found


def test_lint_lets_prompts_be_short_where_the_world_completes_them() -> None:
    text = """\
name: walk
duration: 20s
prompt: a knight
timeline:
  - {at: 3s, prompt: jump}
  - {at: 6s, weather: at night}
quick: [a cat, {action: on the moon}]
"""
    scenario = parse_scenario(text, "walk.yaml")
    assert len(lint(scenario, PRESETS["tiny"])) > 3
    assert lint(scenario, PRESETS["tiny"], completes=True) == [
        "walk.yaml:3: world 'tiny' does not know 'knight'",
        "walk.yaml:7: quick 2: 'on the moon' is a setting; write setting: on the moon",
    ]
