"""`longlive bench --viewer` on a small world with random weights: figures that fit together, and refusals."""

import json
from pathlib import Path

import pytest

from longlive_env.bench import BenchConfig
from longlive_env.bench.viewer import bench_viewer
from longlive_env.cli import main
from longlive_env.errors import ConfigError


def test_keys_are_timed_to_the_picture(
    small_world_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pygame")
    out = tmp_path / "viewer.json"
    arguments = ["bench", "--viewer", "--world", str(small_world_folder), "--blocks", "2", "--out", str(out)]
    assert main(arguments) == 0
    report = json.loads(out.read_text())
    config = report["config"]
    assert (config["base"]["blocks"], config["size"], config["seed"]) == (2, [1280, 720], 0)
    latency, still = report["latency_ms"], report["still_ms"]
    assert len(latency["all"]) == len(still["all"]) == 2 and latency["worst"] == max(latency["all"])
    for one, waited, block in zip(latency["all"], still["all"], report["block_ms"]["all"], strict=True):
        assert 0 <= waited < one and block < one  # a block is made, and begun to be shown, after its key
    assert all(value > 0 for value in report["recache_ms"]["all"])
    assert 0 < report["picture_fps"] <= 20 and report["machine"]["threads"] and "commit" in report
    printed = capsys.readouterr().out
    assert "key to first new frame" in printed and "2 prompt switches" in printed


def test_what_cannot_be_timed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="random weights"):
        bench_viewer(BenchConfig(random_weights=True))
    with pytest.raises(ConfigError, match="batch is 2"):
        bench_viewer(BenchConfig(batch=2))
    with pytest.raises(SystemExit):
        main(["bench", "--env", "--viewer"])
    assert "run them one by one" in capsys.readouterr().err
