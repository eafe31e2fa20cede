"""One recording at a time in a folder. The lock ends with the process, however that ends."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from longlive_env.errors import RecordingError

logger = logging.getLogger(__name__)

WINDOWS_NAME = ".recording"  # there a folder cannot be locked; this file goes with whoever holds it


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder against other recordings, where the file system has locks.

    Raises:
        RecordingError: another recording uses it.
    """
    try:
        held = _lock(folder)
    except BlockingIOError:
        raise RecordingError(
            f"another recording goes into {folder} right now; wait for its end, or choose another folder"
        ) from None
    except OSError as error:
        logger.debug("%s cannot be locked: %s", folder, error)
        yield
        return
    owner = os.getpid()
    try:
        yield
    finally:
        if os.getpid() == owner:  # a fork has a copy, which is no reason to let go
            _unlock(held)
        os.close(held)


if sys.platform == "win32":
    import msvcrt

    def _lock(folder: Path) -> int:
        """The descriptor that holds the folder; BlockingIOError if another one does."""
        try:
            held = os.open(folder / WINDOWS_NAME, os.O_CREAT | os.O_RDWR | os.O_TEMPORARY)
        except PermissionError:  # the folder can be written: another file of the name is about to go
            raise BlockingIOError from None
        try:
            msvcrt.locking(held, msvcrt.LK_NBLCK, 1)
        except OSError:
            os.close(held)
            raise BlockingIOError from None
        return held

    def _unlock(held: int) -> None:
        with contextlib.suppress(OSError):
            msvcrt.locking(held, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(folder: Path) -> int:
        """The descriptor that holds the folder; BlockingIOError if another one does."""
        held = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(held)
            raise
        return held

    def _unlock(held: int) -> None:
        with contextlib.suppress(OSError):
            fcntl.flock(held, fcntl.LOCK_UN)
