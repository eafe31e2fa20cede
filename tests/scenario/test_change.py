"""Changes of one part of a prompt: what is exchanged, and what stays as it was said."""

import pytest

from longlive_env.engine.config import PRESETS
from longlive_env.scenario import Change, lint, parse_scenario
from longlive_env.scenario.change import PARTS, Wording

OWN = Wording.of(
    "tiny",
    [
        Change("a huge blue elephant", "subject"),
        Change("a tall cat", "subject"),
        Change("An old robot", "subject"),
        Change("in the rain forest", "setting"),
    ],
)


@pytest.mark.parametrize(
    ("prompt", "part", "words", "after"),
    [
        ("a red robot jumps in the city", "action", "dances", "a red robot dances in the city"),
        ("a red robot jumps in the city", "subject", "an orange cat", "an orange cat jumps in the city"),
        ("an orange cat in the city", "colour", "blue", "a blue cat in the city"),
        ("A red robot walks", "colour", "orange", "An orange robot walks"),
        ("a robot walks in the city", "colour", "azure", "an azure robot walks in the city"),
        ("the red robot walks", "subject", "snail", "the snail walks"),
        ("a huge blue elephant dances", "subject", "a cat", "a cat dances"),
        ("a tall cat walks in the city", "colour", "blue", "a blue tall cat walks in the city"),
        ("An old robot waits", "colour", "blue", "A blue old robot waits"),
        ("the tall cat walks in the city", "subject", "a snail", "a snail walks in the city"),
        ("a huge red elephant dances", "subject", "a cat", "a cat dances"),
        ("a cat in the rain forest", "weather", "at night", "a cat in the rain forest, at night"),
        ("a cat in the rain", "weather", "at night", "a cat at night"),
        ("a cat waits under a blue sky", "colour", "red", "a red cat waits under a blue sky"),
        ("nothing that is known.", "subject", "a cat", "nothing that is known, a cat"),
    ],
)
def test_one_part_is_exchanged(prompt: str, part: str, words: str, after: str) -> None:
    assert Change(words, part).apply(prompt, OWN) == after


def test_several_parts_are_exchanged_in_order() -> None:
    night, moon = Change("at night", "weather", 3), Change("on the moon", "setting", 4)
    both = Change.of([night, moon])
    assert (both.words, str(both), both.line) == (
        "at night, on the moon",
        "weather: at night, setting: on the moon",
        3,
    )
    assert both.each == (night, moon) and night.each == (night,) and Change.of([night]) is night
    assert both.apply("a cat in the city in the rain", OWN) == "a cat on the moon at night"
    assert both.apply("a cat", OWN) == "a cat, at night, on the moon"
    own = Wording.of("tiny", [Change.of([Change("in a purple storm", "weather"), moon])])
    assert night.apply("a cat in a purple storm", own) == "a cat at night"


@pytest.mark.parametrize(
    ("vocabulary", "part", "words", "other"),
    [
        ("tiny", "weather", "on the moon", "setting"),
        ("tiny", "weather", "On the Moon.", "setting"),
        ("tiny", "action", "at night", "weather"),
        ("tiny", "subject", "green", "colour"),
        ("tiny", "colour", "a cat", "subject"),
        ("tiny", "colour", "blue cat", "subject"),
        ("tiny", "setting", "stops", "action"),
        ("tiny", "subject", "a green cat", ""),
        ("tiny", "weather", "under a blue sky", ""),
        ("tiny", "weather", "at night on the moon", ""),
        ("tiny", "setting", "on the moon in the rain", ""),
        ("tiny", "weather", "in a purple storm", ""),
        ("", "setting", "at golden hour", "weather"),
        ("", "setting", "at home", ""),
    ],
)
def test_words_of_another_part_do_not_become_phrases(
    vocabulary: str, part: str, words: str, other: str
) -> None:
    change = Change(words, part)
    known = Wording.known(vocabulary)
    assert known.other_part(change) == other
    own = Wording.of(vocabulary, [change])
    assert own.finds(f"someone {words}", part) == (not other or known.finds(f"someone {words}", part))


def test_a_part_under_the_wrong_key_leaves_earlier_entries_alone() -> None:
    slip = Change("on the moon", "weather")
    rain = Change("in the rain", "weather")
    prompt = "a blue cat stops on the moon at night"
    assert rain.apply(prompt, Wording.of("tiny", [rain, slip])) == "a blue cat stops on the moon in the rain"


def test_worlds_without_colours_of_their_own() -> None:
    general = Wording.of("")
    horse = "A white horse with a flowing mane runs along"
    assert general.exchange(horse, "subject", "a grey cat") == "a grey cat runs along"
    assert general.exchange(horse, "colour", "golden") == horse.replace("A white", "A golden white")
    own = Wording.of("", [Change("golden", "colour"), Change("white", "colour")])
    golden = own.exchange(horse, "colour", "golden")
    assert golden == "A golden horse with a flowing mane runs along"
    assert own.exchange(golden, "colour", "white") == horse
    assert own.exchange(golden, "subject", "a grey cat") == "a grey cat runs along"
    assert not general.finds("a horse", "colour")
    assert general.exchange("a horse", "colour", "red") == "a horse, red"


@pytest.mark.parametrize("part", PARTS)
def test_every_part_can_stand_in_a_scenario(part: str) -> None:
    words = {"subject": "a blue cat", "colour": "blue", "action": "jumps", "setting": "on the moon"}
    scenario = parse_scenario(
        "name: a\nduration: 9s\nprompt: a red robot dances in the city at night\n"
        f"timeline:\n  - {{at: 3s, {part}: {words.get(part, 'in the rain')}}}\n"
        f"keys:\n  x: {{{part}: {words.get(part, 'in the fog')}}}\n",
        "a.yaml",
    )
    assert lint(scenario, PRESETS["tiny"]) == []


@pytest.mark.parametrize("colour", ["blue", "light blue", "sea-green"])
def test_a_subject_is_found_under_another_colour(colour: str) -> None:
    ghost, repaint = Change(f"a {colour} ghost", "subject"), Change("crimson", "colour")
    wording = Wording.of("", [ghost, Change(colour, "colour"), repaint])
    painted = repaint.apply(f"a {colour} ghost walks through the city", wording)
    assert painted == "a crimson ghost walks through the city"
    assert Change("a tabby cat", "subject").apply(painted, wording) == "a tabby cat walks through the city"
