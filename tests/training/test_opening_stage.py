"""What a resumed run goes on with: running takes, and where they are seen from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy_stages import CONFIG, follow, save_student_and_teacher

from longlive_env.training.train_config import TrainConfig
from longlive_env.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("small_sheets")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("opening")
    save_student_and_teacher(path, CONFIG)
    return path


def run(folder: Path, out: Path, steps: int) -> Trainer:
    stage = follow(folder, trust=1e9, scenes=2, openings=1)
    stage.optimisation = replace(stage.optimisation, final=1.0)  # the rate would follow the limit of steps
    trainer = Trainer(stage, TrainConfig(out=out, steps=steps, log_every=1))
    trainer.run()
    return trainer


def test_a_resumed_run_goes_on_with_its_takes(folder: Path, tmp_path: Path) -> None:
    """Cameras are noted besides, since where a take began cannot be told from it later."""
    whole = run(folder, tmp_path / "whole", 4)
    run(folder, tmp_path / "parts", 3)  # the second take of two chunks has begun
    resumed = run(folder, tmp_path / "parts", 4)
    pairs = zip(whole.model.parameters(), resumed.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_run_saved_before_its_first_take_goes_on(folder: Path) -> None:
    stage, other = follow(folder, scenes=2), follow(folder, scenes=2)
    model = stage.build()
    assert not stage.state()
    other.restore(model, stage.state())
    assert other.takes.stream is None and not other.cameras
    stage.following(model.generator, stage.batch(0))
    noted = stage.state()
    assert {"0.camera", "1.camera"} < noted.keys()
    other.restore(model, noted)
    assert other.takes.stream is not None and other.cameras == stage.cameras
