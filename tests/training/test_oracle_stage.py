"""Distillation from the renderer on a small world: its score, its turns, what is trained and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from toy_stages import CONFIG, RENDERED, save_student_and_teacher

from longlive_env.engine.world import World
from longlive_env.training.export import main as export_main
from longlive_env.training.oracle_stage import OracleStage, posterior_mean
from longlive_env.training.train_config import TrainConfig
from longlive_env.training.trainer import Trainer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("oracle")
    save_student_and_teacher(path, CONFIG)
    return path


def oracle(folder: Path, **options: Any) -> OracleStage:
    files = {"start": str(folder / "world"), "bank": str(folder / "bank")}
    return OracleStage(**{**files, **RENDERED, "openings": 3, "critic_updates": 1, **options})


def noise() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_the_posterior_mean_is_bayes_rule() -> None:
    candidates = torch.tensor([[[0.0, 1.0], [2.0, -1.0]]])  # of one clip: two places, two numbers each
    noisy, sigma = torch.tensor([[0.7, 0.2]]), torch.tensor([0.6])
    normal = torch.distributions.Normal(0.4 * candidates[0], 0.6)
    odds = normal.log_prob(noisy[0]).sum(dim=1).softmax(dim=0)
    expected = (odds[:, None] * candidates[0]).sum(dim=0)
    torch.testing.assert_close(posterior_mean(noisy, sigma, candidates)[0], expected)


@pytest.mark.parametrize("sigma", [0.05, 0.5])
def test_little_noise_leaves_no_doubt_and_much_all_of_it(folder: Path, sigma: float) -> None:
    places = oracle(folder).banks["train"].latents[:1].float()
    level, draw = torch.tensor([sigma]), torch.randn(places[:, 0].shape, generator=noise())
    noisy = (1 - level) * places[:, 2] + level * draw
    torch.testing.assert_close(posterior_mean(noisy, level, places), places[:, 2], rtol=0, atol=1e-3)
    nothing = posterior_mean(draw, torch.tensor([1.0]), places)
    torch.testing.assert_close(nothing, places.mean(dim=1), rtol=0, atol=1e-4)


def test_generator_and_critic_take_turns(folder: Path) -> None:
    for step, name, trained in (
        (0, "generator", "generator"),
        (0, "following", "generator"),
        (1, "critic", "critic"),
    ):
        stage = oracle(folder)
        model = stage.build()
        losses = stage.losses(model, stage.batch(step), noise())
        assert list(losses) == (["critic"] if step else ["generator", "following"])
        losses[name].backward()
        reached = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
        assert reached == {trained}


def test_the_score_keeps_its_precision_under_autocast(folder: Path) -> None:
    stage = oracle(folder)
    made, level = stage.generate(stage.build(), stage.batch(0)), torch.full((3,), 0.4)
    expected = stage.real(made.latents, level, made)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(stage.real(made.latents, level, made), expected)


@pytest.mark.usefixtures("small_sheets")
def test_the_trained_world_is_exported(folder: Path, tmp_path: Path) -> None:
    Trainer(oracle(folder, lora_rank=2), TrainConfig(out=tmp_path / "run", steps=2)).run()
    weights, out = tmp_path / "run" / "weights.safetensors", tmp_path / "world"
    assert export_main(["--model", str(weights), "--out", str(out)]) == 0
    assert World.load(str(out)).config == CONFIG
