"""Worlds that this process has loaded: envs of the same world share its weights."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Hashable
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from longlive_env.engine.compile import CompileMode
    from longlive_env.engine.config import Positions
    from longlive_env.engine.memory import Memory
    from longlive_env.engine.quantize import Precision
    from longlive_env.engine.rollout import World

_worlds: dict[tuple[Hashable, ...], World] = {}
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
    precision: Precision | None = None,
    kv_precision: Literal["fp8"] | None = None,
    memory: Memory | None = None,
    batch: int = 1,
    states: int = 1,
    compile: CompileMode = "off",
    steps: int | None = None,
    rope: Positions | None = None,
) -> World:
    """The world of that name or folder on `device`, loaded on first use and then kept for the process.

    A world has no state beside its weights, so sharing is safe as long as nobody changes them.

    Args:
        name: a preset's name or a folder of weights.
        device: where the weights live, as torch spells it.
        precision: of the linear layers, see `World.load`.
        kv_precision: of cached keys and values.
        memory: GiB to fit in, or "auto".
        batch: how many running worlds `memory` has to hold.
        states: how many states of them, see `World.load`.
        compile: whether its passes run compiled, see `World.load`.
        steps: denoising steps of a block; None takes the world's own.
        rope: positions in time, see `World.load`; None takes the world's own.

    Raises:
        LongLiveError: the world is unknown, or its weights are missing or damaged.
    """
    from longlive_env.engine.rollout import World

    text = os.fspath(name)
    place = os.path.realpath(text) if os.path.isdir(text) else text
    fit = None if memory is None else (memory, batch, states)
    key = (place, str(device), precision, kv_precision, fit, compile, steps, rope)
    with _lock:
        if key not in _worlds:
            _worlds[key] = World.load(
                text,
                device=device,
                precision=precision,
                kv_precision=kv_precision,
                memory=memory,
                batch=batch,
                states=states,
                compile=compile,
                steps=steps,
                rope=rope,
            )
        return _worlds[key]
