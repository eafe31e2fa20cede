"""Cache of the worlds that this process has loaded; envs of the same world share its weights."""

from __future__ import annotations

import functools
import multiprocessing
import os
import threading
from collections.abc import Collection, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack
from weakref import ReferenceType, WeakKeyDictionary, ref

from longlive_env.errors import LongLiveError

if TYPE_CHECKING:
    from longlive_env.engine.load_options import LoadOptions
    from longlive_env.engine.world import World


Counts = tuple[int, int]  # number of running worlds, and of states of them


@dataclass(frozen=True)
class _Kept:
    """A loaded world.

    Attributes:
        world: the world.
        files: state of its files when it was loaded.
        planned: counts that `memory` was planned for; None without a plan.
    """

    world: World
    files: str
    planned: Counts | None

    def serves(self, needed: Counts, chosen: Collection[str]) -> bool:
        """Return whether it holds `needed` with the quality of a world planned for exactly that."""
        if self.planned is None or self.planned == needed:
            return True
        plan = self.world.memory_plan
        as_good = plan is None or (
            (plan.codec != "light" or "codec" in chosen)
            and (plan.kv_precision is None or "kv_precision" in chosen)
        )
        return as_good and _holds(self.planned, needed)


_worlds: dict[tuple[Hashable, ...], list[_Kept]] = {}
_warm: WeakKeyDictionary[World, set[int]] = WeakKeyDictionary()  # world -> warmed batch sizes
_lock = threading.Lock()


@functools.cache
def limit_child_threads() -> None:
    """Let child processes, such as those of `AsyncVectorEnv`, compute on one thread each.

    They compete for the same cores. OpenMP's threads do not survive a fork either: a forked process that
    relies on them waits forever. A spawned process comes here itself; OMP_NUM_THREADS then takes precedence.
    """
    import torch

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
    if multiprocessing.parent_process() is not None and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def shared_world(
    name: str | os.PathLike[str],
    device: str = "cpu",
    *,
    batch: int = 1,
    states: int = 1,
    **options: Unpack[LoadOptions],
) -> World:
    """Return the world of that name or folder on `device`, loaded on first use and then cached.

    A world has no state beside its weights, so sharing is safe as long as nobody changes them; a world whose
    files have changed is reloaded. A world planned for more worlds or states also serves fewer, unless the
    plan gave up the Wan VAE or full-precision keys and values.

    Args:
        name: name of a preset, or a folder of weights.
        device: torch device of the weights.
        batch: number of running worlds that `memory` has to hold.
        states: number of states of them, see `World.load`.
        options: options of `World.load`.

    Raises:
        LongLiveError: the world is unknown, or its weights are missing or damaged.
    """
    from longlive_env.engine.load_options import default_memory
    from longlive_env.engine.world import World

    text = os.fspath(name)
    place = os.path.realpath(text) if os.path.isdir(text) else text
    if options.get("memory") is None:
        options["memory"] = default_memory(text, device)
    chosen = {option: value for option, value in options.items() if value not in (None, "off")}
    needed = (batch, states)
    key = (place, str(device), *sorted(chosen.items()))
    with _lock:
        files = _state_of_files(text)
        for other in [one for one in _worlds if one[0] == place]:
            if any(kept.files != files for kept in _worlds[other]):
                del _worlds[other]
        for kept in _worlds.get(key, []):
            if kept.serves(needed, chosen):
                return kept.world
            del kept  # otherwise its weights stay in memory during the load
        given_up = _make_room(key, needed)
        try:
            world = World.load(text, device=device, batch=batch, states=states, **options)
        except BaseException:
            alive = [(used, planned) for held, planned in given_up if (used := held()) is not None]
            _worlds[key] += [_Kept(used, files, planned) for used, planned in alive]
            raise
        _worlds[key].append(_Kept(world, files, needed if "memory" in chosen else None))
        return world


def _make_room(key: tuple[Hashable, ...], needed: Counts) -> list[tuple[ReferenceType[World], Counts | None]]:
    """Drop worlds planned for less than what is needed, as there may be no room for both.

    Returns:
        The dropped worlds, in case envs still use them.
    """
    known = _worlds.get(key, [])
    _worlds[key] = [kept for kept in known if kept.planned and not _holds(needed, kept.planned)]
    return [(ref(kept.world), kept.planned) for kept in known if kept not in _worlds[key]]


def _holds(planned: Counts, needed: Counts) -> bool:
    return planned[0] >= needed[0] and planned[1] >= needed[1]


def _state_of_files(name: str) -> str:
    """Return an identity of a world's files, which changes with them."""
    from longlive_env.engine import prepared, published, world_places
    from longlive_env.engine.world_files import OWN_FILES

    try:
        folder = world_places.find(name)
    except LongLiveError:
        return ""  # loading will report what is wrong
    if published.is_published(folder):
        found = [published.locate(folder, file) for file in published.WEIGHT_FILES]
    else:
        found = [file for name in OWN_FILES if (file := folder / name).is_file()]
    return prepared.identity([file for file in found if file is not None])


def warm(world: World, batch: int) -> None:
    """Compile in advance what `batch` worlds of one age run, once; a no-op if the world is not compiled."""
    with _lock:
        known = _warm.setdefault(world, set())
        if world.compiled == "off" or batch in known:
            return
        from longlive_env.engine.warmup import warm_up

        warm_up(world, batch)
        known.add(batch)
