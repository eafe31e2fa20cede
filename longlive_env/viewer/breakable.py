"""A thread whose work can be broken off once nobody waits for it any more."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from collections.abc import Callable

GLANCE_S = 0.1  # between two looks whether it has ended
PATIENCE_S = 2.0  # that it gets to end


class Breakable(threading.Thread):
    """Runs what may compute for long. The process need not wait for it.

    A thread must not be inside torch when the process ends: as soon as it asks for the interpreter again,
    Python unwinds it through frames of C++ that do not allow that, and the process aborts. What runs here may
    be anybody's code, such as an agent's, which looks at no flag; so it gets an exception between two of its
    operations, as Ctrl-C brings one to the main thread.

    Args:
        target: what it does.
        name: of the thread; one that begins with "longlive-" is known at the end of a command, see
            `cli.leaving`.
    """

    def __init__(self, target: Callable[[], None], name: str) -> None:
        super().__init__(target=target, name=name, daemon=True)

    def run(self) -> None:
        """What `start` runs in the thread."""
        with contextlib.suppress(SystemExit):
            super().run()

    def break_off(self) -> None:
        """Give a thread that was told to end a moment to do so, then raise `SystemExit` in it until it does.

        One call of a library, such as one that waits for a network, is not broken off: after a while this
        returns, and whoever ends the process has to see whether the thread is still alive.
        """
        begin = time.monotonic()
        self.join(GLANCE_S)
        while self.is_alive() and time.monotonic() - begin < PATIENCE_S:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self.ident or 0), ctypes.py_object(SystemExit)
            )
            self.join(GLANCE_S)
