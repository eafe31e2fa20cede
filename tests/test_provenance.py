"""Figures say where they come from."""

import locale
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from longlive_env import provenance as module
from longlive_env.provenance import commit, digest, files_digest, hardware, provenance

ROOT = Path(__file__).parents[1]


def test_provenance_names_what_is_needed_to_repeat() -> None:
    found = provenance()
    assert found["device"] == "cpu" and found["machine"]["cores"] >= 1 and found["command"]
    head = commit()
    assert head is None or len(head.removesuffix("-dirty")) == 40


@pytest.mark.parametrize(
    ("program", "command"),
    [
        ("/usr/bin/longlive", "longlive eval"),
        (str(module.PACKAGE / "__main__.py"), "python -m longlive_env eval"),
        (str(module.PACKAGE / "training" / "__main__.py"), "python -m longlive_env.training eval"),
        ("/elsewhere/__main__.py", "__main__.py eval"),
    ],
)
def test_a_command_is_one_that_can_be_given_again(
    monkeypatch: pytest.MonkeyPatch, program: str, command: str
) -> None:
    monkeypatch.setattr("sys.argv", [program, "eval"])
    assert provenance()["command"] == command


def test_a_copy_without_its_history_is_told_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGLIVE_COMMIT", "0123abcd")
    answers = {"rev-parse --show-toplevel": str(module.PACKAGE.parent), "rev-parse HEAD": "f" * 40}
    monkeypatch.setattr(module, "_git", lambda *words: answers.get(" ".join(words)))
    assert commit() == "f" * 40  # which git knows better
    answers.clear()
    assert commit() == provenance()["commit"] == "0123abcd"
    monkeypatch.setenv("LONGLIVE_COMMIT", "")
    assert commit() is None


def test_hardware_is_the_gpu_or_the_cpu_with_its_threads() -> None:
    machine = {"cpu": "A CPU", "cores": 4, "threads": 1}
    assert hardware(machine) == "A CPU, 1 thread"
    assert hardware(machine | {"threads": 4}) == "A CPU, 4 threads"
    assert hardware(machine | {"gpu": "A GPU"}) == "A GPU"


@pytest.mark.parametrize("name", ["models/lora.pt", "wan/vae.pth", "transformer.safetensors", "config.json"])
def test_a_fingerprint_is_of_all_weights(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    (tmp_path / "config.json").write_text("{}")
    file.write_bytes(b"one")
    before = files_digest(str(tmp_path))
    file.write_bytes(b"two")
    assert files_digest(str(tmp_path)) != before


def test_a_fingerprint_does_not_follow_the_systems_order_of_names(tmp_path: Path) -> None:
    class WindowsPath(type(Path())):  # type: ignore[misc]
        def __lt__(self, other: Path) -> bool:
            return str(self).lower() < str(other).lower()

    names = ("b.json", "a/c.json", "B.json", "a-b.json")
    (tmp_path / "a").mkdir()
    for name in names:
        (tmp_path / name).write_text(name)
    paths = [WindowsPath(tmp_path / name) for name in names]
    assert [path.name for path in sorted(paths)] == ["a-b.json", "c.json", "b.json", "B.json"]
    assert digest(paths) == digest(reversed(paths)) == files_digest(str(tmp_path)) == "6b601a889ba20935"


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_checkout_in_windows_has_the_same_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where git writes CRLF by default."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    shutil.copytree(ROOT / "tests" / "data" / "parity" / "mini", ours)
    shutil.copy(module.PACKAGE / "assets" / "tiny" / "config.json", ours)
    shutil.copy(ROOT / ".gitattributes", ours)
    files = [path.relative_to(ours) for path in ours.rglob("*") if path.is_file()]
    for command in (
        ["init", "--quiet"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "--message", "all"],
        ["-c", "core.autocrlf=true", "clone", "--quiet", ".", str(theirs)],
    ):
        subprocess.run(["git", *command], cwd=ours, check=True, timeout=60)
    assert digest(theirs / file for file in files) == digest(ours / file for file in files)


def test_what_git_says_is_read_in_any_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = tmp_path / "git"
    git.write_text("#!/bin/sh\nprintf 'gr\\303\\274n \\377\\n'\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(locale, "getencoding", lambda: "ascii")
    monkeypatch.setattr(locale, "getpreferredencoding", lambda do_setlocale=True: "ascii")
    assert module._git("rev-parse", "--show-toplevel") == "grün \N{REPLACEMENT CHARACTER}"
    assert provenance()["commit"] is None
