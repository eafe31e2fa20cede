"""A scenario whose file is read again while it plays."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from viewer_player import Player
from viewer_stage import CAT, DOG, OWL, SCENARIO
from worker_steps import Start, settle, watch

from longlive_env import World
from longlive_env.cli import play as play_command
from longlive_env.errors import PromptError, ScenarioError
from longlive_env.recording import digest, read_log
from longlive_env.scenario import Plan, load_scenario, parse_scenario, play
from longlive_env.viewer.session import Session
from longlive_env.viewer.view import View
from longlive_env.viewer.worker import Worker

Make = Callable[..., Session]

EDITED = f"""
name: two
seed: 8
duration: 5 blocks
prompt: {OWL}
recache: none
timeline:
  - {{at: block 1, prompt: {CAT}}}
  - {{at: block 3, prompt: {DOG}}}
keys:
  left: {{action: swims}}
quick:
  - {{weather: in the fog}}
"""
GOAL = "goals: [{name: Rain, when: weather == rain, points: 2, hold: 1}]\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A scenario's file."""
    path = tmp_path / "two.yaml"
    path.write_text(SCENARIO, encoding="utf-8")
    return path


@pytest.fixture
def player(start: Callable[..., Player], file: Path, small_world: World) -> Player:
    """Somebody who plays the file."""
    scenario = load_scenario(str(file))
    options = {"scenario": scenario, "read_again": lambda: load_scenario(str(file))}
    return start(scenario.plan(small_world.config), options=options)


@pytest.fixture
def edited(small_world: World) -> Plan:
    return parse_scenario(EDITED, "two.yaml").plan(small_world.config)


def rainy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "longlive_env.viewer.story.sight_of", lambda config: lambda frames: {"weather": "rain"}
    )


def digests(world: World, plan: Plan) -> list[str]:
    """What a run of the plan shows."""
    return [digest(block.frames) for block in play(world, plan)]


def advance(session: Session, blocks: int) -> list[str]:
    return [session.advance().beat.digest for _ in range(blocks)]


def view_of(worker: Worker) -> View:
    settle(worker)
    view = worker.exchange.view()
    assert view is not None
    return view


def test_a_file_that_was_edited_is_played_from_its_beginning(
    player: Player, file: Path, small_world: World, edited: Plan
) -> None:
    player.play(2)
    player.press("left")
    player.press("alt+4")  # which outlives the scenario
    kept = player.worker.exchange.wanted()
    world = player.view.world
    file.write_text(EDITED, encoding="utf-8")
    player.press("f6")
    player.wait(2)
    assert f"Read again: {file}" in player.told
    assert player.view.seed == 8 and player.view.ends == 5 and player.view.recache == "none"
    assert player.view.cues == {1: CAT, 3: DOG} and player.view.world is world
    player.play(4.5)
    assert player.worker._session is not None
    beats = player.worker._session.history.beats
    assert [beat.digest for beat in beats[:5]] == digests(small_world, edited)
    for key, words in (("left", "swims"), ("1", "in the fog"), ("4", kept)):
        player.press(key)
        assert words in player.worker.exchange.wanted()
    player.press("2")  # of the scenario as it was
    assert player.worker.exchange.wanted() == kept
    player.press("home")
    player.wait(2)
    assert player.view.cues == {1: CAT, 3: DOG}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SCENARIO.replace("timeline", "timelne"), "two.yaml:6: unknown key 'timelne'"),
        (SCENARIO.replace("block 2", "block 9"), "give it an earlier time or make the duration longer"),
        (SCENARIO.replace(DOG, "a dog and " * 240), "so shorten it"),
        (SCENARIO + "world: 1.3b\n", "asks for world 1.3b now, and tiny is loaded"),
        (SCENARIO + "frames: none.png\n", "none.png"),
        ("a: [", "two.yaml"),
        (None, "Cannot read"),
    ],
)
def test_a_mistake_is_told_and_harms_nothing(
    player: Player, file: Path, small_world: World, story: Plan, text: str | None, message: str
) -> None:
    player.play(1)
    if text is None:
        file.unlink()
    else:
        file.write_text(text, encoding="utf-8")
    player.press("f6")
    player.wait(1)
    assert message in player.told and "Read again" not in player.told
    assert player.view.epoch == 0 and player.worker.exchange.status() == (None, None)
    player.play(4)
    assert player.worker._session is not None
    beats = player.worker._session.history.beats
    assert [beat.digest for beat in beats[:5]] == digests(small_world, story)[:5]
    player.press("1")
    assert "in the rain" in player.worker.exchange.wanted()
    player.press("home")
    player.wait(2)
    assert player.view.cues == {2: DOG} and player.view.seed == 5


def test_a_mended_mistake_is_told_no_longer(player: Player, file: Path) -> None:
    file.write_text("a: [", encoding="utf-8")
    player.press("f6")
    player.wait(1)
    assert "not valid YAML" in player.told
    file.write_text(SCENARIO.replace(OWL, "a zeppelin on the moon"), encoding="utf-8")
    player.press("f6")
    player.wait(1)
    assert "not valid YAML" not in player.told and "Read again" in player.told
    assert "does not know 'zeppelin'" in player.told


def test_what_is_doubtful_about_a_file_is_told(player: Player, file: Path) -> None:
    file.write_text(SCENARIO.replace(OWL, "a zeppelin on the moon"), encoding="utf-8")
    player.press("f6")
    player.wait(1)
    assert "does not know 'zeppelin'" in player.told and "Read again" in player.told


def test_undo_leads_back_to_the_scenario_as_it_was(
    begin: Start, small_world: World, story: Plan, edited: Plan
) -> None:
    worker = begin(story)
    watch(worker, 3)
    worker.commands.reload(lambda: parse_scenario(EDITED, "two.yaml"))
    assert watch(worker, 2) == [OWL, CAT]
    worker.commands.undo()
    assert view_of(worker).seed == 5 and view_of(worker).shown == 3 and view_of(worker).ends == 6
    watch(worker, 3)
    assert worker._session is not None
    played = [beat.digest for beat in worker._session.history.beats[:6]]
    assert played == digests(small_world, story)


def test_each_take_has_the_goals_of_its_own_scenario(
    make_session: Make, small_world: World, story: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    rainy(monkeypatch)
    session = make_session(story)
    advance(session, 2)
    left = session.history.branch(2)
    session.change_scenario(parse_scenario(SCENARIO + GOAL, "two.yaml").plan(small_world.config))
    assert session.score is not None and session.score.points == 0
    assert session.advance().beat.reached and session.score.points == 2
    won = session.history.branch(1)
    session.history.remember(left)
    session.undo(1)
    assert session.score is None
    assert session.advance().beat.reading is None and session.position == 3
    session.change_scenario(story)
    session.history.remember(won)
    session.undo(0)
    assert session.score is not None and session.score.points == 2
    assert session.advance().beat.reading == {"weather": "rain"}


def test_each_take_switches_in_the_mode_of_its_own_scenario(
    make_session: Make, small_world: World, story: Plan
) -> None:
    session = make_session(story)
    advance(session, 1)
    left = session.history.branch(1)
    session.change_scenario(parse_scenario(SCENARIO + "recache: none\n", "two.yaml").plan(small_world.config))
    assert session.recache == "none"
    advance(session, 1)
    session.history.remember(left)
    session.undo(1)
    assert session.recache == story.recache == "full"
    assert advance(session, 5) == digests(small_world, story)[1:]


def test_a_live_scenario_may_become_one_that_is_not(make_session: Make, small_world: World) -> None:
    live = parse_scenario(SCENARIO + "live: true\n", "two.yaml").plan(small_world.config)
    session = make_session(live)
    for plan, follows in (
        (live, True),
        (parse_scenario(SCENARIO, "two.yaml").plan(small_world.config), False),
    ):
        session.change_scenario(plan)
        advance(session, 1)
        session.ask(OWL)
        advance(session, 1)
        assert (session.ends is not None) is follows


def test_each_take_goes_on_from_its_own_frames(
    make_session: Make, small_world: World, story: Plan, tmp_path: Path
) -> None:
    Image.new("RGB", (48, 32), (9, 80, 7)).save(tmp_path / "green.png")
    text = SCENARIO + f"frames: {tmp_path / 'green.png'}\n"
    plan = parse_scenario(text, "two.yaml").plan(small_world.config)
    session = make_session(story)
    first = advance(session, 2)
    left = session.history.branch(2)
    session.change_scenario(plan)
    assert session.start is not None and session.pace == plan.pace != story.pace
    assert first != advance(session, 6) == digests(small_world, plan)
    session.reset()  # which goes on from the same frames
    assert session.start is not None
    start = session.history.branch(0).opening.start
    assert start is not None and np.array_equal(start, plan.start if plan.start is not None else [])
    session.history.remember(left)
    session.undo(0)
    assert session.start is None and session.pace == story.pace
    session.rewind(0)
    assert advance(session, 6) == digests(small_world, story)


def test_a_scenario_that_cannot_be_judged_changes_nothing(
    make_session: Make, small_world: World, story: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(config: object) -> None:
        raise ScenarioError("nothing can tell")

    monkeypatch.setattr("longlive_env.viewer.story.sight_of", nothing)
    session = make_session(story)
    first = advance(session, 1)
    goal = parse_scenario(SCENARIO + GOAL, "two.yaml").plan(small_world.config)
    long = parse_scenario(SCENARIO.replace(DOG, "a dog and " * 90), "two.yaml").plan(small_world.config)
    for plan, error in ((goal, ScenarioError), (long, PromptError)):
        with pytest.raises(error):
            session.change_scenario(plan)
    assert first + advance(session, 5) == digests(small_world, story)
    session.restart()
    assert session.cues == {2: DOG}


def test_recordings_carry_the_name_of_the_scenario_that_is_played(
    player: Player, file: Path, tmp_path: Path
) -> None:
    player.play(1)
    player.press("f9")
    player.play(1)
    file.write_text(EDITED.replace("name: two", "name: three"), encoding="utf-8")
    player.press("f6")
    player.play(1.5)
    player.press("f9")
    names = [read_log(folder).header.name for folder in sorted((tmp_path / "out").iterdir())]
    assert names == ["two", "three"]
    assert player.worker._session is not None
    assert play_command._header(player.worker._session).name == "three"


def test_a_mistyped_loop_is_told_at_once(begin: Start, story: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = begin(story)
    watch(worker, 2)
    passes = "repeat: always, every: 0.0000001s, timeline: [{at: 0s, weather: in the rain}]"
    text = f"{SCENARIO.partition('timeline:')[0]}timeline:\n  - {{at: block 1, {passes}}}\n"
    slow = "longlive_env.viewer.commands.lint_in"
    monkeypatch.setattr(slow, lambda *others, **options: pytest.fail("it walks all passes"))
    worker.commands.reload(lambda: parse_scenario(text, "two.yaml"))
    settle(worker)
    (told,) = worker.exchange.take_notices()
    assert told.wrong and "is shorter than a block" in told.text
