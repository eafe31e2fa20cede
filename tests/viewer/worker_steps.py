"""A worker without a thread, played step by step as a window would."""

from collections.abc import Callable
from typing import Any

from viewer_stage import header

from longlive_env.viewer.session import Session
from longlive_env.viewer.worker import Worker

Start = Callable[..., Worker]


def starter(make_session: Callable[..., Session]) -> Start:
    """What makes workers whose world is loaded."""

    def begin(*args: Any, **kwargs: Any) -> Worker:
        worker = Worker(lambda: make_session(*args, **kwargs), header, clock=lambda: 1.5, threaded=False)
        worker.turn()
        return worker

    return begin


def settle(worker: Worker) -> None:
    while worker.turn():
        pass


def watch(worker: Worker, blocks: int) -> list[str]:
    """Prompts of the next blocks, as a window would show them."""
    prompts = []
    for _ in range(blocks):
        settle(worker)
        played = worker.exchange.take()
        assert played is not None
        prompts.append(played.beat.prompt)
    return prompts
