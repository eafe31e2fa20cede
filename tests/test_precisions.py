"""Comparing precisions: errors that are zero for the world itself and small otherwise, and a table."""

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("torchao")

from longlive_env import World
from longlive_env.cli import main
from longlive_env.evaluate import EvalConfig
from longlive_env.precisions import COMPARED_BLOCKS, compare, latents, table

CONFIG = EvalConfig(rollouts=2, blocks=6, batch=2, rendered=1)


@pytest.fixture(scope="module")
def outcomes(small_world_folder: Path):
    def load(precision):
        return World.load(small_world_folder, precision=precision)

    return compare(load, ["int8-weight-only", "bf16"], CONFIG)


def test_errors_are_relative_to_the_world_as_it_loads(outcomes) -> None:
    default, weight_only, bf16 = outcomes
    assert default.relative_error == (0.0,) * COMPARED_BLOCKS
    for one in (weight_only, bf16):
        assert all(0 < error < 0.05 for error in one.relative_error)
    assert [one.precision for one in outcomes] == [None, "int8-weight-only", "bf16"]


def test_errors_are_what_they_say(small_world_folder: Path, outcomes) -> None:
    config = EvalConfig(rollouts=2, blocks=6)
    want = latents(World.load(small_world_folder), config)
    got = latents(World.load(small_world_folder, precision="bf16"), config)
    error = torch.linalg.vector_norm(got[0] - want[0]) / torch.linalg.vector_norm(want[0])
    assert outcomes[2].relative_error[0] == pytest.approx(float(error), rel=1e-4)


def test_the_table_and_the_json_have_every_precision(outcomes) -> None:
    lines = table(outcomes).splitlines()
    assert [line.split()[0] for line in lines] == ["precision", "as", "int8-weight-only", "bf16"]
    assert "switch unchanged" in lines[0] and lines[1].count("%") == 7
    values = json.loads(json.dumps([one.to_json() for one in outcomes]))
    assert (
        values[1]["precision"] == "int8-weight-only" and len(values[1]["relative_error"]) == COMPARED_BLOCKS
    )


def test_the_command(small_world_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--rollouts", "1", "--blocks", "6", "--rendered", "1", "--out", str(tmp_path)]
    arguments = ["eval", "--world", str(small_world_folder), "--precision", "int8-weight-only", *options]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "as loaded" in out and "int8-weight-only" in out
    written = json.loads((tmp_path / "precisions.json").read_text())
    assert [one["precision"] for one in written["precisions"]] == [None, "int8-weight-only"]
    assert main(["eval", "--world", str(small_world_folder), "--precision", "fp8", *options]) == 2
    assert "fp8 on cpu" in capsys.readouterr().err
