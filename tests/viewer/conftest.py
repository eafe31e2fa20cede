"""Sessions of a very small world, played without a window and without waiting."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from longlive_env import World
from longlive_env.scenario import Plan, parse_scenario
from longlive_env.viewer.serving import Address, Page
from longlive_env.viewer.session import Session

sys.path.insert(0, str(Path(__file__).parent))  # for the helpers beside this file
from viewer_player import Player
from viewer_stage import CAT, SCENARIO
from worker_steps import Start, starter

os.environ["SDL_VIDEODRIVER"] = "dummy"  # before anything opens a window
os.environ["SDL_AUDIODRIVER"] = "dummy"


@pytest.fixture
def plan(small_world: World) -> Plan:
    """A plan that stays under one prompt."""
    text = f"name: one\nseed: 5\nduration: 9 blocks\nprompt: {CAT}\n"
    return parse_scenario(text, "one.yaml").plan(small_world.config)


@pytest.fixture
def story(small_world: World) -> Plan:
    """A plan that changes its prompt at block 2."""
    return parse_scenario(SCENARIO, "two.yaml").plan(small_world.config)


@pytest.fixture
def make_session(small_world: World, plan: Plan) -> Callable[..., Session]:
    def make(chosen: Plan = plan, *, patience_s: float | None = None, **kwargs: Any) -> Session:
        return Session(small_world, chosen, patience_s=patience_s, **kwargs)

    return make


@pytest.fixture
def begin(make_session: Callable[..., Session]) -> Start:
    """Begins workers whose world is loaded, without a window."""
    return starter(make_session)


@pytest.fixture
def start(make_session: Callable[..., Session], tmp_path: Path) -> Iterator[Callable[..., Player]]:
    players = []

    def begin(
        *args: Any, options: dict[str, Any] | None = None, threaded: bool = False, **kwargs: Any
    ) -> Player:
        def make() -> Session:
            return make_session(*args, **kwargs)

        player = Player(make, tmp_path / "out", options or {}, threaded=threaded)
        players.append(player)
        player.app.__enter__()
        player.wait(3)
        return player

    yield begin
    for player in players:
        player.app.__exit__(None, None, None)


@pytest.fixture
def page() -> Iterator[Page]:
    """A page for browsers of this machine."""
    with Page(Address(0)) as page:
        yield page


@pytest.fixture
def served(page: Page, make_session: Callable[..., Session], tmp_path: Path) -> Iterator[Player]:
    """Somebody whose window is seen on the page."""
    player = Player(make_session, tmp_path / "out", {}, mirror=page)
    with player.app:
        player.wait(3)
        yield player
