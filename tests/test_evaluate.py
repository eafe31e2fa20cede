"""Evaluation tells worlds that obey from worlds that do not; the worlds here are rendered."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rendered_world import RenderedWorld, said

from longlive_env.cli import main
from longlive_env.cli.eval import table, value_table
from longlive_env.errors import ConfigError
from longlive_env.evaluate import (
    BARS,
    TARGETS,
    EvalConfig,
    Measure,
    Report,
    _by_value,
    evaluate,
    padded_blocks,
    switched,
    trials,
)
from longlive_env.intervals import Share
from longlive_env.tiny.scene import ATTRIBUTES, BLOCK_FRAMES, SUBJECTS, is_held_out

CONFIG = EvalConfig(rollouts=10, blocks=8, batch=4, rendered=10)


def rendered_world(config: EvalConfig, deaf: bool = False) -> RenderedWorld:
    """Renders the scenes that the prompts of an evaluation mean; a deaf one never hears of a switch."""
    meaning = said(trials(config))
    return RenderedWorld(lambda prompt, before: before if before and deaf else meaning(prompt, before))


def shares(report) -> dict[tuple[str, str], float]:
    return {(one.group, one.name): one.value.share for one in report.measures}


@pytest.fixture(scope="module")
def obedient() -> tuple[Report, list[tuple[int, int]]]:
    """The report of an obedient world, and sizes and blocks of its batches."""
    seen: list[tuple[int, int]] = []
    report = evaluate(
        rendered_world(CONFIG), CONFIG, on_block=lambda batch, block, frames: seen.append((len(batch), block))
    )
    return report, seen


@pytest.fixture(scope="module")
def deaf() -> Report:
    return evaluate(rendered_world(CONFIG, deaf=True), CONFIG)


def test_an_obedient_world_passes(obedient: tuple[Report, list[tuple[int, int]]]) -> None:
    report, seen = obedient
    found = shares(report)
    assert found["switch", "changed"] >= 0.9 and found["switch", "unchanged"] >= 0.95
    assert min(value for (group, _), value in found.items() if group == "prompt") >= 0.9
    assert seen == [(size, block) for size in (4, 4, 2) for block in range(8)]
    assert len(report.by_block["subject"]) == 8 and len(report.after_switch) == 4


def test_a_deaf_world_fails(deaf: Report) -> None:
    found = shares(deaf)
    assert found["switch", "changed"] <= 0.1 and found["switch", "unchanged"] >= 0.95
    assert not deaf.passed
    failed = {(one.group, one.name) for one in deaf.measures if one.passed is False}
    assert ("switch", "changed") in failed and ("switch", "unchanged") not in failed


def test_trials_are_held_out_and_change_one_attribute() -> None:
    planned = list(trials(EvalConfig(rollouts=25)))
    for one in planned:
        assert all(is_held_out(scene) for scene in one.scenes)
        first, second = (dataclasses.asdict(scene) for scene in one.scenes)
        assert [name for name in first if first[name] != second[name]] == [one.changed]
    assert planned == list(trials(EvalConfig(rollouts=25)))
    assert len({one.seed for one in planned}) == 25
    assert {one.changed for one in planned} == {"subject", "colour", "setting", "weather", "action"}


def test_values_are_told_apart(obedient: tuple[Report, list[tuple[int, int]]]) -> None:
    report, _ = obedient
    actions = {one.asked: one for one in report.by_value["action"]}
    asked = [one.scenes[0].action for one in trials(CONFIG)]
    for name, one in actions.items():
        assert (one.value.count if one.value else 0) == asked.count(name)
    assert all(set(one.read_as) < set(actions) - {one.asked} for one in actions.values())
    lines = value_table(report).splitlines()
    assert sum(line.startswith("  ") for line in lines) == sum(
        map(len, ATTRIBUTES.values())
    )  # every value of every attribute
    assert report.to_json()["by_value"]["action"]["jump"]["count"] == asked.count("jump")


def test_what_is_read_instead() -> None:
    """Two rollouts ask for a chick; the blocks of one show a cat, in half of the other's it is a rabbit."""
    cat, rabbit, chick = (SUBJECTS.index(name) for name in ("cat", "rabbit", "chick"))
    asked = np.array([[chick, 0, 0, 0, 0], [chick, 0, 0, 0, 0], [cat, 0, 0, 0, 0]])
    read = np.repeat(asked[:, None], 4, axis=1)
    read[0, :, 0], read[1, :2, 0] = cat, rabbit
    found = {one.asked: one for one in _by_value(asked, read)["subject"]}
    assert found["chick"].value == Share(0.5, 2)
    assert list(found["chick"].read_as.items()) == [("cat", 0.5), ("rabbit", 0.25)]
    assert found["cat"].value == Share(1.0, 1) and not found["cat"].read_as
    assert found["robot"].value is None and found["robot"].to_json() == {"count": 0, "read_as": {}}


def test_switched_counts_attributes_that_were_right() -> None:
    changed = np.eye(5, dtype=np.bool_)[[0, 1]]
    before = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 1, 1]], np.bool_)
    after = np.array([[1, 1, 1, 1, 0], [0, 0, 1, 1, 1]], np.bool_)
    found = switched(before, after, changed)
    assert found["changed"] == Share(1.0, 2)
    assert found["unchanged"].share == pytest.approx((3 + 2) / (4 + 3))  # of 4 and of 3 that were right
    assert found["unchanged"].count == 2


def test_bars_and_targets_stand_side_by_side(deaf: Report) -> None:
    text = table(deaf)
    assert "second block after the switch" in text and "MISSED" in text
    (action,) = (one for one in deaf.measures if (one.group, one.name) == ("prompt", "action"))
    assert (action.bar, action.target) == (BARS["prompt"]["action"], TARGETS["prompt"]["action"])
    line = Measure("prompt", "action", Share(8.0, 10), 0.7, 0.95)
    assert line.passed is True and line.on_target is False
    without = Measure("after", "action", Share(8.0, 10), None, None)
    assert without.passed is None and without.on_target is None


def test_a_short_first_block_is_filled_up() -> None:
    frames = torch.arange(9, dtype=torch.uint8).reshape(1, 9, 1, 1, 1).expand(2, 9, 4, 4, 3)
    whole = padded_blocks(frames)
    assert whole.shape == (2, BLOCK_FRAMES, 4, 4, 3)
    assert whole[0, :, 0, 0, 0].tolist() == [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]


def test_the_command_reports_and_fails_a_world_that_never_learnt(
    small_world_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--rollouts", "3", "--blocks", "6", "--batch", "2", "--rendered", "4"]
    world = ["--world", str(small_world_folder), "--steps", "2"]
    assert main(["eval", *world, *sizes, "--out", str(tmp_path)]) == 1
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["steps"] == 2
    assert (
        report["passed"] is False
        and len(report["by_block"]["subject"]) == 6
        and len(report["after_switch"]) == 3
    )
    assert {one["group"] for one in report["measures"]} == {"prompt", "after", "soon", "switch", "probe"}
    assert Image.open(tmp_path / "sheet.png").height > 200
    assert "MISSED" in capsys.readouterr().out


@pytest.mark.parametrize("values", [{"rollouts": 0}, {"batch": 0}, {"blocks": 5}])
def test_impossible_configs_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        EvalConfig(**values)
