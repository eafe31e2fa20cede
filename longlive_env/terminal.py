"""Messages from signal handlers."""

from __future__ import annotations

import contextlib
import os


def tell(text: str) -> None:
    """Write a line to the terminal, if it is still there.

    It does not go through sys.stderr, since a signal may interrupt a write to that. Nor does it raise: a
    Ctrl-C also ends what a pipe leads to, such as `tee`.
    """
    with contextlib.suppress(OSError):
        os.write(2, f"\n{text}\n".encode())
