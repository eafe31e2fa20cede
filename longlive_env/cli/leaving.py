"""The end of the process, also where a thread computes on."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

OURS = "longlive-"  # how the names of our threads begin


def leave(status: int) -> int:
    """End the process at once if a thread of ours computes on; return `status` if none does.

    Python ends such threads in a way that aborts the process if they are inside torch. This one was broken
    off and has not heard of it yet, see `viewer.breakable`. By now all files are finished and all is told, so
    there is nothing left that an orderly end would do.
    """
    if any(thread.daemon and thread.name.startswith(OURS) for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # its reader has left, or it is closed
                stream.flush()
        os._exit(status)
    return status
