"""Following the renderer on a small world: what is learned and kept, also when a run is resumed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy_stages import CONFIG, follow, save_student_and_teacher

from longlive_env.engine.world import World
from longlive_env.tiny.scene import ATTRIBUTES
from longlive_env.training.export import main as export_main
from longlive_env.training.follow_stage import VIEWPOINTS
from longlive_env.training.places import weighed
from longlive_env.training.train_config import TrainConfig
from longlive_env.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("small_sheets")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("follow")
    save_student_and_teacher(path, CONFIG)
    return path


def test_a_first_block_is_drawn_towards_the_place_that_its_noise_tells_of(folder: Path) -> None:
    stage = follow(folder)
    model, batch = stage.build(), stage.batch(0)
    losses = stage.losses(model, batch, torch.Generator())
    assert list(losses) == ["opening", "following"]
    made = stage.open(model.generator, batch["openings"].tolist(), int(batch["steps"]))
    torch.testing.assert_close(losses["opening"], weighed(made.errors, made.haze).mean())


def test_first_blocks_are_drawn_in_plain_settings(folder: Path) -> None:
    stage, usual = (
        follow(folder, scenes=12, openings=24, plain_share=share, bank=str(folder / "plain"))
        for share in (1.0, 0.0)
    )
    bank, haze = stage.banks["train"], stage.haze.mean(dim=1)
    shown = bank.labels[:, 0, list(ATTRIBUTES).index("setting")]
    held = sorted(set(shown.tolist()), key=lambda setting: float(haze[setting]))
    drawn = {int(shown[seed % len(bank)]) for seed in stage.batch(0)["openings"].tolist()}
    assert len(held) > 2 and drawn == set(held[:2])
    assert len({int(shown[seed % len(bank)]) for seed in usual.batch(0)["openings"].tolist()}) > 2


@pytest.mark.parametrize("name", ["opening", "following"])
def test_either_loss_reaches_the_whole_generator(folder: Path, name: str) -> None:
    stage = follow(folder)
    model = stage.build()
    stage.losses(model, stage.batch(0), torch.Generator())[name].backward()
    assert [key for key, p in model.named_parameters() if p.grad is None] == []
    assert all(key.startswith("generator.") for key in model.state_dict())


def test_a_world_learns_what_it_is_shown(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both distances fall, over few updates on the same takes."""
    stage = follow(folder, scenes=1, openings=2, clips=1, blocks=2, length=2)
    stage.optimisation, same = replace(stage.optimisation, lr=2e-2), stage.batch(0)
    monkeypatch.setattr(stage, "batch", lambda step: same)
    Trainer(stage, TrainConfig(out=tmp_path, steps=8, log_every=1)).run()
    rows = (tmp_path / "log.jsonl").read_text().splitlines()
    found = [row for row in map(json.loads, rows) if "lr" in row]
    for name in ("opening", "following"):
        assert found[-1][name] < 0.9 * found[0][name], found


@pytest.mark.parametrize("rank", [0, 2])
def test_the_trained_world_is_exported(folder: Path, tmp_path: Path, rank: int) -> None:
    Trainer(follow(folder, lora_rank=rank), TrainConfig(out=tmp_path / "run", steps=2)).run()
    weights, out = tmp_path / "run" / "weights.safetensors", tmp_path / "world"
    assert export_main(["--model", str(weights), "--out", str(out)]) == 0
    world = World.load(str(out))
    assert world.config == replace(CONFIG, viewpoints=VIEWPOINTS)
    before = World.load(str(folder / "world")).transformer.state_dict()
    after = world.transformer.state_dict()
    assert any((value != before[name]).any() for name, value in after.items())


def test_a_world_is_trained_for_fewer_steps(folder: Path, tmp_path: Path) -> None:
    stage = follow(folder, sampler_steps=1)
    assert len(CONFIG.sampler.steps) > 1 and {int(stage.batch(n)["steps"]) for n in range(8)} == {1}
    Trainer(stage, TrainConfig(out=tmp_path / "run", steps=1)).run()
    weights, out = tmp_path / "run" / "weights.safetensors", tmp_path / "world"
    assert export_main(["--model", str(weights), "--out", str(out)]) == 0
    assert World.load(str(out)).config == replace(CONFIG.with_steps(1), viewpoints=VIEWPOINTS)


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
