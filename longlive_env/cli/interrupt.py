"""Signal handling: Ctrl-C that waits for the end of a block, and hang-up as a request to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from longlive_env.terminal import on_interrupt, tell


@contextmanager
def stop_at_block() -> Iterator[threading.Event]:
    """In its `with` statement, the first Ctrl-C sets the event and the second interrupts at once.

    An interrupted block would leave a video and a log that disagree.
    """
    requested = threading.Event()

    def request() -> None:
        requested.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        tell("stopping after this block; press Ctrl-C again to stop at once")

    with on_interrupt(request):
        yield requested


@contextmanager
def hangup_as_end() -> Iterator[None]:
    """In its `with` statement, treat SIGHUP like SIGTERM, which SDL takes for a closed window.

    If SIGHUP is ignored, as under nohup, it stays ignored.
    """
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if (
        hangup is None
        or threading.current_thread() is not threading.main_thread()
        or signal.getsignal(hangup) is not signal.SIG_DFL
    ):
        yield
        return
    signal.signal(hangup, lambda number, frame: signal.raise_signal(signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(hangup, signal.SIG_DFL)
