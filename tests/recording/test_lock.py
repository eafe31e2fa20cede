"""A folder takes one recording at a time, and whoever holds it lets go when it ends, however that is."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from longlive_env.errors import RecordingError
from longlive_env.recording import lock
from longlive_env.recording.lock import locked

HOLDS = """
import sys, time
from pathlib import Path
from longlive_env.recording.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""
FORKS = """
import os, sys
from pathlib import Path
from longlive_env.recording.lock import locked
folder = Path(sys.argv[1])
with locked(folder):
    child = os.fork()
    if not child:
        sys.exit()  # which ends the `with` statement of the child alone
    os.waitpid(child, 0)
    try:
        with locked(folder):
            print("another one holds it, too")
    except ValueError:
        print("held")
"""


def test_the_second_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    with locked(tmp_path):
        with (
            pytest.raises(RecordingError, match="wait for its end, or choose another folder"),
            locked(tmp_path),
        ):
            pass
        if sys.platform != "win32":
            assert not list(tmp_path.iterdir())
    with locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_process_that_is_killed_lets_go(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(RecordingError, match="another recording goes into"), locked(tmp_path):
            pass
    finally:
        other.kill()
        other.communicate()
    with locked(tmp_path):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_that_ends_does_not_let_go(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FORKS, str(tmp_path)], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("held\n", 0), done.stderr


def test_a_file_system_without_locks_takes_recordings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(folder: Path) -> int:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "_lock", none)
    with locked(tmp_path), locked(tmp_path):
        pass
