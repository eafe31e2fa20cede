"""Distillation from the renderer on a small world: its score, its takes, what is trained and kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_stages import CONFIG, save_student_and_teacher

from longlive_env.engine.world import World
from longlive_env.errors import ConfigError
from longlive_env.tiny.captions import caption
from longlive_env.training.clips import scene_of
from longlive_env.training.export import main as export_main
from longlive_env.training.latents import FIRST_PLACES
from longlive_env.training.oracle_stage import Opening, OracleStage, posterior_mean
from longlive_env.training.prompts import TinyPrompts
from longlive_env.training.train_config import TrainConfig
from longlive_env.training.trainer import Trainer

FRAMES = CONFIG.frames_per_block


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("oracle")
    save_student_and_teacher(path, CONFIG)
    return path


def oracle(folder: Path, **options: Any) -> OracleStage:
    files = {"start": str(folder / "world"), "bank": str(folder / "bank")}
    sizes = {"scenes": 4, "scenes_a_file": 2, "openings": 3, "clips": 2, "blocks": 3, "length": 5}
    return OracleStage(**{**files, **sizes, "critic_updates": 1, **options})


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
    stage = oracle(folder)
    places = stage.bank.latents[:1].float()
    level, draw = torch.tensor([sigma]), torch.randn(places[:, 0].shape, generator=noise())
    noisy = (1 - level) * places[:, 2] + level * draw
    torch.testing.assert_close(posterior_mean(noisy, level, places), places[:, 2], rtol=0, atol=1e-3)
    nothing = posterior_mean(draw, torch.tensor([1.0]), places)
    torch.testing.assert_close(nothing, places.mean(dim=1), rtol=0, atol=1e-4)


def test_first_blocks_come_with_what_their_prompts_may_show(folder: Path) -> None:
    stage = oracle(folder)
    model, batch = stage.build(), stage.batch(0, 0.0)
    made = stage.generate(model, batch)
    assert isinstance(made, Opening) and made.latents.shape[1] == FRAMES
    assert made.places.shape == (3, len(FIRST_PLACES), *made.latents.shape[1:])
    seeds = batch["openings"].tolist()
    labels = stage.bank.labels[[seed % 4 for seed in seeds], 0]
    prompts = [
        caption(scene_of(row), np.random.default_rng(seed), "train")
        for row, seed in zip(labels, seeds, strict=True)
    ]
    torch.testing.assert_close(made.text, stage.world.encode_prompt(prompts), rtol=1e-4, atol=1e-5)


def test_generator_and_critic_take_turns(folder: Path) -> None:
    stage = oracle(folder)
    for step, names in ((0, ["generator", "following"]), (1, ["critic"])):
        model = stage.build()
        losses = stage.losses(model, stage.batch(step, 0.0), noise())
        assert list(losses) == names
        sum(losses.values()).backward()
        reached = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
        assert reached == {names[0]}


def test_takes_remember_what_the_oracle_drew(folder: Path) -> None:
    """Cache and history hold rendered blocks, whatever the generator makes of them."""
    stage = oracle(folder, switch_share=1.0)
    model, batch = stage.build(), stage.batch(0, 0.0)
    first = stage._following(model.generator, batch)
    stream = stage.takes.stream
    assert stream is not None and stream.age == 3 and first.requires_grad
    stage._following(model.generator, batch)
    assert stream.age == 5
    kept = stream.rollout.state.history
    for world in range(2):
        aged = type(stream)(
            stage.start(model.generator, stream.rollout.prompts, stream.seeds),
            stream.tail,
            stream.later,
            stream.switches,
            stream.seeds,
        )
        drawn = stage._drawn(aged, world, 5)
        torch.testing.assert_close(kept[world], drawn[-kept.shape[1] :], rtol=0, atol=2e-3)
    torch.testing.assert_close(stream.tail, kept[:, -FRAMES:], rtol=0, atol=2e-3)


def test_scenes_are_those_of_the_prompts() -> None:
    prompts = TinyPrompts()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scenes = prompts.scenes(rng, "train")
        captions = tuple(caption(scene, rng, "train") for scene in scenes)
        assert captions == prompts.draw(np.random.default_rng(seed), "train")


def test_a_resumed_run_goes_on_with_its_takes(folder: Path, tmp_path: Path) -> None:
    def run(out: Path, steps: int) -> Trainer:
        stage = oracle(folder)
        stage.optimisation = replace(
            stage.optimisation, final=1.0
        )  # the rate would follow the limit of steps
        trainer = Trainer(stage, TrainConfig(out=out, steps=steps, log_every=1))
        trainer.run()
        return trainer

    whole = run(tmp_path / "whole", 4)
    run(tmp_path / "parts", 2)
    resumed = run(tmp_path / "parts", 4)
    pairs = zip(whole.model.parameters(), resumed.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_the_trained_world_is_exported(folder: Path, tmp_path: Path) -> None:
    Trainer(oracle(folder, lora_rank=2), TrainConfig(out=tmp_path / "run", steps=2)).run()
    weights, out = tmp_path / "run" / "weights.safetensors", tmp_path / "world"
    assert export_main(["--model", str(weights), "--out", str(out)]) == 0
    assert World.load(str(out)).config == CONFIG


def test_clear_errors(folder: Path) -> None:
    with pytest.raises(ConfigError, match="needs a folder for encoded first blocks; give --set bank=DIR"):
        OracleStage(start=str(folder / "world"))
    with pytest.raises(ConfigError, match="openings is 0; expected at least 1"):
        oracle(folder, openings=0)
    stage = oracle(folder, openings=4)
    with pytest.raises(ConfigError, match="the oracle stage runs its worlds in one batch"):
        stage.split(stage.batch(0, 0.0), 2)
