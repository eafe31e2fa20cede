"""Write files atomically: at any time there is the old one or the new one, never half of either."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WAITS_S = (0.05, 0.1, 0.2, 0.4, 0.75)  # between attempts to replace a file that is in use


@contextmanager
def in_one_step(path: Path, sync: bool = False) -> Iterator[Path]:
    """Yield a file to write, which replaces `path` at the end, or is removed if writing fails.

    Args:
        path: file to replace; its folder exists.
        sync: whether to wait for the disk, so that one of the two also survives a loss of power.
    """
    aside = path.with_name(f"{path.name}.{os.getpid()}.part")  # several processes may write the same
    try:
        yield aside
        if sync:
            with open(aside, "rb+") as written:  # Windows syncs what is open for writing
                os.fsync(written.fileno())
        _replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _replace(aside: Path, path: Path) -> None:
    """Rename a file; in Windows, give another program that has `path` open a moment to close it."""
    waits_s = iter(WAITS_S if sys.platform == "win32" else ())
    while True:
        try:
            os.replace(aside, path)
            return
        except PermissionError as error:
            if sys.platform != "win32":
                raise
            wait_s = next(waits_s, None)
            if wait_s is None:
                reason = "open in another program, or read-only"
                raise PermissionError(error.errno, reason, str(path)) from error
            time.sleep(wait_s)


def write_whole(path: Path, text: str) -> None:
    """Replace the content of a text file atomically."""
    with in_one_step(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")
