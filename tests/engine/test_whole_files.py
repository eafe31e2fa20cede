"""A file is the old one or the new one, whatever happens while it is written."""

import os
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
