"""A live scenario goes on while somebody steers, also after going back in time."""

import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from viewer_stage import CAT, DOG
from worker_steps import settle, starter, watch

from longlive_env import World
from longlive_env.agents import Seated
from longlive_env.recording import digest
from longlive_env.scenario import Plan, parse_scenario
from longlive_env.scenario import play as play_plan
from longlive_env.viewer.direction import Request
from longlive_env.viewer.session import Session

TIMELINE = """\
timeline:
  - {at: block 2, weather: in the fog, note: fog}
  - {at: block 4, weather: in the rain}
"""


def plan_of(world: World, live: bool) -> Plan:
    text = f"name: live\nduration: 9 blocks\nlive: {str(live).lower()}\nprompt: {CAT}\n{TIMELINE}"
    return parse_scenario(text, "live.yaml").plan(world.config)


def prompts(session: Session) -> list[str]:
    return [beat.prompt for beat in session.history.beats]


def play(session: Session, steer_at: int, blocks: int = 6) -> list[str]:
    while session.position < blocks:
        if session.position == steer_at:
            session.ask(DOG)
        session.advance()
    return prompts(session)


@pytest.mark.parametrize("steer_at", [1, 2, 3])
def test_the_timeline_changes_what_you_have_asked_for(
    make_session: Callable[..., Session], small_world: World, steer_at: int
) -> None:
    session = make_session(plan_of(small_world, live=True))
    played = play(session, steer_at)
    foggy_car = DOG.replace("at night", "in the fog")
    foggy_cat = CAT.replace("on a sunny day", "in the fog")
    before = {1: [CAT, DOG, foggy_car, foggy_car], 2: [CAT, CAT, DOG, DOG], 3: [CAT, CAT, foggy_cat, DOG]}
    assert played[:4] == before[steer_at]
    assert played[4:] == [DOG.replace("at night", "in the rain")] * 2
    assert session.history.beats[2].notes == ("fog",) and session.ends is not None
    digests = [beat.digest for beat in session.history.beats]
    for position in (5, 4, 3):  # going back leads to the same future, as long as what you did is kept
        session.rewind(position)
        if position > steer_at:
            assert play(session, -1) == played
            assert [beat.digest for beat in session.history.beats] == digests


def as_a_rabbit(prompt: str) -> str:
    """What a key makes of a prompt that changes its subject."""
    return prompt.replace("a red cat", "a pink rabbit")


@pytest.mark.parametrize("steer_at", [1, 2, 3, 4])
def test_a_change_of_one_part_leaves_the_timeline_its_own(
    make_session: Callable[..., Session], small_world: World, steer_at: int
) -> None:
    """Also where the key comes while the block of a cue is generated."""
    session = make_session(plan_of(small_world, live=True))
    while session.position < 6:
        if session.position == steer_at:
            session.advance()
            session.take_back(steer_at)
            session.ask(as_a_rabbit)
        session.advance()
    weathers = ["on a sunny day"] * 2 + ["in the fog"] * 2 + ["in the rain"] * 2
    shown = zip(prompts(session), weathers, strict=True)
    assert all(prompt.endswith(weather) for prompt, weather in shown)
    assert ["rabbit" in prompt for prompt in prompts(session)] == [block >= steer_at for block in range(6)]
    assert session.history.beats[2].notes == ("fog",)


def test_two_keys_before_a_block_count_both(make_session: Callable[..., Session], small_world: World) -> None:
    session = make_session(plan_of(small_world, live=True))
    session.advance()
    session.ask(as_a_rabbit)
    session.ask(lambda prompt: prompt.replace("jumps", "dances"))
    assert session.wanted == "a pink rabbit dances in the city on a sunny day"
    session.advance()
    session.take_back(1)
    session.ask(lambda prompt: prompt.replace("city", "forest"))
    session.advance()
    assert session.prompt == "a pink rabbit dances in the forest on a sunny day"


def test_what_is_announced_can_be_refused(make_session: Callable[..., Session], small_world: World) -> None:
    for live in (True, False):
        worker = starter(make_session)(plan_of(small_world, live))
        assert watch(worker, 2) == [CAT, CAT]
        settle(worker)  # the fog is ready, and nobody has seen it
        worker.commands.ask(CAT)
        assert watch(worker, 2) == [CAT, CAT]
        rainy = CAT.replace("on a sunny day", "in the rain")
        assert watch(worker, 1) == [rainy if live else CAT]


@pytest.mark.parametrize("live", [True, False])
def test_a_refusal_outlives_the_keys_before_it(
    make_session: Callable[..., Session], small_world: World, live: bool
) -> None:
    worker = starter(make_session)(plan_of(small_world, live))
    watch(worker, 2)
    settle(worker)
    for weather in ("in the snow", "on a sunny day"):  # the fog is ready, and nobody has seen it
        worker.commands.ask(
            lambda prompt, weather=weather: re.sub("(on a sunny day|in the [a-z]+)$", weather, prompt)
        )
        worker.turn()
    assert watch(worker, 1) == [CAT]


def test_a_way_back_and_a_refusal_in_one_go(make_session: Callable[..., Session], small_world: World) -> None:
    worker = starter(make_session)(plan_of(small_world, live=True))
    watch(worker, 4)
    worker.commands.rewind(2)
    worker.commands.ask(CAT)
    assert watch(worker, 1) == [CAT]


def test_a_new_start_is_under_the_prompt_that_was_seen(
    make_session: Callable[..., Session], small_world: World
) -> None:
    worker = starter(make_session)(plan_of(small_world, live=True))
    watch(worker, 2)
    settle(worker)  # the fog is ready
    worker.commands.reset()
    assert watch(worker, 2) == [CAT, CAT]
    worker.commands.ask(DOG)
    settle(worker)  # the car is ready, and was asked for
    worker.commands.reset()
    assert watch(worker, 1) == [DOG]


def test_what_was_asked_for_is_taken_back_in_its_order(
    make_session: Callable[..., Session], small_world: World
) -> None:
    session = make_session(plan_of(small_world, live=False))
    session.advance()
    session.ask(as_a_rabbit)
    session.advance()
    session.ask(lambda prompt: prompt.replace("jumps", "dances"))
    session.take_back(1)
    session.advance()
    assert session.prompt == "a pink rabbit dances in the city on a sunny day"


def test_a_key_that_the_scenario_leaves_no_room_for_comes_first(
    make_session: Callable[..., Session], small_world: World
) -> None:
    words = small_world.config.transformer.text_len - 3
    full = " ".join(["cat"] * words)
    timeline = f"timeline:\n  - {{at: block 2, prompt: {full}, note: crowd}}\n"
    text = f"name: live\nduration: 9 blocks\nlive: true\nprompt: {CAT}\n{timeline}"
    session = make_session(parse_scenario(text, "live.yaml").plan(small_world.config))
    session.advance()
    session.advance()
    session._direction.request = Request(lambda prompt: f"{prompt} and a dog", None)
    played = session.advance()
    assert played.beat.prompt == f"{CAT} and a dog"
    assert len(played.beat.remarks) == 1 and played.beat.remarks[0].startswith(f"left out: {full[:20]}")
    assert played.beat.notes == played.beat.remarks


def test_an_agent_that_says_what_it_was_told_keeps_what_there_is(
    make_session: Callable[..., Session], small_world: World
) -> None:
    agent = Keeps()
    session = make_session(plan_of(small_world, live=True), agent=agent, patience_s=0.0)
    session.advance()
    session.take_seat("agent")
    session.advance()
    session.advance()
    session.advance()
    agent.may_answer.set()
    assert session._agent is not None and session._agent._thought is not None
    assert session._agent._thought.done.wait(60)
    session.advance()
    assert session.prompt == CAT.replace("on a sunny day", "in the rain")
    session.close()


def test_a_cue_that_finds_no_room_is_left_out(
    make_session: Callable[..., Session], small_world: World
) -> None:
    session = make_session(plan_of(small_world, live=True))
    session.advance()
    words = small_world.config.transformer.text_len - 1
    full = " ".join(["cat"] * words)
    assert small_world.check_prompt_length(full) is None
    session.ask(full)
    played = [session.advance() for _ in range(3)]
    (remark,) = played[1].beat.remarks
    assert remark.startswith("left out: weather: in the fog (") and played[1].beat.notes == (remark,)
    assert [beat.prompt for beat in session.history.beats] == [CAT, *[full] * 3]
    session.ask(DOG)
    assert session.advance().beat.prompt == DOG


class Keeps:
    """An agent that says its prompt again, after a while."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()

    def reset(self, env: Any, info: Mapping[str, Any]) -> None: ...

    def act(self, observation: Any, info: Mapping[str, Any]) -> str:
        assert self.may_answer.wait(60)
        return str(info["prompt"])


class Turns:
    """An agent that answers with another action, and says what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def reset(self, env: Any, info: Mapping[str, Any]) -> None: ...

    def act(self, observation: Any, info: Mapping[str, Any]) -> str:
        self.told.append(info["prompt"])
        return str(info["prompt"]).replace("jumps", "dances")


def test_an_agent_plays_a_live_scenario_as_it_does_in_a_run(
    make_session: Callable[..., Session], small_world: World
) -> None:
    plan = plan_of(small_world, live=True)
    ran, agent = Turns(), Turns()
    blocks = list(play_plan(small_world, plan, steer=Seated(ran, small_world, plan.seed)))
    session = make_session(plan, agent=agent)
    session.take_seat("agent")
    played = [session.advance().beat for _ in blocks]
    assert [beat.prompt for beat in played] == [block.prompt for block in blocks]
    assert [beat.digest for beat in played] == [digest(block.frames) for block in blocks]
    assert agent.told == ran.told and "fog" in agent.told[1]


def test_any_other_timeline_leaves_the_rest_to_you(
    make_session: Callable[..., Session], small_world: World
) -> None:
    session = make_session(plan_of(small_world, live=False))
    assert play(session, 1) == [CAT, DOG, DOG, DOG, DOG, DOG] and session.ends is None
