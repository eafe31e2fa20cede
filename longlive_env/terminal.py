"""What programs tell a terminal: errors as one line, and messages from signal handlers."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
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


def tell(text: str) -> None:
    """Write a line to the terminal, if it is still there.

    It does not go through sys.stderr, since a signal may interrupt a write to that. Nor does it raise: a
    Ctrl-C also ends what a pipe leads to, such as `tee`.
    """
    with contextlib.suppress(OSError):
        os.write(2, f"\n{text}\n".encode())
