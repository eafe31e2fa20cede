"""A decoder trained on what its world draws: what it is shown, what it learns, and what is left alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_stages import CONFIG, RENDERED, follow, same, save_student_and_teacher

from longlive_env.engine.codec import CodecState
from longlive_env.engine.world import World
from longlive_env.errors import CheckpointError, ConfigError
from longlive_env.training.decoder_stage import Clips, DecoderStage, deepened
from longlive_env.training.export import export_decoder
from longlive_env.training.export import main as export_main
from longlive_env.training.latents import codec_fingerprint, draw_each
from longlive_env.training.train_config import TrainConfig
from longlive_env.training.trainer import Trainer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("decoder")
    save_student_and_teacher(path, CONFIG)
    return path


def decoder(folder: Path, **options: Any) -> DecoderStage:
    """A small decoder stage, on the student of the folder."""
    files = {"start": str(folder / "world"), "bank": str(folder / "bank")}
    return DecoderStage(**{**files, **RENDERED, **options})


def played(stage: DecoderStage, steps: int) -> list[tuple[int, Clips]]:
    """The clips of some steps, each with how many blocks its takes then had."""
    found = []
    for step in range(steps):
        clips = stage.play(stage.batch(step, 0.0), torch.Generator().manual_seed(step))
        assert stage.takes.stream is not None
        found.append((stage.takes.stream.age, clips))
    return found


def test_clips_are_what_the_codec_decodes_in_one_go(folder: Path) -> None:
    """Two latent frames, those before them, and the rendered frames that they stand for."""
    stage = decoder(folder, blocks=2, trust=0, switch_share=1.0)
    codec = stage.world.codec
    clips = played(stage, 4)
    assert [age for age, _ in clips] == [2, 3, 4, 5]
    assert stage.takes.stream is not None
    takes = stage._as_takes(stage.takes.stream)
    rendered = torch.cat([draw_each(takes, block) for block in range(5)], dim=1)
    latents = codec.encode(rendered, CodecState.fresh(2)).latents
    held = torch.cat((latents[:, :1], latents), dim=1)  # a first frame follows itself
    padded = torch.cat((rendered[:, :1].expand(-1, 3, -1, -1, -1), rendered), dim=1)
    for _, clip in clips:
        off = [(latents[:, at : at + 2] - clip.latents).abs().max() for at in range(latents.shape[1] - 1)]
        at = int(torch.stack(off).argmin())
        torch.testing.assert_close(clip.latents, latents[:, at : at + 2])
        torch.testing.assert_close(clip.previous, held[:, at : at + 2])
        torch.testing.assert_close(clip.frames, padded[:, 4 * at : 4 * at + 8])


def test_first_blocks_are_among_them(folder: Path) -> None:
    stage = decoder(folder, trust=0)
    seen = set()
    for step in range(12):
        stage.takes.stream = None  # takes begin anew
        clips = stage.play(stage.batch(step, 0.0), torch.Generator().manual_seed(step))
        seen.add(bool((clips.previous[:, 0] == clips.latents[:, 0]).all()))
    assert seen == {True, False}


def test_it_sees_what_the_world_makes_where_that_is_near(folder: Path) -> None:
    ours, theirs = (decoder(folder, trust=trust) for trust in (1e9, 0))
    (_, made), (_, drawn) = (played(stage, 1)[0] for stage in (ours, theirs))
    assert made.latents.shape == drawn.latents.shape == (2, 2, 16, 12, 20)
    assert not torch.equal(made.latents, drawn.latents)


def test_added_blocks_change_nothing_yet(folder: Path) -> None:
    codec = World.load(str(folder / "world")).codec
    deeper = deepened(codec, 2)
    assert len(deeper.decoder.fine) == len(codec.decoder.fine) + 2
    latents = torch.randn(1, 3, *CONFIG.latent_shape)
    before, after = (one.decode(latents, CodecState.fresh(1)).pixels for one in (codec, deeper))
    torch.testing.assert_close(before, after)
    assert same(deepened(codec, 0), codec)


@pytest.mark.parametrize("realism", [0.0, 0.4])
def test_only_the_decoder_and_its_judge_learn(folder: Path, realism: float) -> None:
    stage = decoder(folder, realism=realism, more_blocks=1)
    model = stage.build()
    losses = stage.losses(model, stage.batch(0, 0.0), torch.Generator())
    assert list(losses) == ["l1", "mse", "edge", "flicker"] + ["realism", "judge"] * bool(realism)
    torch.stack(list(losses.values())).sum().backward()
    silent = {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert all(name.startswith("judge.") for name in silent) and bool(silent) != bool(realism)
    assert not any(p.requires_grad for p in model.codec.encoder.parameters())
    assert all(p.grad is None for p in stage.world.transformer.parameters())


def test_a_decoder_learns_what_it_is_shown(folder: Path, tmp_path: Path) -> None:
    stage = decoder(folder)
    stage.optimisation = replace(stage.optimisation, lr=1e-2, warmup_steps=5, ema=0.5)
    trainer = Trainer(stage, TrainConfig(out=tmp_path, steps=40, log_every=10))
    before = stage.evaluate(trainer.average)
    trainer.run()
    assert trainer.metrics["encoded_psnr"] > before["encoded_psnr"] + 3
    rows = [json.loads(row) for row in (tmp_path / "log.jsonl").read_text().splitlines()]
    found = [row for row in rows if "lr" in row]
    assert found[-1]["l1"] < 0.8 * found[0]["l1"]


def test_a_resumed_run_equals_an_uninterrupted_one(folder: Path, tmp_path: Path) -> None:
    whole = Trainer(decoder(folder), TrainConfig(out=tmp_path / "whole", steps=4))
    whole.run()
    part = Trainer(decoder(folder), TrainConfig(out=tmp_path / "part", steps=4))
    while part.step < 2:
        part._train_step()
    part.save()
    resumed = Trainer(decoder(folder), TrainConfig(out=tmp_path / "part", steps=4))
    assert resumed.step == 2
    resumed.run()
    assert same(whole.model, resumed.model) and same(whole.average, resumed.average)


def test_the_world_gets_the_decoder_and_keeps_the_rest(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Trainer(decoder(folder, more_blocks=1), TrainConfig(out=tmp_path / "run", steps=2)).run()
    weights, out = tmp_path / "run" / "weights.safetensors", tmp_path / "world"
    with pytest.raises(SystemExit):
        export_main(["--model", str(weights), "--out", str(out), "--codec", "tiny"])
    assert "--codec has no part in the export of a decoder" in capsys.readouterr().err
    assert export_main(["--model", str(weights), "--out", str(out)]) == 0
    world, before = World.load(str(out)), World.load(str(folder / "world"))
    codec = replace(CONFIG.codec, decoder_blocks=(1, 2))
    assert world.config == replace(CONFIG, codec=codec)
    assert codec_fingerprint(world.codec) == codec_fingerprint(before.codec)
    before.save(tmp_path / "again", torch.float16, packed=True)  # as exports are, which rounds weights
    assert same(world.transformer, World.load(str(tmp_path / "again")).transformer)
    assert not torch.equal(world.codec.decoder.conv_out.weight, before.codec.decoder.conv_out.weight)


def test_a_generator_that_was_trained_meanwhile_gets_it_too(folder: Path, tmp_path: Path) -> None:
    Trainer(decoder(folder), TrainConfig(out=tmp_path / "run", steps=1)).run()
    Trainer(follow(folder), TrainConfig(out=tmp_path / "follow", steps=1)).run()
    decoded, generator = (tmp_path / name / "weights.safetensors" for name in ("run", "follow"))
    out = tmp_path / "world"
    assert export_main(["--model", str(generator), "--codec", str(decoded), "--out", str(out)]) == 0
    alone = export_decoder(decoded, tmp_path / "alone")
    assert same(World.load(str(out)).codec, World.load(str(tmp_path / "alone")).codec)
    assert alone.config == CONFIG


def test_weights_of_other_stages_hold_no_decoder_for_a_world(folder: Path, tmp_path: Path) -> None:
    Trainer(follow(folder), TrainConfig(out=tmp_path, steps=1)).run()
    with pytest.raises(CheckpointError, match="comes from the follow stage; give the weights that the decod"):
        export_decoder(tmp_path / "weights.safetensors", tmp_path / "world")


@pytest.mark.parametrize("option", ["openings", "setting_weight"])
def test_what_only_a_generator_learns_from_is_no_option(folder: Path, option: str) -> None:
    with pytest.raises(ConfigError, match=f"decoder.*{option}"):
        decoder(folder, **{option: 4})


def test_weight_decay_is_that_of_the_settings(folder: Path) -> None:
    stage = decoder(folder)
    assert stage.optimisation.weight_decay == 0
    stage.optimisation = replace(stage.optimisation, weight_decay=0.25)
    kernels, vectors, _ = stage.optimizer(stage.build()).param_groups
    assert (kernels["weight_decay"], vectors["weight_decay"]) == (0.25, 0)


def test_a_decoder_takes_no_adapters(folder: Path) -> None:
    with pytest.raises(ConfigError, match="lora_rank is 2; adapters are a generator's"):
        decoder(folder, lora_rank=2)
