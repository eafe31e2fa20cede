"""Ending the process, even while a thread is still computing."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

OURS = "longlive-"  # prefix of our threads' names


def leave(status: int) -> int:
    """End the process at once if one of our threads is still computing; otherwise return `status`.

    Python ends such threads in a way that aborts the process if they are inside torch. The thread was aborted
    but has not reacted yet, see `viewer.breakable`. By now all files are finished and all messages shown, so
    an orderly exit would have nothing left to do.
    """
    if any(thread.daemon and thread.name.startswith(OURS) for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # its reader has left, or it is closed
                stream.flush()
        os._exit(status)
    return status
