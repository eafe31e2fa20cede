"""Distillation from the renderer on a small world: its score, its takes, what is trained and kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_stages import CONFIG, save_student_and_teacher

from longlive_env.engine.config import to_dict
from longlive_env.engine.world import World
from longlive_env.errors import ConfigError
from longlive_env.tiny.captions import caption
from longlive_env.tiny.scene import Take, block_start, sample_camera
from longlive_env.training.clips import scene_of
from longlive_env.training.export import main as export_main
from longlive_env.training.latents import FIRST_PLACES, encode_blocks
from longlive_env.training.oracle_stage import Opening, OracleStage, camera_of, posterior_mean
from longlive_env.training.prompts import TinyPrompts
from longlive_env.training.rollout_stage import Generated
from longlive_env.training.running_takes import Stream
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
    sizes = {
        "scenes": 4,
        "held_out": 2,
        "scenes_a_file": 2,
        "openings": 3,
        "clips": 2,
        "blocks": 3,
        "length": 5,
    }
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
    places = stage.banks["train"].latents[:1].float()
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
    labels = stage.banks["train"].labels[[seed % 4 for seed in seeds], 0]
    prompts = [
        caption(scene_of(row), np.random.default_rng(seed), "train")
        for row, seed in zip(labels, seeds, strict=True)
    ]
    torch.testing.assert_close(made.text, stage.world.encode_prompt(prompts), rtol=1e-4, atol=1e-5)


def test_a_bank_of_places_shows_one_scene_from_each_of_them(folder: Path) -> None:
    stage = oracle(folder)
    scene = scene_of(stage.banks["train"].labels[1, 0])
    for index, place in enumerate(FIRST_PLACES):
        take = Take(((0, scene),), place)
        expected = encode_blocks(take, 0, 1, stage.world.codec)[0]
        torch.testing.assert_close(
            stage.banks["train"].latents[1, index].float(), expected, rtol=0, atol=2e-3
        )


def test_generator_and_critic_take_turns(folder: Path) -> None:
    for step, name, trained in (
        (0, "generator", "generator"),
        (0, "following", "generator"),
        (1, "critic", "critic"),
    ):
        stage = oracle(folder)
        model = stage.build()
        losses = stage.losses(model, stage.batch(step, 0.0), noise())
        assert list(losses) == (["critic"] if step else ["generator", "following"])
        losses[name].backward()
        reached = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
        assert reached == {trained}


def test_sharpening_draws_a_first_block_towards_the_nearest_place(folder: Path) -> None:
    stage = oracle(folder, sharpen=True, critic_updates=0)
    model, batch = stage.build(), stage.batch(0, 0.0)
    losses = stage.losses(model, batch, noise())
    assert list(losses) == ["nearest", "following"]
    made = stage.generate(model, batch)
    distances = (made.places - made.latents[:, None]).square().flatten(2).mean(dim=2)
    torch.testing.assert_close(losses["nearest"], distances.min(dim=1).values.mean())


def test_first_blocks_of_held_out_scenes_are_measured(folder: Path) -> None:
    stage = oracle(folder)
    found = stage.evaluate(stage.build())
    assert 0 < found["held_out_nearest"] < found["held_out_places"]
    places = stage.banks["held_out"].latents
    stage.roll_out = lambda *_, **__: Generated(places[:, 3], torch.zeros(2, 1, 1), torch.ones(2, FRAMES))
    assert stage.evaluate(stage.build())["held_out_nearest"] == 0


def test_the_score_keeps_its_precision_under_autocast(folder: Path) -> None:
    stage = oracle(folder)
    made, level = stage.generate(stage.build(), stage.batch(0, 0.0)), torch.full((3,), 0.4)
    expected = stage.real(made.latents, level, made)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(stage.real(made.latents, level, made), expected)


def rendered(stage: OracleStage, stream: Stream, world: int, blocks: int) -> torch.Tensor:
    """The first blocks of a stream's take, from its prompts and at the place of its seed [F, C, h, w]."""
    seed = stream.seeds[world]
    before, after = stage.prompts.scenes(np.random.default_rng(seed), "train")
    take = Take(((0, before), (block_start(stream.switches[world]), after)), camera_of(seed))
    return encode_blocks(take, 0, blocks, stage.world.codec).flatten(0, 1)


def test_takes_remember_what_the_oracle_drew(folder: Path) -> None:
    """Cache and history hold rendered blocks, whatever the generator makes of them."""
    stage = oracle(folder, switch_share=1.0)
    model, batch = stage.build(), stage.batch(0, 0.0)
    stage._following(model.generator, batch)
    stage._following(model.generator, batch)
    stream = stage.takes.stream
    assert stream is not None and stream.age == 5
    kept = stream.rollout.state.history
    for world in range(2):
        drawn = rendered(stage, stream, world, 5)
        torch.testing.assert_close(kept[world], drawn[-kept.shape[1] :], rtol=0, atol=2e-3)
    torch.testing.assert_close(stream.tail, kept[:, -FRAMES:], rtol=0, atol=2e-3)


def test_new_blocks_count_but_those_that_begin_a_take(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = oracle(folder)
    model, batch = stage.build(), stage.batch(0, 0.0)
    chunk, made = stage.takes.chunk, []

    def watched(*given: Any) -> Any:
        made.append(chunk(*given))
        return made[-1]

    monkeypatch.setattr(stage.takes, "chunk", watched)
    errors = [stage._following(model.generator, batch) for _ in range(2)]
    assert stage.takes.stream is not None
    truth = torch.stack([rendered(stage, stage.takes.stream, world, 5) for world in range(2)])
    for error, clips, shown in zip(
        errors, made, (slice(FRAMES, 3 * FRAMES), slice(3 * FRAMES, None)), strict=True
    ):
        new = clips.latents[:, FRAMES:]  # without the block that begins the take, or the overlap
        expected = (new - truth[:, shown]).square().mean()
        torch.testing.assert_close(error, expected, rtol=1e-3, atol=1e-4)


def test_wording_does_not_tell_where_the_camera_is(folder: Path) -> None:
    """Captions are worded by what follows the scenes in a seed's numbers; the camera is not placed by it."""
    prompts, alike = TinyPrompts(), 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        prompts.scenes(rng, "train")
        alike += sample_camera(rng) == camera_of(seed)
    assert alike < 30  # one in twenty, by chance


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


def test_clear_errors(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="needs a folder for encoded first blocks; give --set bank=DIR"):
        OracleStage(start=str(folder / "world"))
    with pytest.raises(ConfigError, match="openings is 0; expected at least 1"):
        oracle(folder, openings=0)
    monkeypatch.setattr(World, "load", lambda name: pytest.fail("the world was loaded"))
    for config, message in (
        (replace(CONFIG, height=192), "rendered takes are for worlds of 160x96"),
        (replace(CONFIG, frames_per_block=1), "rendered blocks have 3"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(to_dict(config)))
        with pytest.raises(ConfigError, match=message):
            oracle(folder, start=str(tmp_path))
    monkeypatch.undo()
    stage = oracle(folder, openings=4)
    with pytest.raises(ConfigError, match="the oracle stage runs its worlds in one batch"):
        stage.split(stage.batch(0, 0.0), 2)
