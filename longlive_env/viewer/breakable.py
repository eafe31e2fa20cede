"""A thread whose work can be aborted once nobody waits for it any more."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from collections.abc import Callable

GLANCE_S = 0.1  # interval of checks whether it has ended
PATIENCE_S = 2.0  # time that it gets to end


class BrokenOff(SystemExit):
    """Raised in a thread that nobody waits for any more."""


class Breakable(threading.Thread):
    """Runs long computations for which the process need not wait.

    A thread must not be inside torch when the process ends: as soon as it requests the interpreter again,
    Python unwinds it through C++ frames that do not allow that, and the process aborts. The target may be
    anybody's code, such as an agent's, which checks no flag; so an exception is raised between two of its
    operations, as Ctrl-C does in the main thread.

    Args:
        target: function to run.
        name: name of the thread; names that begin with "longlive-" are recognised at the end of a command,
            see `cli.leaving`.
    """

    def __init__(self, target: Callable[[], None], name: str) -> None:
        super().__init__(target=target, name=name, daemon=True)

    def run(self) -> None:
        """Body of the thread, run by `start`."""
        with contextlib.suppress(BrokenOff):
            super().run()

    def break_off(self) -> None:
        """Give a thread that was told to end a moment to do so, then raise `BrokenOff` in it until it does.

        A single library call, such as one that waits for a network, is not aborted: after a while this
        returns, and whoever ends the process has to check whether the thread is still alive.
        """
        begin = time.monotonic()
        self.join(GLANCE_S)
        while self.is_alive() and time.monotonic() - begin < PATIENCE_S:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self.ident or 0), ctypes.py_object(BrokenOff)
            )
            self.join(GLANCE_S)
