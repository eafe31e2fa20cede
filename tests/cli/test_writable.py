"""Places that take no files are told before anything is measured, and what was measured is printed first."""

import errno
from pathlib import Path
from typing import Any

import pytest
from command_line import leaves_with

from longlive_env import World
from longlive_env.cli.writable import check_writable
from longlive_env.errors import ConfigError


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders take no new files, as /proc does, whoever asks."""

    def refuse(**options: object) -> None:
        raise OSError(errno.EACCES, "Permission denied", "some temporary name")

    monkeypatch.setattr("longlive_env.cli.writable.TemporaryFile", refuse)


def measure(*arguments: Any, **options: Any) -> None:
    raise AssertionError("measured, and would not have been kept")


@pytest.mark.parametrize(
    ("argv", "file"),
    [
        (["eval"], "report.json"),
        (["eval", "--precision", "bf16"], "precisions.json"),
        (["eval", "--ablation"], "ablation.json"),
        (["bench"], "new/figures.json"),
        (["tiny"], "scenes.png"),
    ],
)
def test_a_closed_place_is_told_before_anything_is_measured(
    argv: list[str],
    file: str,
    closed: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(World, "load", measure)
    monkeypatch.setattr("longlive_env.bench.bench", measure)
    monkeypatch.setattr("longlive_env.ablation.Study", measure)
    monkeypatch.setattr("longlive_env.tiny.render.contact_sheet", measure)
    out = tmp_path if argv[0] == "eval" else tmp_path / file
    status, printed, err = leaves_with(capsys, *argv, "--out", str(out))
    expected = f"{tmp_path / file} cannot be written (Permission denied); choose another place"
    assert (status, printed, err) == (2, "", f"longlive {argv[0]}: error: {expected}\n")


def test_the_page_of_an_ablation_needs_a_place_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longlive_env.ablation.Study", measure)
    (tmp_path / "file").touch()
    argv = ["eval", "--ablation", "--out", str(tmp_path), "--docs", str(tmp_path / "file")]
    page = tmp_path / "file" / "world-quality.md"
    expected = f"{page} cannot be written (File exists); choose another place"
    assert leaves_with(capsys, *argv) == (2, "", f"longlive eval: error: {expected}\n")


@pytest.mark.parametrize("command", ["tiny --out", "scenarios new", "play --write-keys"])
def test_a_folder_that_cannot_be_there_is_told(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / ("in.png" if "tiny" in command else "in.yaml")
    name, *options = command.split()
    told = f"longlive {name}: error: {path} cannot be written (File exists); choose another place\n"
    assert leaves_with(capsys, name, *options, str(path)) == (2, "", told)


def test_what_can_be_written_stays_as_it_is(tmp_path: Path) -> None:
    there, new = tmp_path / "there.json", tmp_path / "folder" / "new.json"
    there.write_text("of yesterday", encoding="utf-8")
    check_writable(there, new)
    assert there.read_text(encoding="utf-8") == "of yesterday" and not list(new.parent.iterdir())


def test_a_file_of_somebody_else_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    there = tmp_path / "there.json"
    there.touch()
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ConfigError, match=r"there.json cannot be written \(Permission denied\)"):
        check_writable(there)


def test_a_pipe_is_left_alone(closed: None) -> None:
    check_writable(Path("/dev/null"))


def test_shares_are_printed_before_they_are_written(
    small_world_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(path: Path, content: dict[str, Any]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("longlive_env.cli.eval._write", full)
    sizes = ["--rollouts", "1", "--blocks", "6", "--batch", "1", "--rendered", "1"]
    argv = ["eval", "--world", str(small_world_folder), *sizes, "--out", str(tmp_path)]
    status, printed, err = leaves_with(capsys, *argv)
    assert status == 2 and "MISSED" in printed and err.endswith("report.json: No space left on device\n")
