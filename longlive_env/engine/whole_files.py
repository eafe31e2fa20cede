"""Files that are whole at any time: the old one or the new one, never half of either."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def in_one_step(path: Path, sync: bool = False) -> Iterator[Path]:
    """A file to write instead of `path`, whose place it takes at the end; it goes if writing fails.

    Args:
        path: the file; its folder exists.
        sync: wait for the disk, so that a machine that loses power keeps one of the two as well.
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
    """Replace the content of a text file, in one step."""
    with in_one_step(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")
