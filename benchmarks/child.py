"""Commands in processes of their own, and files that are either whole or not there."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

LATE = 124  # status of what did not end in time
GRACE_S = 5.0  # for a command to end what it has started itself
INTERRUPT_S = 20.0  # for one to report
ENDS = (signal.SIGTERM, signal.SIGKILL)
PARENT_DEATH = 1  # PR_SET_PDEATHSIG of Linux's prctl

Done = subprocess.CompletedProcess[str]


def run(command: Sequence[str], limit_s: float, *, quiet: bool = True, log: Path | None = None) -> Done:
    """Run a command to its end, or to that of its time; then nothing that it has started goes on.

    A command that starts others by this function has to call `end_with_children` before. On Linux it ends
    with the thread that called this, too, however that ends: some kill outright whose time is up.

    Args:
        command: the program and its arguments.
        limit_s: how long it may take.
        quiet: whether its messages are kept, and not shown as they come.
        log: a file for all that it prints, as it comes; when time is up it is interrupted first, as by a
            user, so that it can say how far it was.

    Returns:
        What it has printed, where there is no log, and its status: `LATE` where time was up.
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
            status = LATE if process.poll() is None else process.returncode  # others may hold its output open
            _end(process, signals)
            out, err = _printed(process)
        except BaseException:  # this process is to end
            _end(process, ENDS)
            raise
    return subprocess.CompletedProcess(list(command), status, out, err)


def end_with_children() -> None:
    """Let a request to end this process end what `run` has started, too, which has a session of its own."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, lambda *_: sys.exit(LATE))


def _mortal() -> list[str]:
    """What to write before a command so that it ends with this process."""
    if sys.platform != "linux":
        return []
    return [sys.executable, "-I", "-S", __file__, str(os.getpid())]  # without packages, as it starts sooner


def become(parent: int, command: Sequence[str]) -> None:
    """Turn this process into a command that is killed when its parent has ended.

    The system is asked here and not between fork and exec, where Python is not safe in a process that has
    threads; what it has noted outlasts the change of program.

    Args:
        parent: the process that started this one; where it is another by now, it has ended already.
        command: the program and its arguments.

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
    """End a command and all that it has started: it is asked to, and then not asked."""
    for number in signals:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(INTERRUPT_S if number == signal.SIGINT else GRACE_S)


def _printed(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a command that has ended had printed; nothing where somebody still holds its output open."""
    try:
        return process.communicate(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        return "", ""


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
