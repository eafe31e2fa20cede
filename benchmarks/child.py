"""Commands in separate processes, and files that are either complete or absent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

LATE = 124  # status of a command that did not end in time
GRACE_S = 5.0  # for a command to end its own children
INTERRUPT_S = 20.0  # for a command to report
ENDS = (signal.SIGTERM, signal.SIGKILL)
PARENT_DEATH = 1  # PR_SET_PDEATHSIG of Linux's prctl

Done = subprocess.CompletedProcess[str]


def run(command: Sequence[str], limit_s: float, *, quiet: bool = True, log: Path | None = None) -> Done:
    """Run a command until it ends or its time is up, and end everything that it has started.

    A command that starts others with this function has to call `end_with_children` first. On Linux the
    command also ends with the calling thread, even if that is killed when its own time is up.

    Args:
        command: program and its arguments.
        limit_s: time limit.
        quiet: whether its messages are kept instead of shown as they come.
        log: file for everything that it prints, as it comes; when time is up, the command is first
            interrupted, as by a user, so that it can report its progress.

    Returns:
        What it has printed, if there is no log, and its status: `LATE` if time was up.
    """
    pipe, signals = subprocess.PIPE, ENDS if log is None else (signal.SIGINT, *ENDS)
    with (
        open(os.devnull if log is None else log, "w") as kept,
        subprocess.Popen(
            [*_mortal(), *command],
            stdout=pipe if log is None else kept,
            stderr=subprocess.STDOUT if log is not None else pipe if quiet else None,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        try:
            out, err = process.communicate(timeout=limit_s)
            status = process.returncode
        except subprocess.TimeoutExpired:
            status = LATE if process.poll() is None else process.returncode  # others may hold its output
            _end(process, signals)
            out, err = _printed(process)
        except BaseException:  # this process has to end
            _end(process, ENDS)
            raise
    return subprocess.CompletedProcess(list(command), status, out, err)


def end_with_children() -> None:
    """Make a request to end this process also end what `run` has started, which has its own session."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, lambda *_: sys.exit(LATE))


def _mortal() -> list[str]:
    """Return a command prefix that makes a command end with this process."""
    if sys.platform != "linux":
        return []
    return [sys.executable, "-I", "-S", __file__, str(os.getpid())]  # without packages, to start faster


def become(parent: int, command: Sequence[str]) -> None:
    """Turn this process into a command that is killed when its parent has ended.

    The request is made here and not between fork and exec, where Python is unsafe in a process with threads;
    it remains in force when the program changes.

    Args:
        parent: process that started this one; if the parent is another by now, it has already ended.
        command: program and its arguments.

    Raises:
        OSError: the system refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PARENT_DEATH, ctypes.c_ulong(signal.SIGKILL), *[ctypes.c_ulong(0)] * 3):
        raise OSError(ctypes.get_errno(), "prctl refuses to end this process with its parent")
    if os.getppid() != parent:
        sys.exit(LATE)
    os.execvp(command[0], [*command])


def _end(process: subprocess.Popen[str], signals: Sequence[signal.Signals]) -> None:
    """End a command and all that it has started: first by request, then by force."""
    for number in signals:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(INTERRUPT_S if number == signal.SIGINT else GRACE_S)


def _printed(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Return what an ended command has printed; nothing if another process still holds its output open."""
    try:
        return process.communicate(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        return "", ""


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
