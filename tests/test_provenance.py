"""Figures say where they come from."""

from pathlib import Path

import pytest

from longlive_env import provenance as module
from longlive_env.provenance import commit, files_digest, hardware, provenance


def test_provenance_names_what_is_needed_to_repeat() -> None:
    found = provenance()
    assert found["device"] == "cpu" and found["machine"]["cores"] >= 1 and found["command"]
    head = commit()
    assert head is None or len(head.removesuffix("-dirty")) == 40


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
