"""Worlds that this process has loaded: envs of the same world share its weights."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longlive_env.engine.rollout import World

_worlds: dict[tuple[str, str], World] = {}
_lock = threading.Lock()


def shared_world(name: str | os.PathLike[str], device: str = "cpu") -> World:
    """The world of that name or folder on `device`, loaded on first use and then kept for the process.

    A world has no state beside its weights, so sharing is safe as long as nobody changes them.

    Args:
        name: a preset's name or a folder of weights.
        device: where the weights live, as torch spells it.

    Raises:
        LongLiveError: the world is unknown, or its weights are missing or damaged.
    """
    from longlive_env.engine.rollout import World

    text = os.fspath(name)
    key = (os.path.realpath(text) if os.path.isdir(text) else text, str(device))
    with _lock:
        if key not in _worlds:
            _worlds[key] = World.load(text, device=device)
        return _worlds[key]
