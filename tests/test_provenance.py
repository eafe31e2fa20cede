"""Figures say where they come from."""

from pathlib import Path

import pytest

from longlive_env import provenance as module
from longlive_env.provenance import commit, fingerprint, provenance


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


@pytest.mark.parametrize("name", ["models/lora.pt", "wan/vae.pth", "transformer.safetensors", "config.json"])
def test_a_fingerprint_is_of_all_weights(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    (tmp_path / "config.json").write_text("{}")
    file.write_bytes(b"one")
    before = fingerprint(str(tmp_path))
    file.write_bytes(b"two")
    assert fingerprint(str(tmp_path)) != before
