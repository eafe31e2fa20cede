"""The measurement behind the table of returns in docs/rl.md runs, on the shipped world."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from scripts import benchmark


@pytest.fixture
def returns() -> ModuleType:
    return benchmark("returns")


def test_returns_are_measured(returns: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "report.json"
    monkeypatch.setattr(returns, "POLICIES", {"asks": returns.asks})
    monkeypatch.setattr(
        sys, "argv", ["returns.py", "--ids", returns.IDS[0], "--episodes", "2", "--out", str(out)]
    )
    returns.main()
    report = json.loads(out.read_text())
    found = report["envs"]["LongLive/TinyGoal-v0"]["asks"]
    assert found["success"]["mean"] == 1 and found["return"]["mean"] > 0.9 and found["steps"]["mean"] < 12
    assert report["episodes"] == 2 and report["files_digest"] and report["machine"]
