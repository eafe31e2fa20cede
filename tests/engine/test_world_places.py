from pathlib import Path

import pytest

from longlive_env.engine.world_places import find, record_file, worlds_home, writable
from longlive_env.errors import ConfigError, WeightsError


def test_absent_weights_name_the_folder_and_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGLIVE_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=rf"{tmp_path / '1.3b'}.*longlive download 1.3b"):
        find("1.3b")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LONGLIVE_HOME", "~/mine")  # as files of variables have it
    with pytest.raises(WeightsError, match=str(tmp_path / "mine" / "1.3b")):
        find("1.3b")
    with pytest.raises(ConfigError, match="did you mean 'tiny'"):
        find("tinny")


def test_worlds_are_found_by_path_by_record_and_in_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGLIVE_HOME", str(tmp_path))
    assert find(tmp_path) == tmp_path == worlds_home()
    (tmp_path / "elsewhere").mkdir()
    record_file("1.3b").write_text(f'{{"folder": "{tmp_path / "elsewhere"}"}}')
    assert find("1.3b") == tmp_path / "elsewhere"
    assert find("tiny").parent.name == "assets"


@pytest.mark.parametrize("record", ["{}", "[]", '{"folder": 3}'])
def test_a_record_without_a_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: str
) -> None:
    monkeypatch.setenv("LONGLIVE_HOME", str(tmp_path))
    record_file("1.3b").write_text(record)
    with pytest.raises(WeightsError, match=r"1\.3b\.json names no folder; delete it, then get the pub"):
        find("1.3b")


def test_a_folder_is_made_where_it_can_be_written(tmp_path: Path) -> None:
    assert writable(tmp_path / "new" / "one") == tmp_path / "new" / "one"
    assert (tmp_path / "new" / "one").is_dir()
    (tmp_path / "file").touch()
    assert writable(tmp_path / "file" / "one") is None
