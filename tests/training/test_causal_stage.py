"""The causal stage on a small model: batches, losses, and the world that comes out of it."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_stages import CODEC, CONFIG, save_codec, save_student_and_teacher

from longlive_env.engine.codec.patch_vae import PatchVAE
from longlive_env.engine.world import World
from longlive_env.errors import CheckpointError, ConfigError
from longlive_env.training import sheets
from longlive_env.training.causal_stage import PARTS, CausalStage
from longlive_env.training.checkpoint import copy_state, load_tensors, save_tensors
from longlive_env.training.clips import draw_clips, switch
from longlive_env.training.export import export_world
from longlive_env.training.export import main as export_main
from longlive_env.training.latents import SWITCH_AT
from longlive_env.training.teacher_forcing import ClipLayout
from longlive_env.training.trainer import TrainConfig, Trainer, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a codec of random weights."""
    path = tmp_path_factory.mktemp("causal")
    torch.manual_seed(0)
    save_codec(path / "codec.safetensors", PatchVAE(CODEC))
    return path


def stage(folder: Path, **options: Any) -> CausalStage:
    return CausalStage(
        **{
            "config": CONFIG,
            "codec": str(folder / "codec.safetensors"),
            "bank": str(folder / "bank"),
            "takes": 4,
            "held_out": 2,
            "takes_a_file": 2,
            "openings": 2,
            "beginnings": 2,
            "later": 2,
            "switch_takes": 4,
            **options,
        },
    )


def test_batches_follow_from_seed_and_step(folder: Path) -> None:
    small = stage(folder)
    once, again, other = small.batch(5), small.batch(5), small.batch(6)
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert not torch.equal(once["later.ids"], other["later.ids"])
    assert once["openings.clips"].shape == (2, 1, 3, 16, 12, 20)
    assert once["beginnings.clips"].shape == (2, 4, 3, 16, 12, 20)
    assert bool((once["beginnings.weights"].sum(dim=1) > 0).all())


def test_switches_end_soon_after_the_change(folder: Path) -> None:
    """The clip of a switch is captioned by its last block; the sink and mostly the window show what was."""
    small = stage(folder)
    batch = small._draw(np.random.default_rng(0), "train", (0, 0, 0, 16))
    assert batch["switches.clips"].shape == (16, 4, 3, 16, 12, 20)
    seen = [switch(np.random.default_rng(number)) for number in range(200)]
    assert {newest - SWITCH_AT for _, newest in seen} == {0, 1, 2}
    assert all(positions == [0, newest - 2, newest - 1, newest] for positions, newest in seen)
    assert sum(newest == SWITCH_AT for _, newest in seen) > 100


def test_most_contexts_are_spoiled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = stage(folder)
    batch = small._draw(np.random.default_rng(0), "train", (0, 0, 20, 0))
    parts = {name: batch[f"later.{name}"] for name in PARTS}
    shown = list[torch.Tensor]()

    def flow(model: Any, layout: Any, context: torch.Tensor, noisy: torch.Tensor, *_: Any) -> torch.Tensor:
        shown.append(context)
        return torch.zeros_like(noisy)

    monkeypatch.setattr(small, "_flow", flow)
    layout = ClipLayout.steady(3, small.options.copies, causal=True)
    small._loss(small.build(), layout, parts, torch.Generator().manual_seed(0))
    spoiled = (shown[0] != parts["clips"][:, :3]).flatten(1).any(1).sum().item()
    assert 10 <= spoiled < 20


def test_every_clip_counts_alike(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = stage(folder, openings=1, beginnings=3, later=0, switches=0)
    monkeypatch.setattr(small, "_loss", lambda *_: torch.tensor(1.0))
    found = small.losses(small.build(), small.batch(0), torch.Generator().manual_seed(0))
    assert {kind: loss.item() for kind, loss in found.items()} == {"openings": 0.25, "beginnings": 0.75}


def test_restored_contexts_are_the_models_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a flow of zero (the head of an untrained model) a restored block is its noisy self."""
    small = stage(folder, restored_share=0.5)
    model = small.build()
    batch = small._draw(np.random.default_rng(0), "train", (0, 0, 4, 0))
    parts = {name: batch[f"later.{name}"] for name in PARTS}
    context = parts["clips"][:, :3]
    parts["before_ids"], parts["before_mask"] = parts["ids"].flip(0), parts["mask"].flip(0)
    cross, asked = small._cross, list[torch.Tensor]()
    monkeypatch.setattr(small, "_cross", lambda model, *text: asked.extend(text) or cross(model, *text))
    restored = small._restore_some(model, context, parts, torch.Generator().manual_seed(0))
    assert torch.equal(restored[2:], context[2:])
    assert not torch.equal(restored[:2], context[:2])
    assert not restored.requires_grad
    assert torch.equal(asked[0], parts["before_ids"][:2]) and torch.equal(asked[1], parts["before_mask"][:2])
    again = small._restore_some(model, context, parts, torch.Generator().manual_seed(0))
    assert torch.equal(restored, again)


def test_restoring_again_begins_with_what_was_restored(folder: Path) -> None:
    """With a flow of zero every pass fades the picture, by 0.25 to 0.7, and adds noise to it."""
    small = stage(folder, restored_share=1.0, restored_passes=4)
    model = small.build()
    batch = small._draw(np.random.default_rng(0), "train", (0, 0, 2, 0))
    parts = {name: batch[f"later.{name}"] for name in PARTS}
    flat = torch.full_like(parts["clips"][:, :3], 100.0)
    left = set()
    for seed in range(8):
        restored = small._restore_some(model, flat, parts, torch.Generator().manual_seed(seed))
        share = restored.mean().item() / 100
        assert 0.25**4 < share < 0.7
        left.add(share < 0.25)
    assert left == {True, False}  # more than one pass, and one


def test_captions_before_a_change_are_those_of_the_old_scene(folder: Path) -> None:
    small = stage(folder)
    openings, _, switches = small.banks["train"]
    rng = np.random.default_rng(0)
    changed = draw_clips("switches", switches, 32, rng, "train")
    assert all(len(clips) == 32 for clips in (changed.captions, changed.before))
    differ = [old != new for old, new in zip(changed.before, changed.captions, strict=True)]
    assert any(differ)
    assert not all(differ)  # some end with the second block after the change
    alone = draw_clips("openings", openings, 4, rng, "train")
    assert alone.before == alone.captions


def test_noise_levels_are_those_of_the_sampler(folder: Path) -> None:
    exact = stage(folder, exact_share=1.0)
    levels = exact._noise_levels(6, 4, torch.Generator().manual_seed(0))
    expected = exact.sigmas.sort().values.expand(6, 4)
    torch.testing.assert_close(levels.sort(dim=1).values, expected)


def test_training_lowers_the_loss_and_exports_a_world(folder: Path) -> None:
    small, out = stage(folder), folder / "run"
    before = small.evaluate(small.build())
    train(small, TrainConfig(out=out, steps=25, checkpoint_s=1e9, evaluate_s=1e9, log_every=5))
    model = small.build()
    tensors, info = load_tensors(out / "weights.safetensors")
    copy_state(model, tensors, "weights.safetensors")
    after = small.evaluate(model)
    assert all(after[name] < before[name] for name in before)
    assert info["describe"]["config"]["name"] == "small"

    exported = export_world(out / "weights.safetensors", folder / "codec.safetensors", folder / "world")
    loaded = World.load(folder / "world")
    prompt = "a red robot walks right in the city at night"
    frames = [world.start(prompt, seed=1).step() for world in (exported, loaded)]
    assert frames[0].shape == (1, 9, 96, 160, 3)
    assert (frames[0].int() - frames[1].int()).abs().max() <= 2  # saved in half precision
    assert loaded.unknown_words("a beige cat") == ["beige"]

    world = str(folder / "world")
    further = stage(folder, start=world, codec=world, config=None)
    assert further.config == CONFIG  # that of the world to go on from
    assert all(abs(further.evaluate(further.build())[name] - after[name]) < 0.01 for name in after)


def test_sheet_shows_rollouts(folder: Path) -> None:
    small = stage(folder)
    assert small.sheet(small.build()).shape == (8 * 96, 6 * 160, 3)


def test_the_seed_of_a_sheet_draws_its_noise(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the number of worlds that run together does not."""
    monkeypatch.setattr(sheets, "ROWS", 2)
    monkeypatch.setattr(sheets, "BLOCKS", 1)

    class SamePrompts:
        def draw(self, rng: np.random.Generator, split: str) -> tuple[str, str]:
            return "a red cat in the city", "a red cat in the city"

    small = stage(folder)
    model = small.build()
    torch.nn.init.normal_(model.transformer.head.head.weight, std=0.1)
    world = small.world(model.eval())
    drawn = [
        sheets.rollout_sheet(world, SamePrompts(), seed, batch) for seed, batch in ((0, 2), (0, 1), (1, 2))
    ]
    assert (drawn[0].int() - drawn[1].int()).abs().max() <= 1
    assert not torch.equal(drawn[0], drawn[2])


def test_clear_errors(folder: Path) -> None:
    with pytest.raises(ConfigError, match="needs a codec"):
        CausalStage(config=CONFIG)
    bank = str(next((folder / "bank").glob("*.safetensors")))  # a file that no stage wrote
    with pytest.raises(CheckpointError, match="comes from the None stage and is not a codec; give weights"):
        stage(folder, codec=bank)
    with pytest.raises(CheckpointError, match="comes from the codec stage and holds no world"):
        codec = folder / "codec.safetensors"
        export_world(codec, codec, folder / "nothing")
    for name in ("takes", "switch_takes", "held_out", "copies", "restored_passes"):
        with pytest.raises(ConfigError, match=f"{name} is 0; expected at least 1"):
            CausalStage(**{name: 0})
    with pytest.raises(ConfigError, match="later is -1; expected at least 0"):
        CausalStage(later=-1)
    with pytest.raises(ConfigError, match="a step holds no clips; give some of openings"):
        CausalStage(openings=0, beginnings=0, later=0, switches=0)


def test_worlds_that_rendered_takes_are_not_for(folder: Path, small_world_folder: Path) -> None:
    with pytest.raises(ConfigError, match="has 48x32 pixels and a patch_vae codec; rendered takes are for"):
        stage(folder, config=None, start=str(small_world_folder))


def test_a_world_is_exported_with_the_codec_of_its_run(folder: Path, tmp_path: Path) -> None:
    small, codec, weights = stage(folder), folder / "codec.safetensors", tmp_path / "weights.safetensors"
    model = small.build().state_dict()
    save_tensors(weights, model, {"stage": "causal", "describe": small.describe()})
    tensors, info = load_tensors(codec)
    grown = {name: value + 1 if name.startswith("decoder.") else value for name, value in tensors.items()}
    save_tensors(tmp_path / "grown.safetensors", grown, info)
    export_world(weights, tmp_path / "grown.safetensors", tmp_path / "world")
    other = {**tensors, "latent_mean": tensors["latent_mean"] + 1}
    save_tensors(tmp_path / "other.safetensors", other, info)
    with pytest.raises(CheckpointError, match=r"other\.safetensors means other latents than those that"):
        export_world(weights, tmp_path / "other.safetensors", tmp_path / "nothing")
    save_tensors(weights, model, {"stage": "base", "describe": small.describe()})
    with pytest.raises(
        CheckpointError, match="comes from the base stage and holds no world; give the weights"
    ):
        export_world(weights, codec, tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_the_codec_of_an_export_may_be_that_of_a_world(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small, weights, world = stage(folder), tmp_path / "weights.safetensors", tmp_path / "world"
    save_tensors(weights, small.build().state_dict(), {"stage": "causal", "describe": small.describe()})
    export_world(weights, folder / "codec.safetensors", world)
    arguments = ["--model", str(weights), "--out", str(tmp_path / "again"), "--codec"]
    with pytest.raises(ConfigError, match="--start has no part in the export of the causal stage; leave it"):
        export_main([*arguments, str(world), "--start", "tiny"])
    assert not export_main([*arguments, str(world)])
    again = str(tmp_path / "again")
    assert capsys.readouterr().out == f"{again}: longlive play --world {again}\n"
    once, again = (World.load(out).codec.state_dict() for out in (world, tmp_path / "again"))
    assert all(torch.equal(value, again[name]) for name, value in once.items())
    with pytest.raises(CheckpointError, match=r"^tiny means other latents than those that"):
        export_world(weights, "tiny", tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="comes from the causal stage and is not a codec; give"):
        export_world(weights, weights, tmp_path / "nothing")
    with pytest.raises(ConfigError, match="there is no world or folder"):
        export_world(weights, tmp_path / "absent", tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.usefixtures("small_sheets")
def test_a_run_goes_on_with_the_start_that_it_began_with(folder: Path, tmp_path: Path) -> None:
    save_student_and_teacher(tmp_path, CONFIG)  # its codec, too, is that of the folder's bank
    start, moved, codec = (str(tmp_path / name) for name in ("world", "moved", "codec.safetensors"))
    shutil.copytree(start, moved)

    def trainer(**options: Any) -> Trainer:
        return Trainer(stage(folder, codec=codec, **options), TrainConfig(out=tmp_path / "run", steps=1))

    trainer(start=start).run()
    assert trainer(start=moved).step == 1
    with pytest.raises(CheckpointError, match="start_fingerprint is None, and was "):
        trainer()
    world = World.load(moved)
    assert world.text_encoder is not None
    torch.nn.init.zeros_(world.text_encoder.token_embedding.weight)
    world.save(moved)
    with pytest.raises(CheckpointError, match=r"start_fingerprint is '.*', and was '"):
        trainer(start=moved)


def test_captions_match_what_counts(folder: Path) -> None:
    """A beginning whose prompt is the old one counts only blocks before the change."""
    small = stage(folder)
    batch = small._draw(np.random.default_rng(0), "train", (0, 6, 0, 0))
    clips = draw_clips("beginnings", small.banks["train"][1], 6, np.random.default_rng(0), "train")
    ids, _ = small.tokenizer(clips.captions, CONFIG.transformer.text_len)
    assert torch.equal(batch["beginnings.ids"], ids)
    assert torch.equal(batch["beginnings.weights"], clips.under_prompt)
    assert set(clips.under_prompt.unique().tolist()) == {0.0, 1.0}
    assert len(batch["later.clips"]) == 0


def test_parts_hold_every_clip_once(folder: Path) -> None:
    small = stage(folder)
    batch = small.batch(0)
    parts = small.split(batch, 2)
    assert all(torch.equal(torch.cat([part[name] for part in parts]), batch[name]) for name in batch)
    with pytest.raises(ConfigError, match=r"^openings is 2, beginnings is 2, later is 2, switches is 2; exp"):
        small.split(batch, 4)
