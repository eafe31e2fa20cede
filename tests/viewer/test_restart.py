"""A scenario that is begun anew plays as it does from the start; a take of no scenario earns nothing."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from viewer_player import Player
from viewer_stage import CAT, DOG, OWL
from worker_steps import Start, settle, watch

from longlive_env import World
from longlive_env.errors import PromptError
from longlive_env.recording import digest, read_log
from longlive_env.scenario import Plan, parse_scenario, play, replay_plan
from longlive_env.viewer.session import Session
from longlive_env.viewer.take import Take, scenario_text
from longlive_env.viewer.view import View

Make = Callable[..., Session]

CHOICES = f"""
name: choices
seed: 5
duration: 6 blocks
prompt: {CAT}
timeline:
  - at: block 1
    choose: [{{prompt: {DOG}}}, {{prompt: {OWL}}}]
  - at: block 3
    choose: [{{weather: in the rain}}, {{weather: in the snow}}]
"""
GOALS = f"""
name: goals
seed: 5
duration: 9 blocks
prompt: {CAT}
goals:
  - {{name: Rain, when: weather == rain, points: 2}}
  - {{name: Wrong way, when: weather == rain, points: -5, hold: 2}}
"""


def plan_of(text: str, world: World) -> Plan:
    return parse_scenario(text, "one.yaml").plan(world.config)


@pytest.fixture
def choices(small_world: World) -> Plan:
    """A plan whose prompts follow from its seed."""
    return plan_of(CHOICES, small_world)


@pytest.fixture
def other_seed(choices: Plan) -> int:
    """A seed that chooses otherwise."""
    return next(
        seed for seed in range(6, 99) if dataclasses.replace(choices, seed=seed).switches != choices.switches
    )


@pytest.fixture
def goals(small_world: World, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A plan with goals, in a world where it always rains."""
    monkeypatch.setattr(
        "longlive_env.viewer.story.sight_of", lambda config: lambda frames: {"weather": "rain"}
    )
    return plan_of(GOALS, small_world)


def advance(session: Session, blocks: int) -> list[str]:
    return [session.advance().beat.digest for _ in range(blocks)]


def digests(world: World, plan: Plan, blocks: int) -> list[str]:
    """What a run of the plan shows."""
    return [digest(block.frames) for block in play(world, plan)][:blocks]


def view_of(worker: Any) -> View:
    settle(worker)
    view = worker.exchange.view()
    assert isinstance(view, View)
    return view


def points(worker: Any) -> int | None:
    score = view_of(worker).score
    return None if score is None else score.points


def test_a_scenario_that_is_begun_anew_plays_as_from_the_start(
    make_session: Make, small_world: World, story: Plan
) -> None:
    session = make_session(story)
    advance(session, 1)
    session.ask(OWL)
    advance(session, 2)
    session.ask(DOG)  # which no block answers any more
    session.restart()
    assert session.position == 0 and session.cues == {2: DOG} and session.ends == 6
    assert session.wanted == CAT and session.seed == 5
    assert advance(session, 6) == digests(small_world, story, 6)
    session.reset(77)
    advance(session, 1)
    session.restart()  # with the seed of the take
    assert advance(session, 4) == digests(small_world, dataclasses.replace(story, seed=77), 4)


def test_another_seed_chooses_anew(
    make_session: Make, small_world: World, choices: Plan, other_seed: int
) -> None:
    session = make_session(choices)
    first = advance(session, 5)
    notes = [beat.notes for beat in session.history.beats]
    session.restart(other_seed)
    other = dataclasses.replace(choices, seed=other_seed)
    assert session.seed == other_seed and session.cues == other.switches
    assert advance(session, 5) == digests(small_world, other, 5) != first
    assert [beat.notes for beat in session.history.beats] != notes
    session.rewind(2)  # to where the choices of this seed count
    assert advance(session, 3) == digests(small_world, other, 5)[2:]
    session.restart()
    assert advance(session, 5) == digests(small_world, other, 5)


def test_undo_leads_back_to_the_take_that_was_left(
    begin: Start, small_world: World, choices: Plan, other_seed: int
) -> None:
    other = dataclasses.replace(choices, seed=other_seed)
    worker = begin(choices)
    before = watch(worker, 3)
    worker.commands.restart(other_seed)
    after = watch(worker, 2)
    worker.commands.undo()
    view = view_of(worker)
    assert view.seed == 5 and view.shown == 3 and dict(view.cues).items() <= dict(choices.switches).items()
    assert before + watch(worker, 3) == [block.prompt for block in play(small_world, choices)]
    worker.commands.undo()  # which goes forward again
    assert view_of(worker).seed == other_seed and view_of(worker).shown == 2
    assert after + watch(worker, 4) == [block.prompt for block in play(small_world, other)]
    assert worker._session is not None
    played = [beat.digest for beat in worker._session.history.beats]
    assert played[:6] == digests(small_world, other, 6)


def test_undo_keeps_apart_two_takes_of_the_same_seed(begin: Start, story: Plan) -> None:
    worker = begin(story)
    watch(worker, 3)
    worker.commands.restart()
    watch(worker, 1)
    worker.commands.ask(OWL)
    watch(worker, 1)
    worker.commands.restart()
    watch(worker, 1)
    worker.commands.undo()
    assert view_of(worker).shown == 2 and [span.prompt for span in view_of(worker).spans][:2] == [CAT, OWL]


def test_goals_are_counted_anew(make_session: Make, goals: Plan) -> None:
    session = make_session(goals)
    assert [goal.name for goal in session.advance().beat.reached] == ["Rain"]
    assert [goal.name for goal in session.advance().beat.reached] == ["Wrong way"]
    score = session.score
    assert score is not None and (score.points, score.possible) == (-3, 2)
    assert [block for _, block in score.goals] == [0, 1]
    session.restart()
    score = session.score
    assert score is not None and score.points == 0 and [block for _, block in score.goals] == [None] * 2
    assert [goal.name for goal in session.advance().beat.reached] == ["Rain"]
    score = session.score
    assert score is not None and [block for _, block in score.goals] == [0, None]


def test_nothing_is_won_after_a_start_that_follows_no_scenario(begin: Start, goals: Plan) -> None:
    worker = begin(goals)
    watch(worker, 3)
    worker.commands.keep_bookmark()
    assert view_of(worker).ends == 9 and points(worker) == -3
    worker.commands.reset()
    watch(worker, 2)
    assert worker._session is not None
    assert view_of(worker).ends is None and points(worker) is None
    assert all(beat.reading is None and not beat.notes for beat in worker._session.history.beats)
    worker.commands.undo()
    assert view_of(worker).ends == 9 and points(worker) == -3
    worker.commands.undo()  # which goes forward again
    worker.commands.rewind(0)
    watch(worker, 1)
    assert view_of(worker).ends is None and points(worker) is None
    worker.commands.return_to(1)
    assert view_of(worker).ends == 9 and points(worker) == -3
    worker.commands.reset(8)
    watch(worker, 1)
    worker.commands.restart()
    assert view_of(worker).ends == 9 and view_of(worker).seed == 8 and points(worker) == 0


def test_points_are_told_no_sooner_than_shown(begin: Start, goals: Plan) -> None:
    worker = begin(goals)
    told = [points(worker)]
    for _ in range(3):  # each block is there before it is shown
        watch(worker, 1)
        told.append(points(worker))
    assert told == [0, 2, -3, -3]
    worker.commands.rewind(1)
    assert points(worker) == 2


@pytest.mark.parametrize("seed", [None, 8])
def test_recordings_go_on_with_a_scenario_that_is_begun_anew(
    begin: Start, small_world: World, choices: Plan, tmp_path: Path, seed: int | None
) -> None:
    worker = begin(choices)
    worker.commands.record(tmp_path / "one")
    watch(worker, 3)
    worker.commands.restart(seed)
    watch(worker, 4)
    worker.stop()
    for folder, wanted, blocks in (("one", 5, 3), ("one-2", seed or 5, 4)):
        log = read_log(tmp_path / folder / "actions.jsonl")
        assert log.header.seed == wanted and log.complete and len(log.blocks) == blocks
        played = [block.digest for block in log.blocks]
        assert played == digests(small_world, dataclasses.replace(choices, seed=wanted), blocks)
        assert played == [
            digest(block.frames) for block in play(small_world, replay_plan(log, small_world.config))
        ]


def test_what_is_saved_of_a_scenario_that_was_begun_anew(
    make_session: Make, small_world: World, choices: Plan, other_seed: int
) -> None:
    session = make_session(choices)
    advance(session, 2)
    session.restart(other_seed)
    played = advance(session, 5)
    text = scenario_text(Take.of(session, 5), "mine", "tiny")
    assert f"seed: {other_seed}" in text
    assert digests(small_world, plan_of(text, small_world), 5) == played


def test_a_seed_whose_choices_cannot_be_read_changes_nothing(make_session: Make, small_world: World) -> None:
    long = " ".join(["in the rain", *["and the rain"] * ((small_world.config.transformer.text_len - 4) // 3)])
    assert small_world.check_prompt_length(long) is None
    option = f"[{{weather: in the snow}}, {{weather: {long}}}]"
    text = f"name: one\nduration: 9 blocks\nprompt: {CAT}\ntimeline: [{{at: block 2, choose: {option}}}]\n"
    plan = plan_of(text, small_world)
    seeds = {"snow" in dataclasses.replace(plan, seed=seed).switches[2]: seed for seed in range(20)}
    plan = dataclasses.replace(plan, seed=seeds[True])
    session = make_session(plan)
    first = advance(session, 1)
    with pytest.raises(PromptError):
        session.restart(seeds[False])
    assert session.seed == seeds[True] and session.position == 1
    assert first + advance(session, 2) == digests(small_world, plan, 3)


def test_keys_begin_the_scenario_anew(start: Callable[..., Player], story: Plan) -> None:
    player = start(story)
    player.play(3)
    player.press("up")
    player.play(1)
    assert player.view.ends is None
    player.press("home")
    player.wait(1)
    assert player.app.playback.position < 1 and player.view.seed == 5
    assert player.view.cues == {2: DOG} and player.view.ends == 6
    player.play(1)
    player.press("shift+home")
    player.wait(1)
    assert player.view.seed != 5 and player.view.cues == {2: DOG}
    player.press("u")
    player.wait(1)
    assert player.view.seed == 5 and player.app.playback.position >= 1
    player.press("r")
    player.wait(1)
    assert player.view.cues == {} and player.view.ends is None
