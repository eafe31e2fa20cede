"""A live scenario goes on while somebody steers, also after going back in time."""

from collections.abc import Callable

import pytest
from viewer_stage import CAT, DOG

from longlive_env import World
from longlive_env.scenario import Plan, parse_scenario
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
    assert session.history.beats[2].notes == ("fog",) and session.follows
    digests = [beat.digest for beat in session.history.beats]
    for position in (5, 4, 3):  # going back leads to the same future, as long as what you did is kept
        session.rewind(position)
        if position > steer_at:
            assert play(session, -1) == played
            assert [beat.digest for beat in session.history.beats] == digests


def test_any_other_timeline_leaves_the_rest_to_you(
    make_session: Callable[..., Session], small_world: World
) -> None:
    session = make_session(plan_of(small_world, live=False))
    assert play(session, 1) == [CAT, DOG, DOG, DOG, DOG, DOG] and not session.follows
