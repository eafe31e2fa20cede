"""A very small world for the engine's tests, with any of its settings changed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from small_config import SMALL

from longlive_env.engine.config import WorldConfig
from longlive_env.engine.world import World


@pytest.fixture(scope="session")
def make_config() -> Callable[..., WorldConfig]:
    return lambda **changes: replace(SMALL, **changes)


@pytest.fixture(scope="session")
def make_world() -> Callable[..., World]:
    def make(seed: int = 0, **changes: Any) -> World:
        return World.from_config(replace(SMALL, **changes), seed)

    return make
