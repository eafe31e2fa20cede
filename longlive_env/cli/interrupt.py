"""Signal handling: Ctrl-C that waits for the end of a block, and hang-up as a request to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from longlive_env.terminal import tell


class StopAtBlock:
    """In its `with` statement, the first Ctrl-C sets `requested` and the second interrupts at once.

    An interrupted block would leave a video and a log that disagree.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: Any = None

    def __enter__(self) -> StopAtBlock:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._request)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        tell("stopping after this block; press Ctrl-C again to stop at once")


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
