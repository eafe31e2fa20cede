"""A file is the old one or the new one, whatever happens while it is written."""

import errno
import os
import time
from pathlib import Path

import pytest

from longlive_env.engine.whole_files import in_one_step, write_whole


@pytest.mark.parametrize("sync", [False, True])
def test_a_file_is_whole_or_the_one_before(tmp_path: Path, sync: bool) -> None:
    file = tmp_path / "results.json"
    file.write_text("before")
    with pytest.raises(KeyboardInterrupt), in_one_step(file, sync) as aside:
        aside.write_text("ha")
        raise KeyboardInterrupt
    assert file.read_text() == "before" and [*tmp_path.iterdir()] == [file]
    with in_one_step(file, sync) as aside:
        aside.write_text("after")
        assert file.read_text() == "before"
    assert file.read_text() == "after" and [*tmp_path.iterdir()] == [file]


def test_nothing_is_left_where_a_file_cannot_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(f"{target} is open elsewhere")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError, match="open elsewhere"):
        write_whole(tmp_path / "note.json", "{}")
    assert not [*tmp_path.iterdir()]


def test_text_is_the_same_bytes_everywhere(tmp_path: Path) -> None:
    write_whole(tmp_path / "note.txt", "häufig\n")
    assert (tmp_path / "note.txt").read_bytes() == "häufig\n".encode()


@pytest.mark.parametrize("refusals", [2, 100])
def test_windows_waits_for_the_program_that_has_a_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusals: int
) -> None:
    file = tmp_path / "note.json"
    file.write_text("before")
    replace, left, waited_s = os.replace, [refusals], []

    def shared(source: Path, target: Path) -> None:
        if left[0]:
            left[0] -= 1
            raise PermissionError(errno.EACCES, "Access is denied", str(source), 5, str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", shared)
    monkeypatch.setattr(time, "sleep", waited_s.append)
    with pytest.raises(PermissionError, match="Access is denied"):  # a system that does not share so
        write_whole(file, "after")
    assert not waited_s
    left[0] = refusals
    monkeypatch.setattr("sys.platform", "win32")
    if refusals == 2:
        write_whole(file, "after")
        assert len(waited_s) == 2
    else:
        with pytest.raises(PermissionError, match="open in another program") as caught:
            write_whole(file, "after")
        assert caught.value.filename == str(file) and 1 <= sum(waited_s) <= 2
    assert file.read_text() == ("after" if refusals == 2 else "before") and [*tmp_path.iterdir()] == [file]
