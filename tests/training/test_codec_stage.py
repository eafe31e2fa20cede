from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_stages import moving_gradient, same, save_codec

from longlive_env.engine.codec import CodecState
from longlive_env.engine.codec.patch_vae import PatchVAE
from longlive_env.engine.config import PatchVAEConfig
from longlive_env.errors import CheckpointError, ConfigError
from longlive_env.training import Optimisation, TrainConfig, Trainer
from longlive_env.training.checkpoint import load_tensors, save_tensors
from longlive_env.training.codec_stage import CodecStage, frozen_codec
from longlive_env.training.takes import TakePool

SMALL = PatchVAEConfig(
    encoder_widths=(16, 8), encoder_blocks=(1, 1), decoder_widths=(16, 8), decoder_blocks=(1, 1)
)
DATA: dict[str, Any] = {
    "clip_frames": 9,
    "take_frames": 13,
    "pool": 6,
    "turnover": 0.5,
    "held_out": 3,
    "measured": 3,
}


def stage(**options: Any) -> CodecStage:
    return CodecStage(source=moving_gradient, config=SMALL, **{**DATA, **options})


def test_the_codec_learns_and_its_latents_come_out_standardised(tmp_path: Path) -> None:
    quick = stage()
    quick.optimisation = Optimisation(lr=1.5e-2, warmup_steps=10, ema=0.9)
    trained = Trainer(quick, TrainConfig(out=tmp_path, steps=150, log_every=10, evaluate_s=1e9))
    before = trained.stage.evaluate(trained.average)["psnr"]
    codec = trained.run()
    assert isinstance(codec, PatchVAE)
    assert trained.metrics["psnr"] > max(before + 8, 18)
    assert (tmp_path / "sheets" / "0000150.png").exists()
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])["psnr"] > 0
    pixels = stage().measured
    latents = codec.encode(pixels, CodecState.fresh(len(pixels))).latents
    assert latents.mean((0, 1, 3, 4)).abs().max() < 1e-3
    assert (latents.std((0, 1, 3, 4)) - 1).abs().max() < 1e-2


def test_a_resumed_codec_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = Trainer(stage(), TrainConfig(out=tmp_path / "whole", steps=8, autocast="bf16"))
    whole.run()
    part = Trainer(stage(), TrainConfig(out=tmp_path / "part", steps=8, autocast="bf16"))
    while part.step < 5:
        part._train_step()
    part.save()
    resumed = Trainer(stage(), TrainConfig(out=tmp_path / "part", steps=8, autocast="bf16"))
    assert resumed.step == 5
    resumed.run()
    assert same(whole.model, resumed.model) and same(whole.average, resumed.average)


@pytest.mark.parametrize("noted", [True, False])
@pytest.mark.parametrize("before", [True, False])
def test_a_codec_run_goes_on_with_what_it_trains(before: bool, noted: bool, tmp_path: Path) -> None:
    """Also where a checkpoint does not say what that is: the optimizer's state still tells."""
    start, out = str(tmp_path / "codec.safetensors"), tmp_path / "run"
    save_codec(Path(start), stage().build())
    Trainer(stage(start=start, decoder_only=before), TrainConfig(out=out, steps=1)).run()
    if not noted:
        tensors, info = load_tensors(out / "checkpoint.safetensors")
        del info["describe"]["decoder_only"]
        save_tensors(out / "checkpoint.safetensors", tensors, info)
    message = f"decoder_only is {not before}, and was {before}" if noted else "other parameters were trained"
    with pytest.raises(CheckpointError, match=message):
        Trainer(stage(start=start, decoder_only=not before), TrainConfig(out=out, steps=2))
    assert Trainer(stage(start=start, decoder_only=before), TrainConfig(out=out, steps=2)).step == 1


def test_stages_are_for_patch_codecs() -> None:
    wan = str(Path(__file__).parents[1] / "data" / "parity" / "mini")
    for refuse in (lambda: CodecStage(start=wan), lambda: frozen_codec(wan)):
        with pytest.raises(ConfigError, match=r"the codec of .* is a wan_vae; expected a patch_vae"):
            refuse()


def test_batches_depend_on_seed_and_step_alone() -> None:
    fresh, used = stage(), stage()
    for step in range(10):
        used.batch(step)
    assert torch.equal(fresh.batch(10)["clips"], used.batch(10)["clips"])
    assert not torch.equal(stage(seed=1).batch(10)["clips"], used.batch(10)["clips"])


def test_a_step_draws_as_many_clips_as_it_is_told() -> None:
    for clips in (1, 2, 3):
        assert stage(clips=clips).batch(0)["clips"].shape == (clips, 9, 3, 16, 24)
    more, fewer = (stage(clips=clips).batch(4)["clips"] for clips in (3, 2))
    assert torch.equal(more[:2], fewer)


def test_the_pool_turns_over_and_forgets() -> None:
    made: list[int] = []

    def source(rng: np.random.Generator, frames: int, split: str) -> torch.Tensor:
        made.append(int(rng.integers(1 << 30)))
        return torch.full((frames, 1, 1, 3), made[-1] % 256, dtype=torch.uint8)

    pool, rng = TakePool(source, seed=0, size=4, frames=2, turnover=0.5), np.random.default_rng(0)
    for _ in range(50):
        pool.draw(0, rng)
    assert len(made) == 4
    for _ in range(50):
        pool.draw(4, rng)  # two of the four have passed
    assert len(made) == 6 and len(set(made)) == 6
    assert sorted(pool._rendered) == [2, 3, 4, 5]


def test_a_codec_goes_on_from_a_world_with_its_encoder_frozen() -> None:
    """Only the decoder learns, so the meaning of latents stays."""
    from longlive_env.engine.world import World
    from longlive_env.training.codec_stage import CodecStage

    stage = CodecStage(start="tiny", decoder_only=True, pool=1, held_out=1, measured=1)
    codec, shipped = stage.build(), World.load("tiny").codec.state_dict()
    assert all(torch.equal(value, shipped[name]) for name, value in codec.state_dict().items())
    assert not any(p.requires_grad for p in codec.encoder.parameters())
    assert all(p.requires_grad for p in codec.decoder.parameters())
    before = codec.latent_std.clone()
    stage.settle(codec)
    assert torch.equal(codec.latent_std, before)
    assert stage.evaluate(codec)["psnr"] > 22


def test_only_the_tiny_world_knows_what_is_lively() -> None:
    with pytest.raises(ConfigError, match="leave it at 0"):
        stage(lively_share=0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"held_out": 0}, "held_out is 0; expected at least 1"),
        ({"clips": 0}, "clips is 0"),
        ({"clip_frames": 12}, "clip_frames is 12; expected one more than a multiple of 4, such as 13"),
        ({"clip_frames": 1}, "clip_frames is 1; expected at least 5"),
        ({"take_frames": 8}, "take_frames is 8, less than clip_frames, 9"),
        ({"decoder_only": True}, "give start= a codec or a world"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        stage(**options)


def test_takes_of_the_tiny_world_have_room_for_their_changes() -> None:
    with pytest.raises(ConfigError, match="take_frames is 32; takes that change 2 times need 33"):
        CodecStage(take_frames=32)


def test_a_decoder_that_knows_its_place_is_trained() -> None:
    whole = CodecStage(source=moving_gradient, config=replace(SMALL, place=(2, 3)), **DATA)
    losses = whole.losses(whole.build(), whole.batch(0), torch.Generator().manual_seed(0))
    assert torch.stack(list(losses.values())).isfinite().all()
