"""Write files atomically: at any time there is the old one or the new one, never half of either."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Replace the content of a text file atomically."""
    with in_one_step(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")
