"""What is said of common mistakes in the YAML of a scenario."""

import pytest

from longlive_env.errors import ScenarioError
from longlive_env.scenario import Moment, parse_scenario

HEAD = "name: walk\nduration: 20s\nprompt: a red cat jumps in the city\n"


def told(text: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text, "walk.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("at: , weather: at night", "at is not a time; write at: 5s"),
        ("at: [5s], weather: at night", "at is not a time; write at: 5s"),
        ("at: 5s, weather: at night, blend: ", "blend is not a time; write blend: 5s"),
        ("at: 5s, when: , then: {action: stops}", "when is not a condition; write when: weather == rain"),
        ('at: "", weather: at night', "at is empty; write something"),
        ("at: 5s, repeat: 2, every: , timeline: []", "every is not a time; write every: 5s"),
        ("at: 5s, weather: ", 'weather is not a text; write weather: "..."'),
        ("at: 5s, seed: , choose: [a, b]", "seed is not a number; write seed: 7"),
    ],
)
def test_a_missing_value_is_told_once(text: str, message: str) -> None:
    assert told(f"{HEAD}timeline:\n  - {{{text}}}\n") == f"walk.yaml:5: {message}"


def test_a_missing_duration_is_a_missing_time() -> None:
    message = "walk.yaml:2: duration is not a time; write duration: 5s"
    assert told(HEAD.replace("duration: 20s", "duration:")) == message


def test_a_comma_within_braces_needs_quotes() -> None:
    entry = "{at: 5s, prompt: a red cat jumps in the city, at night}"
    assert told(f"{HEAD}timeline:\n  - {entry}\n") == (
        "walk.yaml:5: unknown key 'at night' in timeline[0]; put a text that holds a comma in quotes, "
        'such as "..., at night"'
    )
    nested = "timeline:\n  - at: 5s\n    prompt: a cat\n    at night:\n"
    assert "unknown key 'at night' in timeline[0]; valid: at, prompt" in told(HEAD + nested)


@pytest.mark.parametrize("rest", ["", "  - {at: 8s, prompt: a cat}\n", "goals:\n  - {name: a, when: b}\n"])
def test_a_number_sign_within_braces_needs_quotes(rest: str) -> None:
    message = told(f"{HEAD}timeline:\n  - {{at: 5s, prompt: a red robot in the city #1 at night}}\n{rest}")
    assert message.startswith("walk.yaml:5: not valid YAML: ")
    assert message.endswith("; put a text that holds a # in quotes")
    comment = told(f"{HEAD}timeline:\n  - {{at: 5s,  # now\n     prompt: night: a cat}}\n")
    assert comment.startswith("walk.yaml:6: ") and "holds a colon" in comment


def test_long_lists_of_names_are_left_out_if_one_is_close() -> None:
    message = "walk.yaml:2: unknown key 'duraton' in the scenario; did you mean 'duration'?"
    assert told(HEAD.replace("duration", "duraton")) == message
    assert "; valid: " in told(HEAD + "xyz: 1\n")


def test_times_are_told_as_they_are_written() -> None:
    units = "write seconds, minutes or blocks, such as 5s, 2m or"
    assert told(HEAD.replace("20s", "3")) == f"walk.yaml:2: duration: '3' is not a time; {units} 8 blocks"
    assert f"{units} block 8" in told(f"{HEAD}timeline: [{{at: 3, prompt: a cat}}]\n")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (HEAD.replace("a red", "night: a red"), 3),
        (f"{HEAD}timeline:\n  - {{at: 5s, prompt: night: a red cat}}\n", 5),
    ],
)
def test_a_colon_needs_quotes(text: str, line: int) -> None:
    message = told(text)
    assert message.startswith(f"walk.yaml:{line}: not valid YAML: ")
    assert '; put a text that holds a colon in quotes, such as "night: a robot"' in message


def test_tabs_are_no_indentation() -> None:
    message = told(f"{HEAD}timeline:\n\t- {{at: 5s, weather: at night}}\n")
    assert message.startswith("walk.yaml:5: not valid YAML: ") and message.endswith(
        "; indent with spaces, not with tabs"
    )


@pytest.mark.parametrize("text", ["86400s", "1440m", "86400 blocks"])
def test_a_day_is_the_longest_time(text: str) -> None:
    assert parse_scenario(HEAD.replace("20s", text), "walk.yaml").duration == Moment.parse(text)
    longer = text.replace("0", "1", 1) if text != "1440m" else "1441m"
    message = "walk.yaml:2: duration: the time is too long; write at most 86400 seconds (a day) or blocks"
    assert told(HEAD.replace("20s", longer)) == message


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('description: "rain\\0"', "walk.yaml:4: description holds the control character U+0000"),
        (
            'timeline:\n  - {at: 5s, weather: in the rain, note: "\\e[31mred"}',
            "walk.yaml:5: note holds the control character U+001B",
        ),
        (
            'goals:\n  - {name: "\\ud800", when: weather == rain}',
            "walk.yaml:5: name holds the control character U+D800",
        ),
    ],
)
def test_texts_hold_no_control_characters(text: str, place: str) -> None:
    assert told(HEAD + text).startswith(place)
