"""Worlds that this process has loaded: envs of the same world share its weights."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Hashable
from typing import TYPE_CHECKING, Unpack
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from longlive_env.engine.world import LoadOptions, World

_worlds: dict[tuple[Hashable, ...], World] = {}
_warm: WeakKeyDictionary[World, set[int]] = WeakKeyDictionary()  # worlds, and sizes of batches
_lock = threading.Lock()


@functools.cache
def prepare_forks() -> None:
    """Let forked processes, as `AsyncVectorEnv` makes them, compute on one thread each.

    The threads of OpenMP do not outlive a fork, and a child that counts on them waits for ever.
    """
    import torch

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def shared_world(
    name: str | os.PathLike[str],
    device: str = "cpu",
    *,
    batch: int = 1,
    states: int = 1,
    **options: Unpack[LoadOptions],
) -> World:
    """The world of that name or folder on `device`, loaded on first use and then kept for the process.

    A world has no state beside its weights, so sharing is safe as long as nobody changes them. A published
    world on a GPU is arranged for the memory that is free there, where nothing else is asked for.

    Args:
        name: a preset's name or a folder of weights.
        device: where the weights live, as torch spells it.
        batch: how many running worlds `memory` has to hold.
        states: how many states of them, see `World.load`.
        options: those of `World.load`.

    Raises:
        LongLiveError: the world is unknown, or its weights are missing or damaged.
    """
    from longlive_env.engine import published, world_files
    from longlive_env.engine.rollout import World

    text = os.fspath(name)
    place = os.path.realpath(text) if os.path.isdir(text) else text
    on_gpu = str(device).startswith("cuda")
    if options.get("memory") is None and on_gpu and published.is_published(world_files.find(text)):
        options["memory"] = "auto"
    chosen = {option: value for option, value in options.items() if value not in (None, "off")}
    counts = (batch, states) if "memory" in chosen else ()
    key = (place, str(device), counts, *sorted(chosen.items()))
    with _lock:
        if key not in _worlds:
            _worlds[key] = World.load(text, device=device, batch=batch, states=states, **options)
        return _worlds[key]


def warm(world: World, batch: int) -> None:
    """Compile ahead what `batch` worlds of one age run, once; nothing where the world is not compiled."""
    with _lock:
        known = _warm.setdefault(world, set())
        if world.compiled == "off" or batch in known:
            return
        from longlive_env.engine.warmup import warm_up

        warm_up(world, batch)
        known.add(batch)
