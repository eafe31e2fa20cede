"""What programs tell a terminal: errors as one line, commands to type, and messages from signal handlers."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn

USAGE_ERROR = 2  # exit status of all errors in arguments or files


class OneLineParser(argparse.ArgumentParser):
    """An argument parser that reports errors as one line."""

    def error(self, message: str) -> NoReturn:
        """Print `message` as one line and exit with status 2."""
        self.exit(USAGE_ERROR, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def fail(prog: str, message: object) -> int:
    """Print an error as one line; returns the exit status."""
    sys.stderr.write(f"{prog}: error: {' '.join(str(message).split())}\n")
    return USAGE_ERROR


def as_command(words: Iterable[str]) -> str:
    """Return words as a line for the system's own shell, which in Windows knows no single quotes."""
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def tell(text: str) -> None:
    """Write a line to the terminal, if it is still there.

    It does not go through sys.stderr, since a signal may interrupt a write to that. Nor does it raise: a
    Ctrl-C also ends what a pipe leads to, such as `tee`.
    """
    with contextlib.suppress(OSError):
        os.write(2, f"\n{text}\n".encode())


@contextlib.contextmanager
def on_interrupt(react: Callable[[], object]) -> Iterator[None]:
    """In its `with` statement, Ctrl-C calls `react` and interrupts nothing; in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: react())
    try:
        yield
    finally:
        if before is not None:  # None was set outside Python
            signal.signal(signal.SIGINT, before)
