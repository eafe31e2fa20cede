"""`longlive bench --kernels`: the table is printed, kept, and chosen by."""

import json
from pathlib import Path

import pytest
import torch

from longlive_env import World
from longlive_env.bench import BenchConfig, open_world
from longlive_env.cli import main
from longlive_env.engine.kernel_table import table_of, use_table


def test_kernels_are_timed_and_kept(
    small_world_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LONGLIVE_HOME", str(tmp_path / "home"))
    out, cpu = tmp_path / "kernels.json", torch.device("cpu")
    world = ["--world", str(small_world_folder)]
    assert main(["bench", "--kernels", *world, "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["machine"] and all(set(row["us"]) == {"sdpa", "matmul"} for row in report["table"]["calls"])
    printed = capsys.readouterr().out
    assert f"kept in {report['file']}" in printed and "* is the fastest" in printed
    monkeypatch.setenv("LONGLIVE_HOME", "/dev/null")
    assert main(["bench", "--kernels", *world, "--out", str(out)]) == 0
    assert json.loads(out.read_text())["file"] is None and "kept in" not in capsys.readouterr().out
    monkeypatch.setenv("LONGLIVE_HOME", str(tmp_path / "home"))
    try:
        World.load(small_world_folder)
        assert table_of(cpu) is not None
        open_world(BenchConfig(str(small_world_folder), measured=False))
        assert table_of(cpu) is None
    finally:
        use_table(cpu, None)
    with pytest.raises(SystemExit):
        main(["bench", "--kernels", "--env"])
