"""The measurements behind docs/rl.md run, on the shipped world."""

import json
import sys
from pathlib import Path

import pytest
from scripts import benchmark


def test_steering_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steering = benchmark("steering")
    arguments = ["steering.py", "--worlds", "2", "--table", "4", "--out", str(tmp_path / "report.json")]
    monkeypatch.setattr(sys, "argv", arguments)
    steering.main()
    report = json.loads((tmp_path / "report.json").read_text())
    vectors, frames = report["vectors"], report["frames"]
    assert report["machine"] and vectors["worlds"] == frames["worlds"] == 2
    for found in (vectors["text"], vectors["nearest"], vectors["direct"], frames["picture"], frames["clip"]):
        assert {"subject", "colour", "setting", "weather"} <= found.keys()
    assert 0 < frames["clip"]["jump"] < frames["prompt alone"]["jump"]
