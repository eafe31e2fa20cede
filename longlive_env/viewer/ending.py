"""Ctrl-C while the viewer ends: what is being kept is finished all the same."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from longlive_env import terminal


@contextmanager
def unhurried() -> Iterator[None]:
    """In its `with` statement, Ctrl-C interrupts nothing, and the first one brings a message."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told = False

    def tell(number: int, frame: FrameType | None) -> None:
        nonlocal told
        if not told:
            told = True
            terminal.tell("finishing the recording")

    before = signal.signal(signal.SIGINT, tell)
    try:
        yield
    finally:
        if before is not None:  # None was set outside Python
            signal.signal(signal.SIGINT, before)
