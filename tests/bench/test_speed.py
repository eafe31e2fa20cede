"""`longlive bench` on a small world with random weights: figures, files, status."""

import json
import re
import weakref
from pathlib import Path

import pytest
from PIL import Image

from longlive_env import World
from longlive_env.bench import BenchConfig, bench, open_world
from longlive_env.bench.blocks import _summary
from longlive_env.cli import main
from longlive_env.cli.bench import table
from longlive_env.errors import ConfigError


def test_bench_writes_consistent_figures(
    small_world_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All but those of a fresh process; the large world has one."""
    fresh = dict.fromkeys(("import_s", "load_s", "first_block_ms", "peak_rss_mb"), 1.0)
    monkeypatch.setattr("longlive_env.bench.speed.fresh_process", lambda config: fresh)
    out = tmp_path / "results" / "small.json"
    assert (
        main(
            ["bench", "--world", str(small_world_folder), "--blocks", "3", "--batch", "2", "--out", str(out)]
        )
        == 0
    )
    report = json.loads(out.read_text())
    whole, parts = report["end_to_end"], [report["transformer"], report["decode"]]
    assert len(whole["block_ms"]["all"]) == 3
    assert whole["fps"] == pytest.approx(3 * 2 * 12 / sum(whole["block_ms"]["all"]) * 1e3, rel=0.01)
    assert sum(sum(part["block_ms"]["all"]) for part in parts) <= sum(whole["block_ms"]["all"]) * 1.02
    assert report["prompt_switch"]["recache_ms"] > 0 and report["first_block_ms"] > 0
    assert report["keep_ms"] > 0
    parts = report["roofline"]["parts"]
    assert 0 < parts["transformer"]["of_matrix_ceiling"] < 1 and parts["decode"]["operations_a_byte"] is None
    assert report["memory_mb"]["predicted"] > 0 and report["warm_up_s"] > 0
    assert Image.open(out.with_suffix(".png")).size == (960, 600)
    assert report["torch"] and report["machine"]["threads"] and "commit" in report
    printed = capsys.readouterr().out
    assert "end to end, with patch_vae" in printed and "2 worlds in a batch" in printed
    assert "a block ahead" not in printed  # it is a GPU that works while frames are on their way
    on_gpu = table({**report, "stream": {**whole, "fps": 12.34}})
    assert re.search(r"the same, a block ahead +12\.3 FPS", on_gpu)


@pytest.mark.parametrize(("count", "want"), [(1, 1.0), (20, 19.0), (21, 20.0), (100, 95.0)])
def test_the_95th_percentile_is_no_maximum(count: int, want: float) -> None:
    found = _summary([float(number) for number in range(count, 0, -1)], frames=count)["block_ms"]
    assert found["p95"] == want and found["max"] == count


def test_the_large_world_runs_cut_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same commands as on a GPU, where there is none."""
    monkeypatch.setattr("longlive_env.bench.blocks.REPEATS", 1)
    monkeypatch.setattr("longlive_env.bench.speed.roofline", lambda *arguments, **options: {})
    arguments = ["--world", "1.3b", "--random-weights", "--codec", "light", "--blocks", "1"]
    status = main(
        ["bench", *arguments, "--size", "32x32", "--layers", "1", "--out", str(tmp_path / "a.json")]
    )
    assert status == 0 and "light_vae" in capsys.readouterr().out
    report = json.loads((tmp_path / "a.json").read_text())
    assert report["config"]["size"] == [32, 32] and report["config"]["layers"] == 1
    assert report["memory_mb"]["predicted"] > 100
    assert report["fresh_process"] and all(value > 0 for value in report["fresh_process"].values())
    with pytest.raises(SystemExit):
        main(["bench", *arguments, "--size", "large"])
    assert "such as 96x64" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="random weights only"):
        BenchConfig(layers=1)


@pytest.mark.parametrize("threads", [0, 1025, 100_000])
def test_no_more_threads_than_torch_survives(threads: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=f"^threads is {threads}; expected 1 to 1024$"):
        BenchConfig(threads=threads)
    for kind in ([], ["--env"], ["--viewer"], ["--kernels"]):
        assert main(["bench", "--threads", str(threads), *kind]) == 2
        assert capsys.readouterr().err == f"longlive bench: error: threads is {threads}; expected 1 to 1024\n"


def test_a_precision_is_compared_with_the_default(
    small_world_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longlive_env.bench.speed.fresh_process", lambda config: {})
    monkeypatch.setattr("longlive_env.bench.speed.roofline", lambda *arguments, **options: {})
    config = BenchConfig(world=str(small_world_folder), precision="bf16", blocks=2)
    figures = bench(config)
    for part in ("end_to_end", "transformer"):
        default, own = figures["default_precision"][part], figures[part]["block_ms"]["median"]
        assert default["speedup"] == pytest.approx(default["block_ms"] / own, rel=0.01)
    plain = bench(BenchConfig(world=str(small_world_folder), blocks=1, thorough=False))
    assert (
        "default_precision" not in plain
        and "uncompiled" not in plain
        and plain["roofline"] is None
        and plain["fresh_process"] is None
    )


def test_a_world_is_gone_before_the_one_that_it_is_compared_with(
    small_world_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of them would not fit, or the second would be arranged for what the first has left."""
    opened: list[weakref.ref[World]] = []

    def watched(config: BenchConfig) -> World:
        assert all(world() is None for world in opened)
        world = open_world(config)
        world.codec.itself = world.codec.decode  # type: ignore[assignment]  # as a compiled one does
        opened.append(weakref.ref(world))
        return world

    monkeypatch.setattr("longlive_env.bench.speed.open_world", watched)
    monkeypatch.setattr("longlive_env.bench.speed.fresh_process", lambda config: {})
    monkeypatch.setattr("longlive_env.bench.speed.roofline", lambda *arguments, **options: {})
    assert bench(BenchConfig(str(small_world_folder), precision="bf16", blocks=1))["default_precision"]
    assert len(opened) == 2


def test_worlds_without_a_text_encoder_are_timed_too(
    monkeypatch: pytest.MonkeyPatch, small_world: World
) -> None:
    small = World(small_world.config, small_world.transformer, small_world.codec)
    monkeypatch.setattr("longlive_env.bench.speed.open_world", lambda config: small)
    monkeypatch.setattr("longlive_env.bench.speed.fresh_process", lambda config: {})
    assert bench(BenchConfig(blocks=1, thorough=False))["end_to_end"]["fps"] > 0
