"""A session's ways back lead to the same frames, and what was played can be played again."""

import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from viewer_stage import CAT, DOG, OWL

from longlive_env import World
from longlive_env.engine.rollout import Rollout
from longlive_env.engine.snapshot import Kept, full_bytes
from longlive_env.engine.state import RolloutState
from longlive_env.errors import ConfigError, PromptError, RecordingError
from longlive_env.recording import digest
from longlive_env.scenario import Cue, Mix, Plan, Sight, parse_scenario, play
from longlive_env.viewer.history import (
    BUDGET_BYTES,
    MIB,
    Beat,
    History,
    Opening,
    Saved,
    default_budget,
    free_host_bytes,
)
from longlive_env.viewer.running import STATES, Running
from longlive_env.viewer.session import Session
from longlive_env.viewer.take import Take, scenario_text

Make = Callable[..., Session]


def digests(session: Session) -> list[str]:
    return [beat.digest for beat in session.history.beats]


def full(done: int, count: int) -> None:
    """What a way back tells, where the host has no memory left."""
    raise MemoryError


def advance(session: Session, blocks: int) -> list[str]:
    return [digest(session.advance().frames) for _ in range(blocks)]


def test_a_plan_is_followed_to_the_same_frames(make_session: Make, story: Plan, small_world: World) -> None:
    session = make_session(story)
    assert session.cues == {2: DOG}
    assert advance(session, 4) == [digest(block.frames) for block in play(small_world, story)][:4]
    assert [beat.source for beat in session.history.beats] == ["start", "start", "scenario", "scenario"]
    assert session.cues == {} and session.ends is not None


@pytest.mark.parametrize("budget", [256 * MIB, 0], ids=["from snapshots", "generated again"])
@pytest.mark.parametrize("position", [0, 1, 2, 3, 4])
def test_rewinding_leads_to_the_same_world(make_session: Make, budget: int, position: int) -> None:
    session = make_session(budget_bytes=budget)
    advance(session, 2)
    session.ask(DOG)
    frames = [session.advance().frames for _ in range(3)]
    before = digests(session)
    still = session.rewind(position)
    assert (still is None) == (position == 0)
    if position > 2:
        assert np.array_equal(still, frames[position - 3])
    assert session.prompt == (DOG if position > 2 else CAT) and session.position == position
    if position == 2:
        session.ask(DOG)
    if position >= 2:
        advance(session, 5 - position)
        assert digests(session) == before


def test_a_way_back_that_fails_half_way_leaves_the_take_as_it_was(
    make_session: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = advance(make_session(), 7)
    session = make_session(budget_bytes=0)
    advance(session, 5)

    with pytest.raises(MemoryError):
        session.rewind(3, full)
    assert session.position == 5
    session.keep_bookmark(5)
    with pytest.raises(MemoryError):
        session.rewind(3, full)
    assert advance(session, 2) == whole[5:]
    with monkeypatch.context() as broken:
        broken.setattr(World, "start", lambda *args, **kwargs: [][0])
        with pytest.raises(IndexError):
            session.reset(9)
    assert session.seed == 5 and session.position == 7
    session.return_to(1)
    assert advance(session, 2) == whole[5:]


@pytest.mark.parametrize("budget", [256 * MIB, 0], ids=["from snapshots", "generated again"])
@pytest.mark.parametrize("jump", ["rewind", "reset", "return_to"])
def test_undo_returns_to_the_take_that_was_left(make_session: Make, jump: str, budget: int) -> None:
    session = make_session(budget_bytes=budget)
    advance(session, 1)
    session.keep_bookmark(1)
    advance(session, 1)
    session.ask(DOG)
    advance(session, 3)
    played, left = digests(session), session.history.branch(5)
    getattr(session, jump)({"rewind": 2, "reset": 9, "return_to": 1}[jump])
    session.history.remember(left)
    session.ask(OWL)
    advance(session, 2)
    other = digests(session)
    still = session.undo(session.position)
    assert still is not None and digest(still) == played[-1] and digests(session) == played
    assert session.seed == 5 and session.prompt == DOG
    session.undo(5)
    assert digests(session) == other and session.prompt == OWL
    session.undo(session.position)
    whole = make_session()
    advance(whole, 2)
    whole.ask(DOG)
    assert advance(whole, 5)[3:] == advance(session, 2)


def test_undo_that_fails_half_way_leaves_the_take_as_it_was(make_session: Make) -> None:
    session = make_session(budget_bytes=0)
    advance(session, 3)
    left = session.history.branch(3)
    session.reset(9)
    session.history.remember(left)
    other = advance(session, 2)

    with pytest.raises(MemoryError):
        session.undo(2, full)
    assert session.seed == 9 and digests(session) == other and session.history.left is left
    whole = make_session()
    whole.reset(9)
    assert advance(whole, 3)[2:] == advance(session, 1)
    session.undo(3)
    assert session.seed == 5 and session.position == 3


def test_only_what_was_left_can_be_undone(make_session: Make) -> None:
    session = make_session()
    with pytest.raises(ConfigError, match="no step back, new start or bookmark to undo yet"):
        session.undo(0)
    advance(session, 1)
    session.history.remember(session.history.branch(0))
    session.history.remember(session.history.branch(1))  # a jump to where it came from
    assert session.history.left is None


def test_a_bookmark_brings_the_story_back(make_session: Make, story: Plan) -> None:
    session = make_session(story)
    advance(session, 2)
    session.keep_bookmark(2)
    session.reset()
    assert session.ends is None
    session.return_to(1)
    session.rewind(0)
    assert session.ends is not None and session.cues == {2: DOG}


def test_a_bookmark_of_a_take_that_was_steered_from_the_start(make_session: Make, story: Plan) -> None:
    session = make_session(story)
    session.ask(OWL)
    advance(session, 2)
    assert session.ends is None
    session.keep_bookmark(2)
    session.reset()
    session.return_to(1)
    session.rewind(0)
    assert session.ends is not None and session.prompt == CAT


@pytest.mark.parametrize("mode", ["full", "none", "clear"])
def test_a_first_prompt_opens_a_world_that_goes_on_from_frames(
    make_session: Make, small_world: World, mode: str
) -> None:
    """As `play` does with what is saved of it: no switch, whatever a switch would do."""
    config = small_world.config
    clip = np.random.default_rng(0).integers(0, 256, (9, config.height, config.width, 3), np.uint8)
    text = f"name: one\nseed: 5\nduration: 3 blocks\nrecache: {mode}\nprompt: {{}}\n"
    plan, same = (
        replace(parse_scenario(text.format(prompt), "one.yaml").plan(config), start=clip)
        for prompt in (CAT, DOG)
    )
    session = make_session(plan)
    session.ask(DOG)
    advance(session, 3)
    assert digests(session) == [digest(block.frames) for block in play(small_world, same)]
    session.rewind(0)
    session.ask(DOG)
    advance(session, 1)
    session.take_back(0)
    session.ask(OWL)
    session.ask(DOG)
    advance(session, 2)
    assert digests(session) == [digest(block.frames) for block in play(small_world, same)][:2]


def test_the_newest_block_needs_no_snapshot(make_session: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    session = make_session(budget_bytes=0)
    advance(session, 3)
    before = digests(session)
    monkeypatch.setattr(Running, "bring", None)  # would be called
    session.take_back(2)
    assert advance(session, 1) == before[2:]


def test_what_was_asked_for_outlives_being_taken_back(make_session: Make) -> None:
    session = make_session()
    advance(session, 1)
    session.ask(DOG)
    advance(session, 1)
    session.take_back(1)
    assert session.prompt == CAT and session.wanted == DOG
    advance(session, 1)
    assert session.prompt == DOG


def test_steering_leaves_the_scenario_until_one_rewinds(make_session: Make, story: Plan) -> None:
    session = make_session(story)
    advance(session, 1)
    session.ask(OWL, asked_at=7.0)
    played = session.advance()
    assert played.asked_at == 7.0 and played.beat.source == "you"
    advance(session, 2)
    assert session.prompt == OWL and session.cues == {} and session.ends is None
    session.rewind(1)
    assert session.ends is not None and session.cues == {2: DOG}
    advance(session, 2)
    assert session.prompt == DOG


def test_thousands_of_requests_may_wait_for_a_block(make_session: Make) -> None:
    session = make_session()
    advance(session, 1)
    for _ in range(600):
        session.ask(DOG)
        session.ask(OWL)
    advance(session, 1)
    assert session.prompt == OWL


def test_prompts_are_checked_and_change_nothing_twice(make_session: Make) -> None:
    session = make_session()
    advance(session, 1)
    for prompt, message in (("  ", "empty"), ("a\tcat", "control character"), ("a " * 40, "longer than")):
        with pytest.raises(PromptError, match=message):
            session.ask(prompt)
    assert not session.ask(CAT) and not session.ask(f" {CAT} ")
    assert session.ask(DOG) and not session.ask(DOG)
    assert session.ask(CAT) and session.wanted == CAT  # never mind
    assert session.advance().asked_at is None


def test_resets(make_session: Make) -> None:
    session = make_session()
    first = advance(session, 2)
    session.ask(DOG)
    session.reset()
    assert session.position == 0 and session.prompt == DOG
    assert advance(session, 1) != first[:1]
    session.ask(CAT)
    session.reset()
    assert advance(session, 2) == first
    session.reset(99)
    assert session.seed == 99 and session.prompt == CAT
    assert advance(session, 2) != first


def test_bookmarks_branch(make_session: Make) -> None:
    session = make_session(budget_bytes=0)
    with pytest.raises(ConfigError, match="nothing has been played"):
        session.keep_bookmark(0)
    advance(session, 3)
    assert session.keep_bookmark(2) == 1 and session.keep_bookmark(3) == 2
    old = advance(session, 2)
    session.reset(7)
    session.ask(OWL)
    advance(session, 2)
    still = session.return_to(2)
    assert session.position == 3 and session.seed == 5 and session.prompt == CAT
    assert digest(still) == session.history.beats[-1].digest
    assert session.history.nearest(3)[0] == 3  # so that the way back to it stays short
    assert advance(session, 2) == old
    session.return_to(1)
    session.ask(OWL)
    advance(session, 1)
    assert session.position == 3 and session.prompt == OWL
    session.rewind(1)
    assert session.position == 1 and session.prompt == CAT
    with pytest.raises(ConfigError, match="no bookmark 8"):
        session.return_to(8)
    for _ in range(7):
        session.keep_bookmark(1)
    with pytest.raises(ConfigError, match="all nine"):
        session.keep_bookmark(1)
    assert session.keep_bookmark(1, number=4) == 4


def test_snapshots_stay_within_their_budget(make_session: Make) -> None:
    session = make_session()
    advance(session, 1)
    assert session.history.snapshots == 0  # the first block is as quickly made as restored
    advance(session, 4)
    size = session.history.nbytes // session.history.snapshots
    session = make_session(budget_bytes=5 * 8 * size)
    for block in range(60):
        if block == 3:
            session.ask(DOG)
        advance(session, 1)
        assert session.history.nbytes <= 5 * 8 * size
    assert session.history.snapshots >= 5
    assert session.history.nearest(60)[0] == 60 and session.history.nearest(59)[0] == 59
    assert session.history.nearest(8)[0] >= 1  # something is left of the early part
    before = digests(session)
    session.rewind(31)
    advance(session, 3)
    assert digests(session) == before[:34]


GB = 10**9
OPENING = Opening(5, CAT)


@pytest.mark.parametrize(
    ("changes", "kept"), [([], [8, 12, 16, 20]), ([4], [4, 12, 16, 20]), ([4, 8], [8, 12, 16, 20])]
)
def test_the_newest_snapshots_and_those_before_a_change_stay(changes: list[int], kept: list[int]) -> None:
    history, hundred_bytes = History(OPENING, 4 * 100), Kept({}, {"": torch.zeros(100, dtype=torch.uint8)})
    for block in range(20):
        prompt = str(sum(change <= block for change in changes))
        saved = Saved(hundred_bytes, np.zeros(0, np.uint8)) if (block + 1) % 4 == 0 else None
        history.append(Beat(block, Mix.of(prompt), "you", "full", False, 12, ""), saved)
    assert [position for position in range(1, 21) if history.nearest(position)[0] == position] == kept


@pytest.mark.parametrize(
    ("free", "nbytes", "budget", "spacing"),
    [
        (100 * GB, 10 * 10**6, BUDGET_BYTES, 1),
        (100 * GB, 100 * 10**6, 400 * 10**6, 4),
        (100 * GB, 5.5 * GB, 22 * GB, 21),
        (None, 5.5 * GB, 22 * GB, 21),
        (48 * GB, 5.5 * GB, 12 * GB, 21),
        (8 * GB, 5.5 * GB, 2 * GB, None),
        (0, 10 * 10**6, BUDGET_BYTES, 1),
    ],
)
def test_room_for_snapshots_follows_their_size(
    monkeypatch: pytest.MonkeyPatch, free: int | None, nbytes: float, budget: int, spacing: int | None
) -> None:
    monkeypatch.setattr("longlive_env.viewer.history.free_host_bytes", lambda: free)
    assert default_budget(int(nbytes)) == budget
    assert History(OPENING).spacing(int(nbytes)) == spacing


def test_a_given_budget_counts_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longlive_env.viewer.history.default_budget", None)  # would be called
    assert History(OPENING, 256 * MIB).spacing(5 * GB) is None
    assert History(OPENING, 256 * MIB).spacing(64 * MIB) == 4
    assert History(OPENING, 64 * MIB).spacing(64 * MIB) == 16


def test_free_memory_is_told() -> None:
    free = free_host_bytes()
    assert free is None or free > MIB


def test_large_worlds_have_a_way_back_too(
    make_session: Make, small_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many bytes as the 1.3b world has, as far as sizes decide."""
    monkeypatch.setattr("longlive_env.viewer.session.full_bytes", lambda state: 5_400 * 10**6)
    monkeypatch.setattr("longlive_env.viewer.history.free_host_bytes", lambda: 120 * GB)
    monkeypatch.setattr(Saved, "nbytes", 5_400 * 10**6)
    session = make_session()
    advance(session, 130)
    history = session.history
    assert history.snapshots == 4 and history.nbytes == 4 * 5_400 * 10**6
    generated: list[int] = []
    before = digests(session)
    session.rewind(128, lambda done, count: generated.append(count))
    assert generated == [2, 2] and digests(session) == before[:128]
    assert all(position - history.nearest(position)[0] < 21 for position in range(84, 129))


def test_a_full_snapshot_is_as_large_as_told(make_session: Make) -> None:
    session = make_session()
    advance(session, 2)
    told = full_bytes(session.rollout.state)
    advance(session, 4)
    assert full_bytes(session.rollout.state) == told
    assert told < len(session.rollout.snapshot()) < told + 20_000  # a header, and the noise


def test_a_failed_block_changes_nothing(make_session: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    session, other = make_session(), make_session()
    advance(session, 1)
    advance(other, 1)
    session.ask(DOG)
    other.ask(DOG)
    with monkeypatch.context() as patch:
        patch.setattr(type(session.rollout), "step", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            session.advance()
    assert session.position == 1 and session.wanted == DOG
    assert advance(session, 1) == advance(other, 1)


def test_a_snapshot_that_fails_stops_nothing(
    make_session: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session = make_session()
    whole = advance(make_session(), 5)
    advance(session, 2)
    with monkeypatch.context() as patch:
        patch.setattr(Rollout, "keep", lambda self: (_ for _ in ()).throw(MemoryError("no room")))
        assert advance(session, 1) == whole[2:3]
    assert "no snapshot after block 2: no room" in caplog.text and session.history.nearest(3)[0] == 2
    assert advance(session, 2) == whole[3:]
    session.rewind(3)
    assert advance(session, 2) == whole[3:]


@pytest.mark.parametrize("broken", ["sight", "digest", "full_bytes"])
def test_a_block_that_cannot_be_kept_is_generated_again(
    make_session: Make, small_world: World, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    goals = "[{name: rain, when: weather == rain, hold: 2}]"
    text = f"name: one\nseed: 5\nduration: 9 blocks\nprompt: {CAT}\ngoals: {goals}\n"
    monkeypatch.setattr(
        "longlive_env.viewer.story.sight_of", lambda config: lambda frames: {"weather": "rain"}
    )
    session = make_session(parse_scenario(text, "one.yaml").plan(small_world.config))
    other = make_session()
    session.ask(DOG)
    other.ask(DOG)
    whole = advance(other, 4)
    advance(session, 1)
    session.ask(OWL)
    other.rewind(1)
    other.ask(OWL)

    def full(*args: object) -> None:
        raise RuntimeError("no room")

    with monkeypatch.context() as patch:
        if broken == "sight":
            patch.setattr(session._direction.story, "_sight", full)
        else:
            patch.setattr(f"longlive_env.viewer.session.{broken}", full)
        with pytest.raises(RuntimeError, match="no room"):
            session.advance()
    assert session.position == 1 and session.wanted == OWL and session.score is not None
    assert session.score.points == 0
    played = session.advance()
    assert [goal.name for goal in played.beat.reached] == [
        "rain"
    ] and played.beat.digest == other.advance().beat.digest
    assert whole[0] == digests(session)[0]


def test_a_way_back_that_finds_no_room_leaves_nothing_half_done(
    make_session: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make_session()
    advance(session, 4)
    whole = digests(session)
    with monkeypatch.context() as patch:
        patch.setattr(Rollout, "assign", lambda *args: (_ for _ in ()).throw(MemoryError()))
        with pytest.raises(MemoryError):
            session.take_back(3)
    assert session.position == 4
    session.take_back(3)
    assert digests(session) == whole[:3] and advance(session, 1) == whole[3:]


def test_what_an_agent_looks_at_does_not_move(make_session: Make) -> None:
    agent = Says("")
    session = make_session(agent=agent)
    advance(session, 3)
    whole, running = digests(session), session.rollout
    session.take_seat("agent")
    seen: list[Any] = []
    agent.look = lambda env: seen.append((env.rollout, env.rollout.snapshot()))
    whole += advance(session, 1)
    ((looked_at, state),) = seen
    session.take_back(3)
    assert looked_at is not running and session.rollout is running  # whose captured steps stay
    session.take_seat("you")
    assert advance(session, 1) == whole[3:]
    assert looked_at.snapshot() == state
    session.close()


def test_a_rewind_that_fails_forgets_nothing(make_session: Make) -> None:
    session = make_session(budget_bytes=0)
    advance(session, 3)
    session.ask(DOG)

    with pytest.raises(MemoryError):
        session.rewind(1, full)
    assert session.wanted == DOG
    session.rewind(1)  # which works
    assert session.wanted == CAT


def test_a_bookmark_that_cannot_be_replaced_stays(make_session: Make) -> None:
    session = make_session(budget_bytes=0)
    advance(session, 4)
    session.keep_bookmark(4, number=7)
    with pytest.raises(ConfigError, match="is not kept"):
        session.keep_bookmark(1, number=7)
    assert len(session.history.bookmarks[7].beats) == 4


def test_a_failed_block_can_be_kept_and_gone_back_from(
    make_session: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make_session(budget_bytes=0)
    before = advance(session, 3)
    with monkeypatch.context() as patch:
        patch.setattr(type(session.rollout), "step", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            session.advance()
    assert session.keep_bookmark(3) == 1
    with pytest.raises(ConfigError, match="the world after block 1 is not kept; go back there"):
        session.keep_bookmark(2)
    session.rewind(2)
    assert session.keep_bookmark(2) == 2
    assert advance(session, 1) == before[2:]


@pytest.fixture
def most_states(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """The most states of rollouts that were alive at once since the last call."""
    alive: weakref.WeakSet[RolloutState] = weakref.WeakSet()
    counts = [0]
    make = RolloutState.__init__

    def counted(state: RolloutState, *args: Any) -> None:
        alive.add(state)
        counts.append(len(alive))
        make(state, *args)

    def most() -> int:
        highest = max(counts)
        counts[:] = [len(alive)]
        return highest

    monkeypatch.setattr(RolloutState, "__init__", counted)
    return most


def test_a_session_holds_two_states(make_session: Make, most_states: Callable[[], int]) -> None:
    session = make_session(agent=Says(DOG))
    session.ask(OWL)  # which opens another world
    advance(session, 4)
    assert most_states() == STATES == 2
    session.take_seat("agent")
    advance(session, 3)
    assert session.prompt == DOG and most_states() == STATES
    session.keep_bookmark(7)
    for go in (
        lambda: session.take_back(6),
        lambda: session.rewind(2),
        lambda: session.rewind(0),
        lambda: session.return_to(1),
        lambda: session.reset(),
    ):
        go()
        advance(session, 2)
        assert most_states() == STATES
    session.close()


def test_an_agent_that_thinks_holds_one_more_state(
    make_session: Make, most_states: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answer = threading.Event(), threading.Event()

    def think(self: Says, observation: Any, info: Mapping[str, Any]) -> str:
        asked.set()
        assert answer.wait(60)
        return DOG

    monkeypatch.setattr(Says, "act", think)
    session = make_session(agent=Says(DOG), patience_s=0.0)
    advance(session, 2)
    session.take_seat("agent")
    advance(session, 1)
    assert asked.wait(60)
    session.take_back(2)  # which the agent is looking at
    advance(session, 3)
    assert session.thinking and most_states() == STATES + 1
    answer.set()
    session.close()
    session.take_seat("you")
    advance(session, 2)
    assert most_states() == STATES + 1  # as it was at the beginning
    advance(session, 2)
    assert most_states() == STATES


class Stubborn:
    """Says one thing, from its second turn on."""

    def __init__(self) -> None:
        self.turns = 0
        self.seen: list[int] = []

    def reset(self, env: Any, info: Mapping[str, Any]) -> None:
        assert env.rollout.prompts == [info["prompt"]]
        self.turns = 0

    def act(self, observation: Any, info: Mapping[str, Any]) -> str:
        assert observation.shape == (12, 32, 48, 3)
        self.turns += 1
        self.seen.append(info["block"])
        return DOG if self.turns > 1 else ""


def test_agents_take_the_seat(make_session: Make) -> None:
    agent = Stubborn()
    session = make_session(agent=agent)
    advance(session, 2)
    assert agent.seen == []
    session.take_seat("agent")
    advance(session, 3)
    assert agent.seen == [1, 2, 3]
    assert [beat.prompt for beat in session.history.beats] == [CAT, CAT, CAT, DOG, DOG]
    assert session.history.beats[-1].source == "agent"
    session.rewind(2)
    advance(session, 1)
    assert session.prompt == CAT and agent.turns == 1  # it has begun anew
    session.take_seat("you")
    session.ask(OWL)
    advance(session, 2)
    assert session.prompt == OWL
    with pytest.raises(ConfigError, match="--agent"):
        make_session().take_seat("agent")


def test_a_change_of_mind_counts_before_the_agent(make_session: Make) -> None:
    session = make_session(agent=Says(OWL))
    advance(session, 1)
    session.take_seat("agent")
    session.ask(DOG)
    session.ask(CAT)
    assert session.advance().beat.source == "you" and session.prompt == CAT
    session.close()


def test_what_was_played_is_a_scenario(make_session: Make, small_world: World) -> None:
    session = make_session()
    advance(session, 3)
    session.ask(DOG)
    advance(session, 2)
    session.rewind(4)
    session.ask(OWL)
    advance(session, 2)
    text = scenario_text(Take.of(session, 6), "mine", "tiny")
    scenario = parse_scenario(text, "mine.yaml")
    assert scenario.name == "mine" and len(scenario.timeline) == 2
    replayed = [digest(block.frames) for block in play(small_world, scenario.plan(small_world.config))]
    assert replayed == digests(session)


BLENDS = f"""
name: blends
seed: 3
duration: 8 blocks
prompt: {CAT}
timeline:
  - {{at: block 1, prompt: {DOG}, blend: 3 blocks}}
  - {{at: block 6, prompt: {OWL}, blend: 4 blocks}}
"""


def test_blends_are_saved_too(make_session: Make, small_world: World) -> None:
    plan = parse_scenario(BLENDS, "blends.yaml").plan(small_world.config)
    session = make_session(plan)
    advance(session, 3)
    session.rewind(2)
    advance(session, 3)
    assert digests(session) == [digest(block.frames) for block in play(small_world, plan)][:5]
    session.rewind(2)  # in the middle of a blend
    session.ask(OWL)
    advance(session, 2)
    text = scenario_text(Take.of(session, 4), "mine", "tiny")
    assert "blend: 3 blocks" in text
    again = parse_scenario(text, "mine.yaml").plan(small_world.config)
    assert [digest(block.frames) for block in play(small_world, again)] == digests(session)


def test_notes_are_saved_with_their_blocks(make_session: Make, small_world: World) -> None:
    text = f"""
name: notes
duration: 9 blocks
prompt: {CAT}
timeline:
  - {{at: block 1, prompt: {CAT}, note: look at the cat}}
  - {{at: block 2, choose: [{{prompt: {DOG}, note: "where: now?"}}, {{prompt: {DOG}, note: "where: now?"}}]}}
  - {{at: block 4, prompt: {OWL}, blend: 3 blocks, note: it melts}}
  - {{at: block 5, prompt: {OWL}, note: done}}
  - {{at: block 7, prompt: {OWL}, note: "goal x: +1"}}
"""
    session = make_session(parse_scenario(text, "notes.yaml").plan(small_world.config))
    advance(session, 9)
    again = parse_scenario(scenario_text(Take.of(session, 9), "mine", "tiny"), "mine.yaml")
    assert [(entry.at.amount, entry.notes) for entry in again.timeline if isinstance(entry, Cue)] == [
        (1, ("look at the cat",)),
        (2, ("where: now?",)),  # without what was drawn
        (4, ("it melts",)),
        (5, ("done",)),  # which ended the transition
        (7, ("goal x: +1",)),  # in words that a log has for goals
    ]
    replayed = [digest(block.frames) for block in play(small_world, again.plan(small_world.config))]
    assert replayed == digests(session)


class Says:
    """Says one thing, or nothing."""

    def __init__(self, prompt: str) -> None:
        self.prompt = prompt
        self.look: Callable[[Any], None] = lambda env: None

    def reset(self, env: Any, info: Mapping[str, Any]) -> None:
        self.env = env

    def act(self, observation: Any, info: Mapping[str, Any]) -> str:
        self.look(self.env)
        return self.prompt


def test_a_scenario_is_followed_until_the_agent_brings_a_prompt(
    make_session: Make, small_world: World
) -> None:
    plan = parse_scenario(BLENDS, "blends.yaml").plan(small_world.config)
    session = make_session(plan, agent=Says(""))
    advance(session, 2)
    session.take_seat("agent")  # in the middle of a blend
    advance(session, 5)
    assert session.ends is not None and session.cues == {6: OWL}
    played = [digest(block.frames) for block in play(small_world, plan)][:7]
    assert digests(session) == played
    again = parse_scenario(scenario_text(Take.of(session, 7), "mine", "tiny"), "mine.yaml")
    assert [digest(block.frames) for block in play(small_world, again.plan(small_world.config))] == played
    wish = CAT.replace("on a sunny day", "at night")
    session = make_session(plan, agent=Says(wish))
    advance(session, 2)
    session.take_seat("agent")
    advance(session, 6)
    assert session.ends is None and session.cues == {}
    assert [beat.prompt for beat in session.history.beats] == [CAT, DOG, *[wish] * 6]


def test_nothing_is_saved_that_a_timeline_cannot_tell(make_session: Make, small_world: World) -> None:
    option = f"{{prompt: {DOG}, blend: 3 blocks}}"
    timeline = f"timeline: [{{at: block 0, choose: [{option}, {option}]}}]"
    text = f"name: one\nduration: 9 blocks\nprompt: {CAT}\n{timeline}\n"
    session = make_session(parse_scenario(text, "one.yaml").plan(small_world.config))
    advance(session, 4)
    with pytest.raises(RecordingError, match="no scenario leads to what was in force in block 0; record"):
        scenario_text(Take.of(session, 4), "mine", "tiny")


def test_goals_count_until_the_scenario_ends(
    make_session: Make, small_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    goals = "[{name: rain, when: weather == rain}, {name: long rain, when: weather == rain, hold: 2}]"
    text = f"name: one\nduration: 4 blocks\nprompt: {CAT}\ngoals: {goals}\n"
    plan = parse_scenario(text, "one.yaml").plan(small_world.config)
    rainy = [False, False, False, True, True, True]  # the last two lie behind the end

    def sight_of_rain(config: Any) -> Sight:
        shown = iter(rainy)
        return lambda frames: {"weather": "rain" if next(shown) else "clear"}

    played = [goal.name for block in play(small_world, plan, sight_of_rain(None)) for goal in block.reached]
    monkeypatch.setattr("longlive_env.viewer.story.sight_of", sight_of_rain)
    session = make_session(plan)
    reached = [goal.name for _ in rainy for goal in session.advance().beat.reached]
    assert reached == played == ["rain"]
    assert session.score is not None and (session.score.points, session.score.possible) == (1, 2)
    assert [beat.notes for beat in session.history.beats if beat.notes] == [("goal rain: +1",)]
    session.rewind(5)
    assert session.score.points == 1


def test_nothing_is_saved_that_would_not_replay(make_session: Make) -> None:
    session = make_session()
    with pytest.raises(ValueError, match="nothing has been played"):
        scenario_text(Take.of(session, 0), "mine", "tiny")
    advance(session, 1)
    for prompt, mode in ((DOG, "none"), (OWL, "clear")):
        session.recache = mode  # type: ignore[assignment]
        session.ask(prompt)
        advance(session, 1)
    with pytest.raises(ValueError, match="clear and none"):
        scenario_text(Take.of(session, 3), "mine", "tiny")
    assert "recache: none" in scenario_text(Take.of(session, 2), "mine", "tiny")
