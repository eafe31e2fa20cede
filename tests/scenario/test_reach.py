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
    assert found[0].endswith("and what it stands in ends with block 3; move it forward")
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
        "with block 11; move it forward"
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
            "after block 12 is block 12, and the last one is block 11; move it forward or make the duration "
            "longer",
        ),
        ("hold: 13", "hold is 13 blocks, and 12 are left for it; make it shorter"),
        ("after: block 4, by: block 6, hold: 3", "hold is 3 blocks, and 2 are left for it; make it shorter"),
        ("after: block 4, by: 1m, hold: 9", "hold is 9 blocks, and 8 are left for it; make it shorter"),
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
