"""`longlive bench` and `longlive eval` on a small world with random weights: figures, files, status."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from longlive_env import World
from longlive_env.bench import BenchConfig, bench, open_world, world_config
from longlive_env.cli import main
from longlive_env.engine.kernel_table import table_of, use_table
from longlive_env.errors import ConfigError
from longlive_env.provenance import commit, provenance


def test_bench_writes_consistent_figures(
    small_world_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
    assert all(value > 0 for value in report["fresh_process"].values())
    parts = report["roofline"]["parts"]
    assert 0 < parts["transformer"]["of_matrix_ceiling"] < 1 and parts["decode"]["operations_a_byte"] is None
    assert report["memory_mb"]["predicted"] > 0 and report["warm_up_s"] > 0
    assert Image.open(out.with_suffix(".png")).size == (960, 600)
    assert report["torch"] and report["machine"]["threads"] and "commit" in report
    printed = capsys.readouterr().out
    assert "end to end, with patch_vae" in printed and "2 worlds in a batch" in printed


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
    try:
        World.load(small_world_folder)
        assert table_of(cpu) is not None
        open_world(BenchConfig(str(small_world_folder), measured=False))
        assert table_of(cpu) is None
    finally:
        use_table(cpu, None)
    with pytest.raises(SystemExit):
        main(["bench", "--kernels", "--env"])


@pytest.mark.parametrize(("count", "want"), [(1, 1.0), (20, 19.0), (21, 20.0), (100, 95.0)])
def test_the_95th_percentile_is_no_maximum(count: int, want: float) -> None:
    from longlive_env.bench import _summary

    found = _summary([float(number) for number in range(count, 0, -1)], frames=count)["block_ms"]
    assert found["p95"] == want and found["max"] == count


def test_random_weights_need_a_preset(small_world_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"known: .*tiny"):
        open_world(BenchConfig(world=str(small_world_folder), random_weights=True))


def test_the_large_world_runs_cut_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same commands as on a GPU, where there is none."""
    monkeypatch.setattr("longlive_env.bench.SWITCHES", 1)
    monkeypatch.setattr("longlive_env.bench.roofline", lambda *arguments, **options: {})
    arguments = ["--world", "1.3b", "--random-weights", "--codec", "light", "--blocks", "1"]
    status = main(
        ["bench", *arguments, "--size", "32x32", "--layers", "1", "--out", str(tmp_path / "a.json")]
    )
    assert status == 0 and "light_vae" in capsys.readouterr().out
    report = json.loads((tmp_path / "a.json").read_text())
    assert report["config"]["size"] == [32, 32] and report["config"]["layers"] == 1
    assert report["memory_mb"]["predicted"] > 100
    with pytest.raises(SystemExit):
        main(["bench", *arguments, "--size", "large"])
    assert "such as 96x64" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="random weights only"):
        BenchConfig(layers=1)


def test_the_light_codec_can_be_asked_for() -> None:
    with pytest.raises(ConfigError, match="patch_vae"):
        open_world(BenchConfig(world="tiny", random_weights=True, codec="wan"))
    world = open_world(BenchConfig(world="tiny", random_weights=True, codec="light"))
    assert world.config.codec.kind == "light_vae"


def test_a_world_is_opened_in_the_precision_and_memory_asked_for(small_world_folder: Path) -> None:
    config = BenchConfig(world="tiny", random_weights=True, memory="8", kv_precision="fp8")
    world = open_world(config)
    assert world.memory_plan and world.memory_plan.budget_bytes == 8 << 30
    assert world.transformer.kv_dtype == torch.float8_e4m3fn
    half = open_world(BenchConfig(world="tiny", random_weights=True, precision="bf16"))
    assert {parameter.dtype for parameter in half.transformer.parameters()} == {torch.bfloat16}
    loaded = open_world(BenchConfig(world=str(small_world_folder), memory="8"))
    assert loaded.memory_plan and loaded.memory_plan.text_encoder == "resident"


def test_a_world_is_opened_with_the_positions_asked_for(small_world_folder: Path) -> None:
    own = World.load(small_world_folder).config.rope
    other: Any = "absolute" if own == "relative" else "relative"
    assert open_world(BenchConfig(str(small_world_folder), rope=other)).config.rope == other
    cut = BenchConfig("1.3b", random_weights=True, size=(32, 48), layers=1, rope="relative")
    assert world_config(cut).rope == "relative"


def test_a_world_is_opened_with_the_steps_asked_for(small_world_folder: Path) -> None:
    for config in (
        BenchConfig(world="tiny", random_weights=True, steps=2),
        BenchConfig(str(small_world_folder), steps=2),
    ):
        assert open_world(config).config.sampler.steps == world_config(config).sampler.steps == (1000, 500)


def test_a_precision_is_compared_with_the_default(
    small_world_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longlive_env.bench.fresh_process", lambda config: {})
    monkeypatch.setattr("longlive_env.bench.roofline", lambda *arguments, **options: {})
    config = BenchConfig(world=str(small_world_folder), precision="bf16", blocks=2)
    figures = bench(config)
    default, own = figures["default_precision"], figures["transformer"]["block_ms"]["median"]
    assert default["speedup"] == pytest.approx(default["block_ms"] / own, rel=0.01)
    plain = bench(BenchConfig(world=str(small_world_folder), blocks=1, thorough=False))
    assert (
        "default_precision" not in plain
        and "uncompiled" not in plain
        and plain["roofline"] is None
        and plain["fresh_process"] is None
    )


def test_worlds_without_a_text_encoder_are_timed_too(
    monkeypatch: pytest.MonkeyPatch, small_world: World
) -> None:
    small = World(small_world.config, small_world.transformer, small_world.codec)
    monkeypatch.setattr("longlive_env.bench.open_world", lambda config: small)
    monkeypatch.setattr("longlive_env.bench.fresh_process", lambda config: {})
    assert bench(BenchConfig(blocks=1, thorough=False))["end_to_end"]["fps"] > 0


def test_bench_of_envs(small_world_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "envs.json"
    arguments = ["--world", str(small_world_folder), "--blocks", "3", "--batches", "1", "3"]
    assert main(["bench", "--env", *arguments, "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    rows = report["envs"]
    assert [(row["env"], row["worlds"]) for row in rows] == [
        ("PromptEnv", 1),
        ("PromptVectorEnv", 1),
        ("PromptVectorEnv", 3),
    ]
    for row in rows:
        assert row["frames_per_s"] == pytest.approx(12 * row["steps_per_s"], rel=0.01)
        assert row["ms_a_world"] == pytest.approx(1e3 / row["steps_per_s"], rel=0.05)
        assert 0 < row["outside_engine"] < 1 and row["switch_step_ms"] > 0 and row["reset_ms"] > 0
    assert report["config"]["batches"] == [1, 3] and report["torch"]
    printed = capsys.readouterr().out
    assert "rates are those of all worlds" in printed and printed.count("PromptVectorEnv") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "--batches", "0"], "batches are [0]"),
        (["--env", "--random-weights"], "random weights come without a text encoder"),
        (["--env", "--task", "gaol", "--batches", "1"], "did you mean 'goal'"),
        (["--env", "--batch", "4"], "the numbers of worlds are --batches"),
        (["--task", "goal"], "belong to --env"),
    ],
)
def test_impossible_benches_of_envs(
    small_world_folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    world = [] if "--random-weights" in arguments else ["--world", str(small_world_folder)]
    try:
        status = main(["bench", *world, *arguments])
    except SystemExit as error:
        status = error.code
    assert status == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize(
    "values", [{"blocks": 0}, {"layers": 0}, {"batch": 0}, {"threads": 0}, {"dtype": "int3"}]
)
def test_impossible_configs_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        BenchConfig(**values)


def test_provenance_names_what_is_needed_to_repeat() -> None:
    found = provenance()
    assert found["device"] == "cpu" and found["machine"]["cores"] >= 1 and found["command"]
    head = commit()
    assert head is None or len(head.removesuffix("-dirty")) == 40


def test_eval_reports_and_fails_a_world_that_never_learnt(
    small_world_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--rollouts", "3", "--blocks", "6", "--batch", "2", "--rendered", "4"]
    assert main(["eval", "--world", str(small_world_folder), *sizes, "--out", str(tmp_path)]) == 1
    report = json.loads((tmp_path / "report.json").read_text())
    assert (
        report["passed"] is False
        and len(report["by_block"]["subject"]) == 6
        and len(report["after_switch"]) == 3
    )
    assert {one["group"] for one in report["measures"]} == {"prompt", "after", "soon", "switch", "probe"}
    assert Image.open(tmp_path / "sheet.png").height > 200
    assert "MISSED" in capsys.readouterr().out
