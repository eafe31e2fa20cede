"""Timelines: blends, choices, branches and loops, in the blocks where they take effect."""

import pytest

from longlive_env.engine.config import PRESETS
from longlive_env.errors import PromptError, ScenarioError
from longlive_env.scenario import Mix, Plan, Reading, Script, Step, parse_scenario

TINY = PRESETS["tiny"]
START = "a red car moves right through the city on a clear day"
HEAD = f"name: walk\nduration: 20 blocks\nseed: 5\nprompt: {START}\ntimeline:\n"


def plan_of(timeline: str, seed: int = 5) -> Plan:
    text = HEAD.replace("seed: 5", f"seed: {seed}") + timeline
    return parse_scenario(text, "walk.yaml").plan(TINY)


def prompts(plan: Plan, weather: dict[int, str] | None = None) -> list[str]:
    """The prompt of each block; `weather` is what blocks show, and "clear" for others."""
    seen = weather or {}
    script = Script(plan, lambda block: {"weather": seen.get(block, "clear")})
    return [script.before(block).mix.prompt for block in range(plan.blocks)]


def runs(texts: list[str]) -> list[tuple[int, str]]:
    """Where each new prompt begins."""
    return [(i, text) for i, text in enumerate(texts) if i == 0 or texts[i - 1] != text]


def test_a_change_keeps_the_rest_of_the_prompt() -> None:
    plan = plan_of("  - {at: block 2, weather: in the rain}\n  - {at: block 5, action: stops}\n")
    assert dict(plan.switches) == {
        2: "a red car moves right through the city in the rain",
        5: "a red car stops through the city in the rain",
    }


SEVERAL = """\
  - {at: block 2, weather: in the rain, setting: on the beach, note: wet}
  - at: block 4
    choose: [{action: stops, colour: blue, weight: 2}, {colour: blue, action: stops}]
  - at: block 6
    when: weather == rain
    then: {setting: in the desert, action: jumps}
    else: {colour: green, subject: a white cat, blend: 2 blocks}
"""


def test_one_entry_changes_several_parts() -> None:
    wet, blue = (
        "a red car moves right on the beach in the rain",
        "a blue car stops on the beach in the rain",
    )
    plan = plan_of(SEVERAL)
    assert runs(prompts(plan, {5: "rain"}))[1:] == [
        (2, wet),
        (4, blue),
        (6, "a blue car jumps in the desert in the rain"),
    ]
    script = Script(plan, lambda block: {"weather": "clear"})
    steps = [script.before(block) for block in range(8)]
    assert steps[2].remarks == ("wet",)
    green = "a green cat stops on the beach in the rain"  # the colour goes on the new subject
    assert steps[6].mix == Mix(((blue, 0.5), (green, 0.5))) and steps[7].mix == Mix.of(green)


def test_what_a_prompt_lacks_is_added_in_the_order_of_the_file() -> None:
    head = HEAD.replace(START, "a red car stops")
    for words in ("weather: at night, setting: by the sea", "setting: by the sea, weather: at night"):
        text = f"{head}  - {{at: block 1, {words}}}\n"
        added = [one.split(": ")[1] for one in words.split(", ")]
        (prompt,) = parse_scenario(text, "walk.yaml").plan(TINY).switches.values()
        assert prompt == ", ".join(("a red car stops", *added))


def test_several_parts_that_find_no_room_are_left_out_together() -> None:
    def check(text: str) -> str:
        if "beach" in text:
            raise PromptError("too long")
        return text

    script = Script(plan_of(SEVERAL), lambda block: {"weather": "rain"}, check)
    steps = [script.before(block) for block in range(3)]
    assert steps[2].mix == Mix.of(START)
    assert steps[2].remarks == ("left out: weather: in the rain, setting: on the beach (too long)",)


def test_a_blend_moves_in_equal_steps_and_arrives() -> None:
    script = Script(plan_of("  - {at: block 2, prompt: B, blend: 4 blocks}\n"))
    mixes = [script.before(block).mix for block in range(8)]
    assert mixes[:2] == [Mix.of(START)] * 2
    assert [dict(mix.weights) for mix in mixes[2:5]] == [
        {START: 0.75, "B": 0.25},
        {START: 0.5, "B": 0.5},
        {START: 0.25, "B": 0.75},
    ]
    assert mixes[5:] == [Mix.of("B")] * 3
    assert all(mix.prompt == "B" for mix in mixes[2:])


def test_a_blend_of_seconds_is_as_long_as_they_are() -> None:
    script = Script(plan_of("  - {at: block 2, prompt: B, blend: 2s}\n"))  # 32 frames are 3 blocks
    assert [script.before(block).mix.is_pure for block in range(6)] == [True, True, False, False, True, True]


def test_a_change_during_a_blend_starts_from_the_mix() -> None:
    timeline = (
        "  - {at: block 2, prompt: B, blend: 4 blocks}\n  - {at: block 4, prompt: C, blend: 2 blocks}\n"
    )
    script = Script(plan_of(timeline))
    mixes = [script.before(block).mix for block in range(7)]
    assert dict(mixes[4].weights) == {START: 0.25, "B": 0.25, "C": 0.5}
    assert mixes[5:] == [Mix.of("C")] * 2
    script = Script(plan_of(timeline))
    script.before(2)
    script.interject(Mix.of("D"))  # somebody steers
    assert script.before(3).mix == Mix.of("D")
    assert dict(script.before(4).mix.weights) == {"D": 0.5, "C": 0.5}


def test_a_mix_that_goes_back() -> None:
    half = Mix.of("A").towards("B", 0.5)
    assert dict(half.towards("A", 0.5).weights) == {"B": 0.25, "A": 0.75}
    assert half.towards("A", 0.5).prompt == "A"
    assert Mix.of("A").towards("A", 0.25) == Mix.of("A")


def test_a_loop_repeats_until_the_next_entry() -> None:
    loop = """\
  - at: block 2
    repeat: always
    every: 4 blocks
    timeline:
      - {at: block 0, prompt: A}
      - {at: block 2, prompt: B}
"""
    assert runs(prompts(plan_of(loop)))[1:] == [
        (block, "AB"[block // 2 % 2 == 0]) for block in range(2, 20, 2)
    ]
    ended = runs(prompts(plan_of(loop + "  - {at: block 7, prompt: C}\n")))
    assert ended[1:] == [(2, "A"), (4, "B"), (6, "A"), (7, "C")]
    twice = runs(prompts(plan_of(loop.replace("always", "2"))))
    assert twice[1:] == [(2, "A"), (4, "B"), (6, "A"), (8, "B")]


def test_loops_in_seconds_do_not_drift() -> None:
    loop = "  - {at: 1s, repeat: always, every: 2s, timeline: [{at: 0s, prompt: A}, {at: 0.5s, prompt: B}]}\n"
    starts = [block for block, text in runs(prompts(plan_of(loop))) if text == "A"]
    assert starts == [2, 5, 8, 10, 13, 16, 18]  # 32 frames are two blocks and two thirds


CHOICE = """\
  - at: block 2
    choose:
      - A
      - {prompt: B, weight: 0}
      - {weight: 1, timeline: [{at: block 0, prompt: C}, {at: block 2, prompt: D}]}
"""


def test_a_choice_follows_the_seed() -> None:
    seen = {seed: tuple(runs(prompts(plan_of(CHOICE, seed)))[1:]) for seed in range(20)}
    assert set(seen.values()) == {((2, "A"),), ((2, "C"), (4, "D"))}
    assert all(tuple(plan_of(CHOICE, seed).switches.items()) == runs for seed, runs in seen.items())
    fixed = [runs(prompts(plan_of(CHOICE + "    seed: 3\n", seed))) for seed in range(10)]
    assert all(one == fixed[0] for one in fixed)


def test_a_choice_with_its_own_seed_draws_anew_in_each_pass() -> None:
    loop = """\
  - at: block 2
    repeat: always
    every: 2 blocks
    timeline: [{at: block 0, choose: [A, B], seed: 3}]
"""
    drawn = [prompts(plan_of(loop, seed))[2::2] for seed in (5, 6)]
    assert set(drawn[0]) == {"A", "B"} and drawn[1] == drawn[0]


def test_a_choice_may_open_the_scenario() -> None:
    plan = plan_of(CHOICE.replace("block 2\n", "block 0\n", 1))
    assert prompts(plan)[0] in ("A", "C")


def test_what_was_chosen_is_noted() -> None:
    script = Script(plan_of(CHOICE))
    notes = [script.before(block).notes for block in range(5)]
    assert notes[2][0] in ("choice at block 2: 1 of 3", "choice at block 2: 3 of 3")
    assert not any(notes[:2] + notes[3:])


def test_the_authors_notes_are_told_and_decisions_are_not() -> None:
    script = Script(plan_of(CHOICE + "  - {at: block 3, prompt: B, note: 'when it rains: yes'}\n"))
    steps = [script.before(block) for block in range(4)]
    assert steps[2].notes and not steps[2].remarks
    assert steps[3].notes == steps[3].remarks == ("when it rains: yes",)


BRANCH = """\
  - at: block 3
    when: weather == rain
    then: {action: stops}
    else:
      - {at: block 0, prompt: B}
      - {at: block 2, prompt: C}
"""


def test_a_branch_looks_at_the_block_before() -> None:
    asked: list[int] = []

    def see(block: int) -> Reading:
        asked.append(block)
        return {"weather": "rain"}

    script = Script(plan_of(BRANCH), see)
    steps = []
    for block in range(5):
        steps.append(script.before(block))
        assert asked == ([2] if block >= 3 else [])
    assert steps[3].mix.prompt == "a red car stops through the city on a clear day"
    assert steps[3].notes == ("when weather == rain: yes",)
    assert runs(prompts(plan_of(BRANCH)))[1:] == [(3, "B"), (5, "C")]


def test_a_branch_is_open_where_nothing_can_look() -> None:
    plan = plan_of(BRANCH + "  - {at: block 9, prompt: D}\n")
    steps = [script.before(block) for script in [Script(plan)] for block in range(plan.blocks)]
    (branch, last) = plan.timeline
    assert [(block, step.open) for block, step in enumerate(steps) if step.open] == [(3, (branch,))]
    assert [(block, step.cues) for block, step in enumerate(steps) if step.cues] == [(9, (last,))]
    looking = Script(plan, lambda block: {"weather": "clear"})
    assert not any(looking.before(block).open for block in range(plan.blocks))


def test_a_branch_may_wait() -> None:
    waiting = plan_of(BRANCH + "    within: 4 blocks\n")
    assert runs(prompts(waiting, {5: "rain"}))[1:] == [(6, "a red car stops through the city on a clear day")]
    assert runs(prompts(waiting, {7: "rain"}))[1:] == [(7, "B"), (9, "C")]
    assert runs(prompts(waiting, {6: "rain"}))[1][0] == 7


def test_a_later_entry_ends_what_a_branch_had_planned() -> None:
    plan = plan_of(BRANCH + "  - {at: block 4, prompt: D}\n")
    assert runs(prompts(plan))[1:] == [(3, "B"), (4, "D")]


def test_branches_are_left_out_of_what_is_known_in_advance() -> None:
    plan = plan_of(BRANCH + "  - {at: block 9, prompt: D}\n")
    assert dict(plan.switches) == {9: "D"}
    assert plan.looks and not plan_of(CHOICE).looks


@pytest.mark.parametrize(
    "timeline",
    [
        "  - {at: block 3, weather: at night}\n",
        "  - {at: block 2, weather: at night, blend: 4 blocks}\n  - {at: block 4, action: stops}\n",
        "  - at: block 1\n    repeat: always\n    every: 5 blocks\n"
        "    timeline: [{at: 0s, weather: at night}, {at: block 1, weather: in the rain, blend: 2 blocks}]\n",
        "  - {at: block 2, choose: [{action: jumps}, {action: stops}]}\n",
        "  - {at: block 2, when: weather == rain, then: {action: stops}}\n"
        "  - {at: block 9, weather: at night}\n",
    ],
)
def test_blocks_between_events_may_be_skipped(timeline: str) -> None:
    plan = plan_of(timeline)
    whole, leaping = Script(plan), Script(plan)
    steps = [whole.before(block) for block in range(plan.blocks)]
    block: int | None = 0
    visited = []
    while block is not None and block < plan.blocks:
        visited.append(block)
        assert leaping.before(block) == steps[block]
        block = leaping.next_after(block)
    skipped = set(range(1, plan.blocks)) - set(visited)
    assert skipped
    assert all(steps[block] == Step(steps[block - 1].mix) for block in skipped)


def test_a_plan_looks_at_no_block_without_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    visited = []
    before = Script.before

    def counted(script: Script, block: int) -> Step:
        visited.append(block)
        return before(script, block)

    monkeypatch.setattr(Script, "before", counted)
    text = HEAD.replace("20 blocks", "86400 blocks") + "  - {at: block 80000, weather: at night}\n"
    assert list(parse_scenario(text, "walk.yaml").plan(TINY).switches) == [80000]
    assert visited == [0, 80000]


def test_a_prompt_that_comes_again_is_checked_once() -> None:
    plan = plan_of(
        "  - at: block 1\n    repeat: always\n    every: 2 blocks\n"
        "    timeline: [{at: 0s, weather: at night}, {at: block 1, weather: in the rain}]\n"
    )
    checked: list[str] = []

    def check(text: str) -> str:
        checked.append(text)
        return text

    plan.check(check)
    assert len(checked) == len(set(checked)) and checked[-1].endswith("in the rain")


def test_a_script_can_be_followed_again() -> None:
    timeline = BRANCH + "    within: 4 blocks\n" + CHOICE.replace("block 2\n", "block 11\n", 1)
    assert prompts(plan_of(timeline), {6: "rain"}) == prompts(plan_of(timeline), {6: "rain"})


@pytest.mark.parametrize(
    ("timeline", "message"),
    [
        (
            "  - &a {at: 1s, when: weather == rain, then: [*a]}",
            "walk.yaml:6: an alias within this stands for all of it",
        ),
        (
            "  - {at: 1s, weather: b, prompt: a}",
            "walk.yaml:6: .* has both 'prompt' and 'weather'; give the whole prompt, or parts of it",
        ),
        (
            "  - {at: 1s, choose: [a, b], weather: b}",
            "has both 'weather' and 'choose'; make two entries of it, the second a block later",
        ),
        ("  - {at: 1s, when: a, repeat: b}", "has both 'when' and 'repeat'; make two entries"),
        (
            "  - {at: 1s, wether: b}",
            r"\(valid: at, prompt, subject, colour, action, setting, weather, blend, note, "
            r"choose, when, repeat\)$",
        ),
        (
            "  - {at: 1s, when: weather == rain, then: {at: 2s, action: stops}}",
            "walk.yaml:6: then has the key 'at', as entries of a timeline have; "
            "a timeline is a list, so write - {at: ..., ...}",
        ),
        (
            "  - {at: 1s, when: weather == rain, then: a, else: {choose: [a, b]}}",
            "walk.yaml:6: else has the key 'choose', as entries of a timeline have",
        ),
        (
            "  - {at: 1s, choose: [a, {at: 2s, action: stops}]}",
            r"walk.yaml:6: choose\[1\] has the key 'at', .* so write timeline: and below it - {at: ..., ...}",
        ),
        (
            "  - {at: 1s, weather: at night}\n  - {at: 1s, action: stops, setting: by the sea}",
            "walk.yaml:7: .* move it to block 3 or later, or make one entry of both$",
        ),
        (
            "  - {at: 1s, weather: at night}\n  - {at: 1s, action: stops, weather: in the rain}",
            "walk.yaml:7: .* move it to block 3 or later$",
        ),
        ("  - {at: 1s, prompt: a}\n  - {at: 1s, action: stops}", "move it to block 3 or later$"),
        ("  - {at: 1s}", r"walk.yaml:6: timeline\[0\] lacks the key 'prompt', or one of subject, colour"),
        ("  - {at: 1s, chose: [a, b]}", "walk.yaml:6: unknown key 'chose'.*did you mean 'choose'"),
        ("  - {at: 1s, choose: [a]}", "walk.yaml:6: choose has 1 entries"),
        ("  - {at: 1s, choose: [a, {prompt: b, weight: x}]}", "weight is 'x'; expected a number"),
        (
            "  - {at: 1s, choose: [{prompt: a, weight: 0}, {prompt: b, weight: 0}]}",
            "weights of choose are all 0",
        ),
        (
            "  - {at: 1s, when: wether == rain, then: a}",
            "walk.yaml:6: when: 'wether' is not a valid attribute; did you",
        ),
        ("  - {at: 1s, when: weather == rain}", "lacks the key 'then'"),
        ("  - {at: 1s, when: weather == rain, then: a, els: b}", "unknown key 'els'.*did you mean 'else'"),
        (
            "  - {at: 0s, when: weather == rain, then: a}",
            "walk.yaml:6: at 0s is block 0, and the starting prompt",
        ),
        ("  - {at: 1s, repeat: 0, every: 1s, timeline: []}", "repeat is 0; expected 1 or more, or always"),
        (
            "  - {at: 1s, repeat: ever, every: 1s, timeline: []}",
            "expected a whole number such as 7, or always",
        ),
        ("  - {at: 1s, repeat: 2, every: 0s, timeline: []}", "every is '0s'; expected a length of time"),
        (
            "  - {at: 1s, repeat: 2, every: 0.1s, timeline: []}",
            "walk.yaml:6: every 0.1s is shorter than a block",
        ),
        ("  - {at: 1s, prompt: a, blend: 0s}", "blend is '0s'; expected a length of time"),
        (
            "  - {at: 1s, repeat: 2, every: 9s, timeline: [{at: 1s, prompt: a}, {at: 1s, prompt: b}]}",
            "walk.yaml:6: at 1s is block 2, and the prompt at 1s is already in block 2",
        ),
    ],
)
def test_wrong_timelines(timeline: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        plan_of(timeline + "\n")
