"""What `longlive scenarios show` tells: what `Plan` and `Script` know, in lines that fit."""

import re

import pytest

from longlive_env.engine.config import PRESETS
from longlive_env.scenario import Script, parse_scenario, shipped_scenarios
from longlive_env.scenario.outline import WIDTH, outline
from longlive_env.scenario.template import template

CAT = "a red cat walks right in the city"
HEAD = f"name: walk\nduration: 20 blocks\nseed: 5\nprompt: {CAT}\n"
ROW = re.compile(r" *(\d+\.\d) s +(\d+)  (.*)")


def lines_of(text: str) -> list[str]:
    scenario = parse_scenario(text, "walk.yaml")
    return list(outline(scenario, scenario.plan(PRESETS["tiny"])))


def rows_of(text: str) -> dict[int, list[str]]:
    """What each row of the timeline says, by block."""
    lines = lines_of(text)
    rows: dict[int, list[str]] = {}
    for line in lines[next(i for i, line in enumerate(lines) if "block  prompt" in line) + 1 :]:
        if not line:
            break
        if match := ROW.fullmatch(line):
            assert float(match[1]) == pytest.approx(max(0, int(match[2]) * 12 - 3) / 16, abs=0.05)
            rows[int(match[2])] = [match[3]]
        else:
            rows[max(rows)].append(line[18:])
    return rows


@pytest.mark.parametrize("name", shipped_scenarios())
def test_all_that_come_along_fit(name: str) -> None:
    scenario = shipped_scenarios()[name]
    plan = scenario.plan(PRESETS[scenario.world])
    lines = list(outline(scenario, plan))
    assert all(len(line) <= WIDTH and line == line.rstrip() for line in lines)
    text = " ".join(" ".join(lines).split())
    script = Script(plan)
    steps = [script.before(block) for block in range(plan.blocks)]
    decided = next((block for block, step in enumerate(steps) if step.open), plan.blocks)
    for block, prompt in plan.switches.items():
        assert block >= decided or prompt in text
    for step in steps:
        assert all(note in text for note in step.notes)
    for goal in scenario.goals:
        assert f"{goal.points:+d} {goal.name}: when {goal.when}" in text
    for key, change in scenario.keys.items():
        assert f"{key} {change}" in text
    for number, change in enumerate(scenario.quick, start=1):
        assert f"{number} {change}" in text


def test_parts_give_whole_prompts() -> None:
    rows = rows_of(
        f"{HEAD}timeline:\n  - {{at: block 2, weather: in thick fog, blend: 3s, note: Where to}}\n"
        "  - {at: block 9, subject: a dog, blend: 1 blocks}\n"
    )
    assert rows == {
        0: [CAT],
        2: [f"{CAT}, in thick fog (blends for 3s)", "  note: Where to"],
        9: ["a dog walks right in the city, in thick fog (blends for 1 block)"],
    }


def test_several_parts_are_told_with_their_keys() -> None:
    several = "action: stops, weather: in the rain"
    text = f"timeline:\n  - {{at: block 3, when: weather == fog, then: {{{several}}}}}\n"
    lines = lines_of(f"{HEAD}{text}  - {{at: block 9, {several}}}\nkeys:\n  x: {{{several}}}\n")
    assert f"{'':18}    +0 blocks  {several}" in lines
    assert f"    6.6 s      9  {several}; the rest depends on the picture" in lines
    assert lines[-1] == f"  x  {several}"


BRANCH = """\
timeline:
  - at: block 3
    when: weather == rain
    within: 2 blocks
    then: {weather: at night}
    else:
      - {at: 0s, action: jumps, note: hop}
      - at: 2s
        choose: [{weather: in the snow, weight: 2}, a blue car on the beach]
      - {at: block 6, repeat: 2, every: 3s, timeline: [{at: 0s, action: stops, blend: 2 blocks}]}
      - {at: 9s, when: action == still, then: {action: dances}}
  - {at: block 10, action: stops}
  - {at: block 12, choose: [{weather: in the rain}, {weather: at sunset}]}
  - {at: block 14, prompt: a dog walks on the beach}
  - {at: block 16, weather: at night}
"""


def test_what_follows_from_a_picture_is_said_to() -> None:
    rows = rows_of(HEAD + BRANCH)
    assert rows[3] == [
        "depends on the picture: weather == rain, within 2 blocks",
        "  then:",
        "    +0 blocks  weather: at night",
        "  else:",
        "    +0s  action: jumps",
        "      note: hop",
        "    +2s  one of these, drawn by the seed:",
        "      option 1 (weight 2):",
        "        +0 blocks  weather: in the snow",
        "      option 2:",
        "        +0 blocks  a blue car on the beach",
        "    +6 blocks  repeats 2 times, every 3s:",
        "      +0s  action: stops (blends for 2 blocks)",
        "    +9s  depends on the picture: action == still",
        "      then:",
        "        +0 blocks  action: dances",
    ]
    assert rows[10] == ["action: stops; the rest depends on the picture"]
    decision, change = rows[12]
    assert re.fullmatch(
        r"choice at block 12: [12] of 2, unless a choice within a branch draws before", decision
    )
    assert change.endswith("; the rest depends on the picture")
    assert rows[14] == ["a dog walks on the beach"]  # whatever was before it
    assert rows[16] == ["a dog walks on the beach, at night"]


def test_a_choice_of_its_own_seed_is_known_behind_a_branch() -> None:
    own = BRANCH.replace("at: 2s\n", "at: 2s\n        seed: 3\n")
    assert "    +2s  one of these, drawn by its own seed:" in rows_of(HEAD + own)[3]
    assert re.fullmatch(r"choice at block 12: [12] of 2", rows_of(HEAD + own)[12][0])


def test_goals_have_their_terms() -> None:
    goals = """\
goals:
  - {name: Wet, when: weather == rain, points: 5, hold: 2, after: 5s, by: block 18}
  - {name: Wrong way, when: action == left, points: -3}
"""
    assert lines_of(HEAD + goals)[-3:] == [
        "goals, for 5 points",
        "   +5  Wet: when weather == rain, for 2 blocks, after 5s, by block 18",
        "   -3  Wrong way: when action == left",
    ]


def test_long_texts_are_wrapped_below_where_they_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longlive_env.scenario.outline.WIDTH", 48)
    lines = lines_of(template("mine"))
    assert all(len(line) <= 48 for line in lines)
    prompt = lines.index("    0.0 s      0  a red robot walks right")
    assert lines[prompt + 1 : prompt + 3] == [f"{'':20}through the city on a sunny", f"{'':20}day"]


def test_settings_are_told() -> None:
    text = f"{HEAD}description: A walk.\npack: own\nlive: true\nrecache: none\nnotes: Mind the gap.\n"
    assert lines_of(text)[:4] == [
        "walk: A walk.",
        "world tiny; seed 5; 20 blocks, 14.8 s; pack own; live, so it goes on while somebody steers; recache",
        "none",
        "Mind the gap.",
    ]
    assert lines_of(HEAD)[0] == "walk" and lines_of(HEAD)[-1].endswith(CAT)
