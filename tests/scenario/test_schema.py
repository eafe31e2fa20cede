"""What is said of common mistakes in the YAML of a scenario."""

import re

import pytest

from longlive_env.engine.config import PRESETS
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


@pytest.mark.parametrize(("text", "points"), [("3", 3), ("-3", -3), ("+3", 3), ("-٣", -3)])
def test_points_may_have_a_sign(text: str, points: int) -> None:
    goals = f"goals: [{{name: a, when: weather == fog, points: {text}}}]\n"
    assert parse_scenario(HEAD + goals, "walk.yaml").goals[0].points == points


@pytest.mark.parametrize("text", ["-+3", "+-3", "--3", "-", "3.0", "²"])
def test_points_have_one_sign_at_most(text: str) -> None:
    message = f"walk.yaml:4: points is {text!r}; expected a whole number such as 7 or -7"
    assert told(f"{HEAD}goals: [{{name: a, when: weather == fog, points: '{text}'}}]\n") == message


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


def test_aliases_that_stand_for_too_much_are_refused() -> None:
    """Each of twenty choices stands twice for the one before it."""
    lines = ["timeline:", "  - {at: 1s, choose: [&c0 {action: jumps}, a]}"]
    for number in range(1, 21):
        double = f"{{timeline: [{{at: 0s, choose: [*c{number - 1}, *c{number - 1}]}}]}}"
        lines.append(f"  - {{at: {1 + 2 * number}s, choose: [&c{number} {double}, a]}}")
    text = "name: a\nduration: 60s\nprompt: a red cat\n" + "\n".join(lines)
    with pytest.raises(ScenarioError, match=r"a.yaml:\d+: this holds more than 100,000 values"):
        parse_scenario(text, "a.yaml")
    parse_scenario(text[: text.index("  - {at: 9s")], "a.yaml")


def test_lists_within_lists_without_end_are_refused() -> None:
    text = f"name: a\nduration: 9s\nprompt: a red cat\nnotes: {'[' * 3000}{']' * 3000}\n"
    with pytest.raises(ScenarioError, match=r"a.yaml: it is nested too deeply"):
        parse_scenario(text, "a.yaml")


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


TIMELINE = f"{HEAD}timeline:\n"
AT = "  - {at: 5s, weather: at night}\n"
SECOND = "  - {at: 9s, action: jumps}\n"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (HEAD.replace("duration: ", "duration:"), 2, "no space behind the colon; write duration: 20s"),
        (HEAD.replace("name: ", "name:"), 1, "no space behind the colon; write name: walk"),
        ("notes: |\n  note:this\nprompt: a: b\n", 3, "a second colon follows a key"),
        (HEAD.replace("prompt: a", "prompt:a"), 3, "no space behind the colon; write prompt: a red cat"),
        (f"{TIMELINE}  - at:5s\n    weather: at night\n", 5, "write at: 5s"),
        (f"{TIMELINE}  - at: 5s\n    weather:at night\n", 6, "write weather: at night"),
        (HEAD.replace("duration: ", "duration "), 2, "'duration 20s' has no colon behind its key"),
        (HEAD.replace("name: ", "name "), 1, "'name walk' has no colon behind its key"),
        (f" {HEAD}", 1, "'name' is indented by 1 space, unlike the keys below it; indent them alike"),
        (HEAD.replace("duration", " duration"), 2, "by 1 space, .*; write 0, like 'name' in line 1"),
        (
            f"{TIMELINE}  - at: 5s\n     weather: at night\n",
            6,
            "by 5 spaces, .*; write 4, like 'at' in line 5",
        ),
        (f"{TIMELINE}  - at: 5s\n   weather: at night\n", 6, "by 3 spaces, .*; write 4, like 'at' in line 5"),
        (f"{TIMELINE}{AT} {SECOND}", 6, "'-' is indented by 3 spaces, .*; write 2, like the '-' in line 5"),
        (f"{TIMELINE}{AT}{SECOND[1:]}", 6, "'-' is indented by 1 space, .*; write 2, like the '-' in line 5"),
        (f"{TIMELINE}{AT} seed: 3\n", 6, "'seed' is indented by 1 space, .*; write 0, like 'timeline'"),
        (f"{HEAD}notes: 'it's raining'\n", 4, r'put the text in double quotes \("\.\.\."\)'),
        (
            f"{TIMELINE}  - {{at: 5s, action: jumps, note: 'it's late'}}\n{SECOND}",
            5,
            "put the text in double",
        ),
        (f'{HEAD}notes: "say "hi" now"\n', 4, "'hi\" now\"' follows a closing quote"),
        (f'{HEAD}notes: "C:\\pics"\n', 4, r"write \\\\, or / in a path"),
        (f"{HEAD}notes: [wide] a cat\n", 4, "'a cat' follows a closing ]; put a text that holds brackets"),
        (HEAD.replace("a red", '"a red') + "notes: x\n", 3, 'the quote " that opens here is never closed'),
        (HEAD.replace("a red", "'a red") + "notes: 'x'\n", 3, "opens here ends only in line 4; close it"),
        (f'{TIMELINE}  - {{at: 5s, prompt: "a cat}}\n{SECOND}', 5, 'the quote " that opens here is never'),
        (f"{TIMELINE}{AT.replace('}', '')}{SECOND}", 5, "the { that opens here is never closed; add }"),
        (f"{TIMELINE}{AT.replace('}', '')}", 5, "the { that opens here is never closed; add }"),
        (f"{TIMELINE}{AT.replace('}', '')}keys:\n  d: a\n", 5, "the { that opens here is never closed"),
        (f"{HEAD}quick: [a, b\nseed: 3\n", 4, r"the \[ that opens here is never closed; add \]"),
        (
            f"{TIMELINE}  - {{at: 5s,\n     action: jumps\n     blend: 2s}}\n",
            7,
            "a comma is missing before 'blend'",
        ),
        (f"{TIMELINE}{AT.replace('}', '}}')}", 5, "a } closes what was not opened"),
        (f"{TIMELINE}{AT.replace('}', '},')}{SECOND}", 5, "a comma follows the end of the entry; delete it"),
        (HEAD.replace("a red", "*a red"), 3, r"begins with \* has to stand in quotes; .* for 'a', which"),
        *(
            (
                HEAD.replace("a red", f"{begin} red"),
                3,
                f"a text that begins with \\{begin[0]} has to stand in",
            )
            for begin in ("@a", "%a", "`a", "& a", "* a", "!x!a", "| a", "> a", ", a", "? a", "- a")
        ),
        (f"{TIMELINE}  -{AT[4:]}", 5, "no space behind the dash; write - {at: 5s, weather: at night}"),
        (f"{TIMELINE}{AT}  -{SECOND[4:]}", 6, "no space behind the dash; write - {at: 9s, action: jumps}"),
        (f"{TIMELINE}  -at: 5s\n   weather: at night\n", 5, "no space behind the dash; write - at: 5s"),
        (f"{HEAD}notes: |\n   a\n  b c\n", 6, "'b c' is indented less than the text in line 5 and below"),
        (f"{HEAD}notes: a \u2028  cat\n  seed: 3\n", 6, "'seed' is indented by 2 spaces"),
        (f"{HEAD}---\n{HEAD}", 4, "a second document begins with ---; keep one in a file"),
        (f"{HEAD}...\n{HEAD}", 4, "the document ends with ..., and more follows; delete that line"),
        (f"{HEAD}notes: a\x07b\n", 4, r"holds the control character U\+0007; delete it"),
    ],
)
def test_slips_in_yaml_are_told_in_plain_words(text: str, line: int, message: str) -> None:
    found = told(text)
    assert re.match(f"walk.yaml:{line}: not valid YAML: .*{message}", found), found
    assert "\n" not in found and "<block" not in found


@pytest.mark.parametrize("text", ["!a red cat", "! a red cat", "!!a red cat"])
def test_no_word_gets_lost_as_a_tag(text: str) -> None:
    message = (
        f"walk.yaml:3: {text.split()[0]!r} is read as a tag; a text that begins with ! has to stand in quotes"
    )
    assert told(HEAD.replace("a red cat", text)) == message
    assert parse_scenario(HEAD.replace("20s", '!!str "20s"'), "walk.yaml").duration == Moment(20, "seconds")
    assert parse_scenario(f'{HEAD}notes: "!a"\n', "walk.yaml").notes == "!a"


def test_a_condition_has_no_exclamation_mark() -> None:
    entry = "  - {at: 5s, when: !weather == rain, then: {weather: at night}}\n"
    message = "walk.yaml:5: '!weather' is read as a tag; in a condition, write not instead of !"
    assert told(TIMELINE + entry) == message


def test_within_braces_the_slip_is_told_from_a_comma() -> None:
    remedy = "; a space is missing behind the colon; write at: 5s"
    assert told(f"{TIMELINE}  - {{at:5s, weather: at night}}\n").endswith(remedy)
    curly = told(f"{TIMELINE}  - {{at: 5s, prompt: “a robot jumps, at night”}}\n")
    assert curly.endswith('; put the text before it in straight quotes, such as "..., at night"')


def test_merging_is_not_supported() -> None:
    entries = "  - &rain {at: 5s, weather: in the rain}\n  - {<<: *rain, at: 9s}\n"
    message = "walk.yaml:6: merging with << is not supported; write the keys out"
    assert told(TIMELINE + entries) == message
    assert told(f"{HEAD}keys:\n  <<: {{d: a}}\n").startswith("walk.yaml:5: merging with << is not")


def test_capital_letters_are_no_obstacle_to_a_remedy() -> None:
    assert "unknown key 'At' in timeline[0]; did you mean 'at'?" in told(TIMELINE + AT.replace("at:", "At:"))


def test_an_interval_that_is_too_short_is_told_with_its_line() -> None:
    loop = "  - at: 5s\n    repeat: always\n    every: 0.1s\n    timeline: [{at: 0s, action: jumps}]\n"
    with pytest.raises(ScenarioError, match=r"^walk.yaml:7: every 0.1s is shorter than a block"):
        parse_scenario(TIMELINE + loop, "walk.yaml").plan(PRESETS["tiny"])
