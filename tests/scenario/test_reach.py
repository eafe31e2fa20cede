"""Warnings about what can never happen agree with what a script makes of the timeline."""

import pytest

from longlive_env.engine.config import PRESETS
from longlive_env.scenario import Reading, Scenario, Script, lint, parse_scenario
from longlive_env.scenario.reach import unreachable

TINY = PRESETS["tiny"]
HEAD = "name: walk\nduration: 12 blocks\nprompt: a red car moves right through the city on a clear day\n"


def scenario_of(rest: str, duration: str = "12 blocks") -> Scenario:
    return parse_scenario(HEAD.replace("12 blocks", duration) + rest, "walk.yaml")


def warnings(rest: str) -> list[str]:
    return list(unreachable(scenario_of(rest), TINY))


def loop(*entries: str, every: str = "3 blocks", at: str = "block 1", times: str = "always") -> str:
    listed = "".join(f"      - {entry}\n" for entry in entries)
    return f"timeline:\n  - at: {at}\n    repeat: {times}\n    every: {every}\n    timeline:\n{listed}"


@pytest.mark.parametrize("at", ["block 3", "block 4", "2.2s", "9s"])
def test_entries_at_the_end_of_a_pass_or_later(at: str) -> None:
    found = warnings(loop("{at: block 0, weather: in the rain}", f"{{at: {at}, weather: at night}}"))
    assert len(found) == 1 and found[0].startswith(f"walk.yaml:10: at {at} never comes: it is block ")
    assert found[0].endswith("and what it stands in ends with block 3; give it an earlier time")
    assert not warnings(loop("{at: block 0, weather: in the rain}", "{at: block 2, weather: at night}"))


CHOICE = """\
timeline:
  - at: block 8
    choose:
      - {weather: in the rain}
      - timeline:
          - {at: block 0, weather: in the fog}
          - {at: block 4, weather: at night}
"""


def test_entries_after_the_end() -> None:
    assert warnings(CHOICE) == [
        "walk.yaml:10: at block 4 never comes: it is block 12 at the earliest, and what it stands in ends "
        "with block 11; give it an earlier time"
    ]
    assert not warnings(CHOICE.replace("block 4", "block 3"))
    next_entry = CHOICE + "  - {at: block 10, weather: at sunset}\n"
    assert "ends with block 9" in warnings(next_entry.replace("block 4", "block 3"))[0]


def test_what_an_entry_that_never_comes_holds_is_not_told_again() -> None:
    inner = "{at: 9s, choose: [{weather: in the rain}, {timeline: [{at: 9s, weather: at night}]}]}"
    assert len(warnings(loop("{at: block 0, weather: in the fog}", inner))) == 1


def test_branches_are_given_the_time_that_they_may_have() -> None:
    branch = """\
timeline:
  - at: block 3
    when: weather == rain
    within: 5 blocks
    then: [{at: block 8, weather: at night}]
    else: [{at: block 4, weather: at night}]
"""
    assert [line.split(":")[1] for line in warnings(branch)] == ["9"]  # from block 8 on, only 4 are left
    assert not warnings(branch.replace("at: block 4", "at: block 3"))
    assert len(warnings(branch.replace("at: block 8", "at: block 9"))) == 2


@pytest.mark.parametrize("every", ["1s", "1.25s", "2s", "2 blocks", "5 blocks"])
@pytest.mark.parametrize("begin", ["block 0", "0.3s", "block 2"])
def test_they_say_what_a_script_does(every: str, begin: str) -> None:
    for tenths in range(1, 45):
        at = f"{tenths / 10}s"
        timeline = loop("{at: 0s, prompt: A}", f"{{at: {at}, prompt: B}}", every=every, at=begin)
        scenario = scenario_of(timeline, "40 blocks")
        script = Script(scenario.plan(TINY), lambda block: Reading())
        comes = "B" in [script.before(block).mix.prompt for block in range(40)]
        assert comes != bool(list(unreachable(scenario, TINY))), at


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ("after: 5s, by: 4s", "by 4s leaves no block after 5s; make it later"),
        ("after: 5s, by: 5s", "by 5s leaves no block after 5s; make it later"),
        (
            "after: block 12",
            "after block 12 is block 12, and the last one is block 11; give it an earlier time or make the "
            "duration longer",
        ),
        ("hold: 13", "hold is 13 blocks, and there is room for 12; make it shorter"),
        (
            "after: block 4, by: block 6, hold: 3",
            "hold is 3 blocks, and there is room for 2; make it shorter",
        ),
        ("after: block 4, by: 1m, hold: 9", "hold is 9 blocks, and there is room for 8; make it shorter"),
        ("after: block 4, by: block 6, hold: 2", ""),
        ("after: block 11", ""),
        ("by: 1m, hold: 12", ""),
    ],
)
def test_goals_that_are_left_no_time(goal: str, message: str) -> None:
    found = warnings(f"goals:\n  - {{name: wet, when: weather == rain, {goal}}}\n")
    assert found == ([f"walk.yaml:5: 'wet' can never be reached: {message}"] if message else [])


def test_lint_tells_unless_only_a_part_is_played() -> None:
    scenario = scenario_of(CHOICE)
    assert lint(scenario, TINY, cut=True) == [] and len(lint(scenario, TINY)) == 1


LEFT = "from block 8 on there is room for 4 blocks; make it shorter"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{at: block 8, weather: at night, blend: 4 blocks}", ""),
        (
            "{at: block 8, weather: at night, blend: 5 blocks}",
            f"a blend of 5 blocks does not arrive before the end; {LEFT}",
        ),
        ("{at: block 8, when: weather == rain, within: 3 blocks, then: A}", ""),
        (
            "{at: block 8, when: weather == rain, within: 4 blocks, then: A}",
            f"within 4 blocks goes on beyond the end; {LEFT}",
        ),
        (
            "{at: block 8, when: weather == rain, then: A, else: [{at: 0s, action: jumps, blend: 9s}]}",
            f"a blend of 9s does not arrive before the end; {LEFT}",
        ),
        ("{at: block 8, choose: [{action: jumps, blend: 4 blocks}, A]}", ""),
        (
            "{at: block 8, when: weather == rain and weather == snow, then: A}",
            "'weather == rain and weather == snow' is never true; did you mean 'or'?",
        ),
        ("{at: block 8, when: weather == rain and action != still, then: A}", ""),
        ("{at: block 8, when: weather != rain and weather != snow, then: A}", ""),
        ('{at: block 8, when: "weather == rain and weather in (rain, snow)", then: A}', ""),
    ],
)
def test_what_cannot_come_to_its_end_or_be_true(entry: str, message: str) -> None:
    found = warnings(f"timeline:\n  - {entry}\n")
    assert found == ([f"walk.yaml:5: {message}"] if message else [])
    until = warnings(f"timeline:\n  - {entry}\n  - {{at: block 9, weather: in the fog}}\n")
    assert not until or "never true" in until[0]  # another entry takes over, which may be meant so


@pytest.mark.parametrize(("times", "room"), [("2", 0), ("3", 0), ("4", 0), ("5", 4), ("always", 0)])
def test_repeats_that_there_is_no_time_for(times: str, room: int) -> None:
    found = warnings(loop("{at: 0s, weather: at night}", times=times))
    told = f"walk.yaml:5: repeat is {times}, and before block 12 there is time for {room}; make it less"
    assert found == ([told] if room else [])


def test_a_blend_that_only_the_last_pass_cuts_is_none_to_warn_of() -> None:
    assert not warnings(loop("{at: 0s, weather: at night, blend: 3 blocks}", every="4 blocks"))


def test_two_goals_of_one_name() -> None:
    goal = "  - {name: wet, when: weather == rain}\n"
    other = goal.replace("wet", "dry")
    assert warnings(f"goals:\n{goal}{other}{goal}") == [
        "walk.yaml:7: the goal in line 5 is called 'wet', too; choose another name"
    ]
    never = goal.replace("== rain", "== rain and not weather == rain")
    assert "is never true" in warnings(f"goals:\n{never}")[0]
