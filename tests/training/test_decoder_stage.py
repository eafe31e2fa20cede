"""A decoder trained on what its world draws: what it is shown, what it learns, and what is left alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_stages import CONFIG, RENDERED, follow, same, save_student_and_teacher

from longlive_env.engine.codec import CodecState
from longlive_env.engine.load_options import checked_config
from longlive_env.engine.world import World
from longlive_env.errors import CheckpointError, ConfigError
from longlive_env.tiny.scene import block_start
from longlive_env.training import decoder_stage, parallel
from longlive_env.training.codec_stage import CodecStage, frozen_codec
from longlive_env.training.decoder_clips import DecoderClips
from longlive_env.training.decoder_stage import DecoderStage
from longlive_env.training.export import export_decoder
from longlive_env.training.export import main as export_main
from longlive_env.training.fingerprints import codec_fingerprint
from longlive_env.training.follow_stage import VIEWPOINTS, FollowStage
from longlive_env.training.growing import grown
from longlive_env.training.latents import draw_each
from longlive_env.training.stages import Stage
from longlive_env.training.start_world import known_fingerprints
from longlive_env.training.train_config import TrainConfig
from longlive_env.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("small_sheets")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("decoder")
    save_student_and_teacher(path, CONFIG)
    follow(path)  # encodes first blocks, which every stage has
    return path


PLAYED: dict[str, Any] = {
    **RENDERED,
    "plays": 2,
    "takes": 2,
    "length": 5,
    "rendered_share": 0.0,
    "realism": 0.0,
}


def decoder(folder: Path, bank: str = "bank", **options: Any) -> DecoderStage:
    """A small decoder stage, on the student of the folder; only what it plays differs from bank to bank."""
    if not (folder / bank).exists():
        shutil.copytree(folder / "bank" / "places", folder / bank / "places")
    files = {"start": str(folder / "world"), "bank": str(folder / bank)}
    return DecoderStage(**{**files, **PLAYED, **options})


def unmeasured(stage: Stage) -> Stage:
    """Without what the end of a run measures and draws, which takes longer than a few steps."""
    stage.evaluate = lambda model: {}  # type: ignore[method-assign]
    stage.sheet = lambda model: None  # type: ignore[method-assign]
    return stage


def chosen(stage: DecoderStage, indices: list[int], first: int) -> DecoderClips:
    """The clips that a batch would ask for."""
    wanted = {"clips": torch.tensor(indices), "first": torch.tensor(first), "close": torch.tensor(False)}
    return stage.clips_of(wanted)


def test_clips_are_what_the_codec_decodes_in_one_go(folder: Path) -> None:
    """Two latent frames, those before them, and the rendered frames that they stand for."""
    stage = decoder(folder, "drawn", blocks=2, trust=0, switch_share=1.0, plays=1)
    codec, takes = stage.world.codec, stage.played.take
    assert len(stage.played) == 2 * 5 and stage.played.ages.tolist() == sorted(2 * list(range(5)))
    for world in range(2):
        mine = list(range(world, len(stage.played), 2))  # blocks of one take, one after the other
        take = takes(mine[-1])
        rendered = torch.cat([draw_each([take], block) for block in range(5)], dim=1)
        latents = codec.encode(rendered, CodecState.fresh(1)).latents
        held = torch.cat((latents[:, :1], latents), dim=1)  # a first frame follows itself
        padded = torch.cat((rendered[:, :1].expand(-1, 3, -1, -1, -1), rendered), dim=1)
        for block, index in enumerate(mine):
            for first in (0, 1):
                clip, at = chosen(stage, [index], first), 3 * block + first
                close = {"rtol": 0.0, "atol": 5e-3}  # kept in half precision
                torch.testing.assert_close(clip.latents, latents[:, at : at + 2], **close)
                torch.testing.assert_close(clip.previous, held[:, at : at + 2], **close)
                torch.testing.assert_close(clip.frames, padded[:, 4 * at : 4 * at + 8])


def test_it_sees_what_the_world_makes_where_that_is_near(folder: Path) -> None:
    ours, theirs = (decoder(folder, f"trust{trust}", trust=trust, plays=1, length=3) for trust in (1e9, 0))
    made, drawn = (chosen(stage, [0, 1], 0) for stage in (ours, theirs))
    assert made.latents.shape == drawn.latents.shape == (2, 2, 16, 12, 20)
    assert not torch.equal(made.latents, drawn.latents)


def test_takes_are_played_once_and_belong_to_their_world(folder: Path, tmp_path: Path) -> None:
    first = decoder(folder)
    files = sorted((folder / "bank" / "played").iterdir())
    before = [file.stat().st_mtime_ns for file in files]
    again = decoder(folder)
    assert len(files) == 2 and [file.stat().st_mtime_ns for file in files] == before
    assert torch.equal(first.played.latents, again.played.latents)
    files[1].unlink()
    assert torch.equal(
        decoder(folder).played.latents, first.played.latents
    )  # only what lacks is played again
    for wrong, name in (({"trust": 0.7}, "trust"), ({"seed": 1}, "seed")):
        with pytest.raises(CheckpointError, match=f"was encoded with another {name}.*bank="):
            decoder(folder, **{"scenes": 4, **wrong})


def test_a_batch_is_of_any_blocks_and_splits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = decoder(folder, clips=6)
    batches = [stage.batch(step) for step in range(9)]
    assert all(torch.equal(b["clips"], stage.batch(step)["clips"]) for step, b in enumerate(batches))
    assert {int(b["first"]) for b in batches} == {0, 1} and [bool(b["penalty"]) for b in batches][::8] == [
        True,
        True,
    ]
    with pytest.raises(ConfigError, match="one discriminator a process; train it with one thread"):
        stage.split(batches[0], 2)
    monkeypatch.setattr(parallel, "processes", lambda: 3)
    parts = stage.split(batches[0], 3)
    assert torch.equal(torch.cat([part["clips"] for part in parts]), batches[0]["clips"])


def test_some_clips_are_rendered_for_the_step(folder: Path) -> None:
    """They are what the codec makes of a take of that seed, which none that was played need be."""
    stage = decoder(folder, clips=8, rendered_share=0.5)
    batch = stage.batch(3)
    indices = batch["clips"].tolist()
    anew = [index for index in indices if index < 0]
    assert 0 < len(anew) < 8 and all(index < len(stage.played) for index in indices)
    clips = stage.clips_of(batch)
    with torch.autocast("cpu", torch.bfloat16):  # as the trainer may
        again = stage.clips_of(stage.batch(3))
    assert torch.equal(clips.latents, again.latents) and torch.equal(clips.frames, again.frames)
    first, codec = int(batch["first"]), stage.world.codec
    seen = set()
    for at, index in enumerate(indices):
        if index >= 0:
            continue
        block = stage.unplayed(-1 - index)
        take, age = block.take(0), int(block.ages[0])
        rendered = torch.cat([draw_each([take], earlier) for earlier in range(age + 1)], dim=1)
        latents = codec.encode(rendered, CodecState.fresh(1)).latents
        held = torch.cat((latents[:, :1], latents), dim=1)[0]
        begin = 3 * age + first
        close = {"rtol": 0.0, "atol": 5e-3}
        torch.testing.assert_close(clips.latents[at], held[begin + 1 : begin + 3], **close)
        torch.testing.assert_close(clips.previous[at], held[begin : begin + 2], **close)
        padded = torch.cat((rendered[:, :1].expand(-1, 3, -1, -1, -1), rendered), dim=1)[0]
        torch.testing.assert_close(clips.frames[at], padded[4 * begin : 4 * begin + 8])
        seen.add(age)
    assert len(seen) > 1
    with pytest.raises(ConfigError, match=r"rendered_share is 2\.0; expected 0 to 1"):
        decoder(folder, rendered_share=2)


def test_close_ups_are_of_fast_movement_and_other_clips_are_not(folder: Path) -> None:
    stage = decoder(folder, clips=4, rendered_share=0.5, close_share=0.5, close_blocks=24)
    lively = [stage.played.lively(index) for index in range(len(stage.played))]
    for index, fast in enumerate(lively):
        take, age = stage.played.take(index), int(stage.played.ages[index])
        assert fast == (take.scene_at(block_start(age)).action in ("jump", "dance"))
    batches, seeds = [stage.batch(step) for step in range(200)], [set[int]() for _ in range(4)]
    for batch in batches:
        indices, close = batch["clips"].tolist(), bool(batch["close"])
        assert len(indices) == 4
        assert all(lively[index] == close for index in indices if index >= 0)
        for at, index in enumerate(indices):
            if close and index < 0:
                seeds[at].add(-1 - index)
    found = set().union(*seeds)
    assert sum(len(own) for own in seeds) == len(found) == 24 and found == set(range(24))  # none is shared
    far, near = (next(batch for batch in batches if bool(batch["close"]) == close) for close in (False, True))
    for batch, width in ((far, 20), (near, 10)):
        clips = stage.clips_of(batch)
        assert clips.latents.shape[-1] == width and clips.frames.shape[-1] == 8 * width
        for at, index in enumerate(batch["clips"].tolist()):
            if index >= 0:
                continue
            block = stage.unplayed(-1 - index, lively=width == 10)
            assert block.lively(0) == (width == 10)
            whole = block.rendered(0)[4 * int(batch["first"]) :][:8]
            shown = whole[..., 40:120] if width == 10 else whole
            torch.testing.assert_close(clips.frames[at], shown.float() / 127.5 - 1)
            held = block.latents[0].float()[..., 5:15] if width == 10 else block.latents[0].float()
            first = int(batch["first"])
            torch.testing.assert_close(clips.latents[at], held[first + 1 : first + 3])
    with pytest.raises(ConfigError, match="close_blocks is 3; expected at least 4"):
        decoder(folder, clips=4, close_blocks=3)


def test_a_close_up_is_not_judged(folder: Path) -> None:
    stage = decoder(folder, clips=1, close_share=1.0, rendered_share=1.0, realism=0.4)
    model = stage.build()
    losses = stage.losses(model, stage.batch(0), torch.Generator())
    assert list(losses) == ["l1", "mse", "edge", "flicker"]
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is None for p in model.judge.parameters())
    assert all(p.grad is not None for p in model.codec.decoder.parameters())


@pytest.mark.parametrize("width", [0, 8])
@pytest.mark.parametrize("realism", [0.0, 0.4])
def test_only_the_decoder_and_its_judge_learn(folder: Path, realism: float, width: int) -> None:
    stage = decoder(folder, realism=realism, more_blocks=1, detail_width=width)
    model = stage.build()
    losses = stage.losses(model, stage.batch(0), torch.Generator())
    names = (
        ["l1", "mse", "edge", "flicker"] + ["smaller"] * bool(width) + ["realism", "judge"] * bool(realism)
    )
    assert list(losses) == names
    torch.stack(list(losses.values())).sum().backward()
    silent = {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert all(name.startswith("judge.") for name in silent) and bool(silent) != bool(realism)
    assert not any(p.requires_grad for p in model.codec.encoder.parameters())
    assert all(p.grad is None for p in stage.world.transformer.parameters())


def test_the_judge_sees_brightness_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage, shown = decoder(folder, realism=0.4), list[torch.Tensor]()
    for name in ("realism_loss", "discriminator_loss"):
        original = getattr(decoder_stage, name)

        def spied(judge: Any, decoded: Any, rendered: Any, *others: Any, original: Any = original) -> Any:
            shown.append((decoded - rendered).detach())
            return original(judge, decoded, rendered, *others)

        monkeypatch.setattr(decoder_stage, name, spied)
    stage.losses(stage.build(), stage.batch(0), torch.Generator())
    for difference in shown:  # grey
        torch.testing.assert_close(difference, difference[:, :, :1].expand_as(difference), atol=1e-5, rtol=0)
        assert difference.abs().max() > 0.1
    assert len(shown) == 2


def test_a_decoder_learns_what_it_is_shown(folder: Path, tmp_path: Path) -> None:
    stage = decoder(folder)
    assert not stage.state()  # takes were played before the first step
    stage.optimisation = replace(stage.optimisation, lr=1e-2, warmup_steps=5, ema=0.5)
    trainer = Trainer(stage, TrainConfig(out=tmp_path, steps=40, log_every=10))
    before = stage.evaluate(trainer.average)
    trainer.run()
    assert trainer.metrics["encoded_psnr"] > before["encoded_psnr"] + 3
    rows = [json.loads(row) for row in (tmp_path / "log.jsonl").read_text().splitlines()]
    found = [row for row in rows if "lr" in row]
    assert found[-1]["l1"] < 0.8 * found[0]["l1"]


def test_a_resumed_run_equals_an_uninterrupted_one(folder: Path, tmp_path: Path) -> None:
    def trainer(name: str) -> Trainer:
        return Trainer(unmeasured(decoder(folder, realism=0.4)), TrainConfig(out=tmp_path / name, steps=3))

    whole, part = trainer("whole"), trainer("part")
    whole.run()
    part._train_step()
    part.save()
    resumed = trainer("part")
    assert resumed.step == 1
    resumed.run()
    assert same(whole.model, resumed.model) and same(whole.average, resumed.average)


def test_the_world_gets_the_decoder_and_keeps_the_rest(folder: Path, tmp_path: Path) -> None:
    stage = unmeasured(decoder(folder, more_blocks=1))
    Trainer(stage, TrainConfig(out=tmp_path / "run", steps=2)).run()
    weights, out = tmp_path / "run" / "weights.safetensors", tmp_path / "world"
    assert stage.world.config == World.load(str(folder / "world")).config  # it plays as it would elsewhere
    with pytest.raises(ConfigError, match="--codec has no part in the export of a decoder; leave it out"):
        export_main(["--model", str(weights), "--out", str(out), "--codec", "tiny"])
    assert export_main(["--model", str(weights), "--out", str(out)]) == 0
    world, before = World.load(str(out)), World.load(str(folder / "world"))
    codec = replace(CONFIG.codec, decoder_blocks=(1, 2))
    assert world.config == replace(CONFIG, codec=codec)
    assert codec_fingerprint(world.codec) == codec_fingerprint(before.codec)
    before.save(tmp_path / "again", torch.float16, packed=True)  # as exports are, which rounds weights
    assert same(world.transformer, World.load(str(tmp_path / "again")).transformer)
    assert not torch.equal(world.codec.decoder.conv_out.weight, before.codec.decoder.conv_out.weight)


def test_a_world_with_detail_is_larger_and_can_be_loaded_light(folder: Path, tmp_path: Path) -> None:
    Trainer(
        decoder(folder, detail_width=8, detail_blocks=1), TrainConfig(out=tmp_path / "run", steps=1)
    ).run()
    out = tmp_path / "world"
    assert export_main(["--model", str(tmp_path / "run" / "weights.safetensors"), "--out", str(out)]) == 0
    world, light, before = World.load(out), World.load(out, codec="light"), World.load(str(folder / "world"))
    assert (world.config.height, world.config.width) == (192, 320) and light.config == CONFIG
    assert World.load(out, codec="light", memory="8").config == checked_config(out, codec="light") == CONFIG
    with pytest.raises(ConfigError, match="'small' has the codec patch_vae, not 'wan'"):
        World.load(out, codec="wan")
    assert known_fingerprints(str(out)) >= known_fingerprints(str(folder / "world"))
    rollouts = [one.start("a red cat walks right through the city") for one in (world, light, before)]
    frames = [rollout.step() for rollout in rollouts]
    assert [one.shape[2:4] for one in frames] == [(192, 320), (96, 160), (96, 160)]
    for rollout in rollouts:
        rollout.switch_prompt("a red cat dances in the city")
    assert torch.equal(rollouts[0].step_latents(), rollouts[1].step_latents())
    fewest = {"scenes": 1, "held_out": 1, "scenes_a_file": 1, "plays": 1, "takes": 1, "length": 3}
    going_on = {**PLAYED, **fewest, "start": str(out), "bank": str(tmp_path / "bank")}
    with pytest.raises(ConfigError, match=r"detail_width is 4.*draws detail already"):
        DecoderStage(**going_on, detail_width=4)
    further = DecoderStage(**going_on)
    assert further.build().codec.config == world.config.codec
    assert further.sheet(further.build()).shape == (192, 2 * 320, 3)


def test_a_generator_learns_from_a_world_with_detail_as_from_one_without(
    folder: Path, tmp_path: Path
) -> None:
    own = World.load(str(folder / "world"))
    codec = grown(own.codec, 0, (8, 1))
    config = own.config.with_codec(codec.config)
    own.replaced(config=config, codec=codec).save(tmp_path / "large")
    files = {"start": str(tmp_path / "large"), "bank": str(folder / "bank")}
    large, plain = FollowStage(**{**files, **RENDERED, "openings": 3}), follow(folder)
    batches = [stage.batch(0) for stage in (large, plain)]
    losses = [
        stage.losses(stage.build(), batch, torch.Generator().manual_seed(0))
        for stage, batch in zip((large, plain), batches, strict=True)
    ]
    for name, loss in losses[1].items():
        torch.testing.assert_close(losses[0][name], loss)
    Trainer(large, TrainConfig(out=tmp_path / "run", steps=1)).run()
    weights = str(tmp_path / "run" / "weights.safetensors")
    assert export_main(["--model", weights, "--out", str(tmp_path / "world")]) == 0
    assert World.load(tmp_path / "world").config == replace(config, viewpoints=VIEWPOINTS)


def test_codecs_of_larger_decoders_are_read_as_they_are(folder: Path, tmp_path: Path) -> None:
    """By the codec stage, which trains no detail, and by those that learn on latents."""
    own = World.load(str(folder / "world"))
    codec = grown(own.codec, 1, (8, 1))
    world = World(
        own.config.with_codec(codec.config), own.transformer, codec, own.text_encoding, own.tokenizer
    )
    world.save(tmp_path / "large")
    trained = unmeasured(decoder(folder, more_blocks=1, detail_width=8))
    Trainer(trained, TrainConfig(out=tmp_path / "run", steps=1)).run()
    for source in (str(tmp_path / "large"), str(tmp_path / "run" / "weights.safetensors")):
        stage = CodecStage(start=source, decoder_only=True, pool=1, held_out=1, measured=1)
        frozen = frozen_codec(source)
        assert stage.build().config == frozen.config == codec.config.light
        assert codec_fingerprint(frozen) == codec_fingerprint(codec)


def test_a_generator_that_was_trained_meanwhile_gets_it_too(folder: Path, tmp_path: Path) -> None:
    for name, stage in {"run": decoder(folder), "follow": follow(folder)}.items():
        Trainer(unmeasured(stage), TrainConfig(out=tmp_path / name, steps=1)).run()
    decoded, generator = (tmp_path / name / "weights.safetensors" for name in ("run", "follow"))
    out = tmp_path / "world"
    assert export_main(["--model", str(generator), "--codec", str(decoded), "--out", str(out)]) == 0
    alone = export_decoder(decoded, tmp_path / "alone")
    assert same(World.load(str(out)).codec, World.load(str(tmp_path / "alone")).codec)
    assert alone.config == CONFIG


def test_weights_of_other_stages_hold_no_decoder_for_a_world(folder: Path, tmp_path: Path) -> None:
    Trainer(unmeasured(follow(folder)), TrainConfig(out=tmp_path, steps=1)).run()
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
