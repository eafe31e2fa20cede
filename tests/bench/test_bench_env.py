"""`longlive bench --env` on a small world with random weights: rates that fit together, and refusals."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from longlive_env import World
from longlive_env.bench import BenchConfig
from longlive_env.bench.env import EnvBenchConfig, bench_env, measure
from longlive_env.bench.opening import open_world
from longlive_env.cli import main
from longlive_env.envs.prompt_env import PromptEnv


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
        assert row["clone_ms"] > 0 and row["restore_ms"] > 0
    alone, one, three = (row["state_mb"] for row in rows)
    assert 0 < alone <= one < three
    assert report["config"]["batches"] == [1, 3] and report["torch"]
    printed = capsys.readouterr().out
    assert "rates are those of all worlds" in printed and printed.count("PromptVectorEnv") == 2


def test_memory_is_planned_for_the_largest_batch(
    small_world_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[object] = []

    def opened(config: BenchConfig) -> World:
        world = open_world(config)
        plans.append(world.memory_plan)
        return world

    monkeypatch.setattr("longlive_env.bench.env.open_world", opened)
    base = BenchConfig(str(small_world_folder), memory="8", blocks=1)
    report = bench_env(EnvBenchConfig(base, batches=(3, 2)))
    opened(replace(base, batch=3)), opened(base)
    assert plans[0] == plans[1] != plans[2]
    assert report["config"]["base"]["batch"] == 1  # as asked for


def test_a_reset_is_timed_once_everything_has_run(small_world: World) -> None:
    happened: list[str] = []

    class Watched(PromptEnv):
        def reset(self, **options: Any) -> Any:
            happened.append("reset")
            return super().reset(**options)

        def step(self, action: Any) -> Any:
            happened.append("step")
            return super().step(action)

    assert measure(Watched(small_world), 1)["reset_ms"] > 0
    assert happened[:3] == ["reset", "reset", "step"]


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
