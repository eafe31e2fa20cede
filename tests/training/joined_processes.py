"""Processes joined as torchrun joins them, forked from a server that has imported torch once."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from typing import Any

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["pytest", "torch.distributed.fsdp", "longlive_env.training", "longlive_env.training.stream_stage"]
)
PATIENCE_S = 900


def begin(count: int, run: Callable[..., None], *args: Any) -> list[ForkServerProcess]:
    """A function of a test module in each of some processes; RANK and so on are theirs alone."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = []
    for rank in map(str, range(count)):
        names = {**shared, "RANK": rank, "LOCAL_RANK": rank}
        started.append(SERVER.Process(target=_with_names, args=(names, run, args), daemon=True))
        started[-1].start()
    return started


def join(count: int, run: Callable[..., None], *args: Any) -> None:
    """A function of a test module in each of some processes, to its end."""
    started = begin(count, run, *args)
    try:
        for process in started:
            process.join(PATIENCE_S)
        assert [process.exitcode for process in started] == [0] * count
    finally:
        for process in started:
            process.kill()


def _with_names(names: dict[str, str], run: Callable[..., None], args: tuple[Any, ...]) -> None:
    os.environ.update(names)
    run(*args)
