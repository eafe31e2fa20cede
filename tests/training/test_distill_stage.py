"""Base, distillation and streaming on a small world: losses, turns, rollouts, what a resumed run keeps."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from toy_stages import CODEC, save_student_and_teacher
from toy_stages import CONFIG as ONE_LAYER

from longlive_env.engine.codec.patch_vae import PatchVAE
from longlive_env.engine.config import to_dict
from longlive_env.engine.noise import WorldNoise
from longlive_env.engine.schedule import flow_to_x0, levels_of
from longlive_env.engine.world import World
from longlive_env.errors import CheckpointError, ConfigError, WeightsError
from longlive_env.training import parallel
from longlive_env.training.base_stage import BaseStage
from longlive_env.training.checkpoint import save_tensors
from longlive_env.training.distill_stage import Distillation, DistillStage
from longlive_env.training.export import export_distilled, export_world
from longlive_env.training.export import main as export_main
from longlive_env.training.fingerprints import start_fingerprint
from longlive_env.training.lora import merge_lora
from longlive_env.training.score import clip_flow
from longlive_env.training.start_world import ORIGIN_FILE, known_fingerprints
from longlive_env.training.stream_stage import StreamStage
from longlive_env.training.train_config import TrainConfig
from longlive_env.training.trainer import Trainer, train
from longlive_env.training.world_model import WorldModel

pytestmark = pytest.mark.usefixtures("small_sheets")

CONFIG = replace(ONE_LAYER, transformer=replace(ONE_LAYER.transformer, layers=2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small world of random weights, its codec, and a teacher with another transformer."""
    path = tmp_path_factory.mktemp("distill")
    save_student_and_teacher(path, CONFIG)
    return path


def distill(folder: Path, **options: Any) -> DistillStage:
    return DistillStage(**with_files(folder, options))


def stream(folder: Path, **options: Any) -> StreamStage:
    return StreamStage(**with_files(folder, {"length": 6, **options}))


def with_files(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    files = {"start": str(folder / "world"), "teacher": str(folder / "teacher.safetensors")}
    return {**files, "clips": 2, "blocks": 3, "critic_updates": 1, **options}


def turn(stage: DistillStage, generate: bool) -> dict[str, Tensor]:
    batch = stage.batch(0)
    return {**batch, "generate": torch.tensor(generate)}


def noise() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def gradients(model: torch.nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


def base(folder: Path, **options: Any) -> BaseStage:
    sizes = {"takes": 4, "held_out": 2, "takes_a_file": 2, "clips": 4, "sample_steps": 2}
    files = {"start": folder / "world", "codec": folder / "codec.safetensors", "bank": folder / "bank"}
    return BaseStage(**{**{name: str(path) for name, path in files.items()}, **sizes, **options})


def test_rollouts_end_after_any_denoising_step(folder: Path) -> None:
    stage = distill(folder)
    assert {int(stage.batch(step)["steps"]) for step in range(40)} == {1, 2, 3, 4}


def test_the_critic_learns_at_a_rate_of_its_own(folder: Path) -> None:
    stage = distill(folder, critic_rate=0.5)
    model = stage.build()
    rates = {
        id(p): group.get("lr_scale", 1.0)
        for group in stage.optimizer(model).param_groups
        for p in group["params"]
    }
    assert {rates[id(p)] for p in model.generator.parameters()} == {1.0}
    assert {rates[id(p)] for p in model.critic.parameters()} == {0.5}


def test_the_base_learns_clips(folder: Path) -> None:
    stage = base(folder)
    assert stage.config == CONFIG  # that of the world that it starts from
    assert stage.batch(0)["clips"].shape == (4, 21, 16, 12, 20)
    untrained = stage.evaluate(stage.build())
    model = train(stage, TrainConfig(out=folder / "base", steps=25, checkpoint_s=1e9, evaluate_s=1e9))
    assert stage.evaluate(model)["held_out_flow"] < untrained["held_out_flow"]
    with Image.open(folder / "base" / "sheets" / "0000025.png") as sheet:
        assert sheet.size == (6 * 160, 6 * 96)
    teacher = folder / "base" / "weights.safetensors"
    assert distill(folder, teacher=str(teacher)).teacher.config == CONFIG.transformer


def test_a_teacher_has_to_know_the_prompts_and_latents_of_the_world(folder: Path, tmp_path: Path) -> None:
    stage, file = base(folder), tmp_path / "base.safetensors"
    model, about = stage.build(), stage.describe()

    def teach(tensors: dict[str, Tensor], described: dict[str, Any], kind: str = "base") -> None:
        save_tensors(file, tensors, {"stage": kind, "describe": described})
        distill(folder, teacher=str(file))

    teach(model.state_dict(), about)
    with pytest.raises(CheckpointError, match="learned latents of another codec than that of"):
        teach(model.state_dict(), {**about, "codec_fingerprint": "0"})
    with pytest.raises(CheckpointError, match=r"another text encoder than .*; train the base with start="):
        teach(WorldModel(CONFIG).state_dict(), about)
    with pytest.raises(
        CheckpointError, match="comes from the causal stage, whose model scores no clips; give"
    ):
        teach(model.state_dict(), about, "causal")


def test_a_world_that_was_stored_in_8_bits_keeps_its_teacher(folder: Path, tmp_path: Path) -> None:
    """And a critic knows the worlds that were distilled from its own, however they are stored."""
    train(distill(folder), TrainConfig(out=tmp_path / "distill", steps=1))
    weights, world = tmp_path / "distill" / "weights.safetensors", tmp_path / "world"
    export_distilled(weights, world)
    assert start_fingerprint(str(world)) != start_fingerprint(str(folder / "world"))
    further = stream(folder, start=str(world), critic=str(weights))
    assert isinstance(further.build(), Distillation)
    train(further, TrainConfig(out=tmp_path / "stream", steps=1))
    export_distilled(tmp_path / "stream" / "weights.safetensors", tmp_path / "last")
    assert start_fingerprint(str(folder / "world")) in known_fingerprints(str(tmp_path / "last"))

    start = World.load(str(folder / "world"))
    with torch.no_grad():
        start.text_encoder.token_embedding.weight.mul_(2)
    start.save(world)  # over the distilled one: what was noted there is no longer true
    with pytest.raises(CheckpointError, match="was distilled from another world than"):
        stream(folder, start=str(world), critic=str(weights), teacher=str(weights))


def test_rollout_in_training_equals_inference(folder: Path) -> None:
    """With every denoising step taken, what is trained on is what a user of the world would see."""
    stage = distill(folder)
    model = stage.build()
    batch = {**turn(stage, True), "steps": torch.tensor(len(CONFIG.sampler.steps))}
    made = stage.generate(model, batch)
    assert made.latents.requires_grad
    rollout = stage.world.start(prompts_of(stage, batch), seed=batch["seeds"].tolist())
    with torch.inference_mode():
        expected = torch.cat([rollout.step_latents() for _ in range(3)], dim=1)
    torch.testing.assert_close(made.latents.detach(), expected, rtol=1e-4, atol=1e-5)


def prompts_of(stage: DistillStage, batch: dict[str, Tensor]) -> list[str]:
    import numpy as np

    seeds = batch["seeds"].tolist()
    return [stage.prompts.draw(np.random.default_rng(seed), "train")[0] for seed in seeds]


def test_generator_and_critic_take_turns(folder: Path) -> None:
    stage = distill(folder, critic_updates=2)
    assert [bool(stage.batch(step)["generate"]) for step in range(6)] == [True, False, False] * 2
    for generate, name in ((True, "generator"), (False, "critic")):
        model = stage.build()
        losses = stage.losses(model, turn(stage, generate), noise())
        assert list(losses) == [name]
        losses[name].backward()
        reached = gradients(model)
        assert reached and all(parameter.startswith(name) for parameter in reached)
        assert not gradients(stage.teacher)


def test_no_gradient_reaches_cached_history(folder: Path) -> None:
    """A block's gradient does not depend on those of the blocks before it: they are detached."""
    stage = distill(folder)
    model = stage.build()
    rollout = stage.start(model.generator, ["a red cat in the city"], WorldNoise([1]))
    first = rollout.step_latents()
    second = rollout.step_latents()
    (through,) = torch.autograd.grad(second.sum(), first, allow_unused=True)
    assert through is None
    assert not rollout.state.history.requires_grad
    assert not rollout.state.cache.keys.requires_grad


def test_gradient_of_distribution_matching(folder: Path) -> None:
    """The loss moves the clip against the difference of the critic's and the teacher's predictions."""
    stage = distill(folder)
    model = stage.build()
    made = stage.generate(model, turn(stage, True))
    clip = made.latents.detach().requires_grad_(True)
    loss = stage._generator_loss(model, type(made)(clip, made.text, made.weights), noise())
    loss.backward()
    noisy, sigma, _ = stage._noised(clip.detach(), noise())

    def clean(transformer: nn.Module, text: Tensor) -> Tensor:
        return flow_to_x0(noisy, clip_flow(transformer, noisy, sigma, text, 1000), levels_of(sigma))

    fake, prompted = clean(model.critic, made.text), clean(stage.teacher, made.text)
    empty = clean(stage.teacher, stage.negative.expand_as(made.text))
    real = empty + stage.options.guidance * (prompted - empty)
    difference = fake - real
    scale = (clip.detach() - real).abs().mean(dim=(1, 2, 3, 4), keepdim=True)
    torch.testing.assert_close(clip.grad, difference / scale / clip.numel(), rtol=2e-3, atol=1e-8)


def test_noise_levels_of_the_scores_have_a_warp_of_their_own(folder: Path) -> None:
    """`score_shift` replaces the sampler's warp of 5; undone, either gives the same uniform levels."""
    clips = torch.zeros(64, 3, 4, 2, 2)
    (_, usual, _), (_, own, _) = (
        distill(folder, levels=[0.001, 1.0], score_shift=shift)._noised(clips, noise())
        for shift in (0.0, 2.0)
    )
    shift = CONFIG.sampler.shift
    uniform = usual / (shift + (1 - shift) * usual)
    torch.testing.assert_close(own, 2 * uniform / (1 + uniform), rtol=1e-4, atol=2e-3)
    assert own.mean() < usual.mean()


def test_adapters_alone_are_trained(folder: Path) -> None:
    stage = distill(folder, lora_rank=2)
    model = stage.build()
    stage.losses(model, turn(stage, True), noise())["generator"].backward()
    trained = {n for n, p in model.generator.named_parameters() if p.requires_grad}
    assert trained and all(name.endswith((".up", ".down")) for name in trained)
    reached = gradients(model)
    assert all(name.endswith((".up", ".down")) for name in reached)
    assert {name for name, _ in model.named_parameters() if name.endswith(".up")} <= reached


def test_the_critic_can_have_adapters_too(folder: Path) -> None:
    stage = distill(folder, lora_rank=2, critic_lora_rank=3)
    model = stage.build()
    stage.losses(model, turn(stage, False), noise())["critic"].backward()
    reached = gradients(model)
    assert reached and all(name.startswith("critic.") and name.endswith((".up", ".down")) for name in reached)
    assert model.critic.get_parameter("blocks.0.ffn.0.up").shape[1] == 3


def test_a_critic_has_to_score_clips(folder: Path, tmp_path: Path) -> None:
    stage, file = distill(folder), tmp_path / "follow.safetensors"
    save_tensors(file, stage.build().state_dict(), {"stage": "follow", "describe": stage.describe()})
    with pytest.raises(CheckpointError, match="comes from the follow stage, whose model scores no clips"):
        distill(folder, critic=str(file)).build()


def test_a_critic_goes_on_from_a_distillation(folder: Path, tmp_path: Path) -> None:
    average = train(distill(folder), TrainConfig(out=tmp_path, steps=2))
    assert isinstance(average, Distillation)
    going_on = distill(folder, critic=str(tmp_path / "weights.safetensors")).build()
    assert same(going_on.critic, average.critic)
    assert not same(going_on.critic, going_on.generator)
    adapted = train(distill(folder, critic_lora_rank=2), TrainConfig(out=tmp_path / "adapted", steps=2))
    assert isinstance(adapted, Distillation)
    merge_lora(adapted.critic)
    going_on = distill(folder, critic=str(tmp_path / "adapted" / "weights.safetensors")).build()
    assert same(going_on.critic, adapted.critic)


def test_the_teacher_is_guided_away_from_a_negative_prompt(folder: Path) -> None:
    stage = distill(folder, negative_prompt="a blue dog in the rain")
    assert torch.equal(stage.negative, stage.encode(["a blue dog in the rain"]))
    assert not torch.equal(stage.negative, distill(folder).negative)


def test_the_end_of_a_prompt_that_is_too_long_is_dropped(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line of a file must not end a run that has gone on for days."""
    stage, short = distill(folder), "a red cat " * CONFIG.transformer.text_len
    assert torch.equal(stage.encode([short]), stage.encode([short + " in the city"]))
    monkeypatch.setattr(type(stage.prompts), "draw", lambda self, rng, split: (short, short))
    assert stage.sheet(stage.build()).ndim == 3


def test_adapters_are_trained_through_a_switch(folder: Path) -> None:
    stage = stream(folder, lora_rank=2)
    model = stage.build()
    stage.takes.stream = stage.takes.begin(model.generator, [4, 5])
    stage.takes.stream.switches[:] = [1, 2]
    stage.losses(model, turn(stage, True), noise())["generator"].backward()
    assert all(name.endswith((".up", ".down")) for name in gradients(model))


def test_prompts_mean_the_same_under_autocast(folder: Path) -> None:
    """The world keeps embeddings, in memory and on disk: they must be those that inference computes."""
    plain, mixed = distill(folder), distill(folder)
    expected = plain.generate(plain.build(), turn(plain, False)).text
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mixed.generate(mixed.build(), turn(mixed, False)).text, expected)


def test_a_distilled_generator_is_exported_with_its_adapters_merged(folder: Path, tmp_path: Path) -> None:
    trainer = Trainer(distill(folder, lora_rank=2), TrainConfig(out=tmp_path, steps=3, log_every=1))
    trainer.run()
    assert isinstance(trainer.average, Distillation)
    world = export_distilled(tmp_path / "weights.safetensors", tmp_path / "world")
    x, sigma = torch.randn(1, 3, 16, 12, 20), torch.full((1, 3), 500.0)
    text = world.encode_prompt(["a red cat"])
    with torch.no_grad():
        expected = trainer.average.generator.forward_clip(x, sigma, text)
        torch.testing.assert_close(
            world.transformer.forward_clip(x, sigma, text), expected, rtol=1e-4, atol=1e-5
        )
    assert World.load(tmp_path / "world").start("a red cat").step().shape == (1, 9, 96, 160, 3)
    with pytest.raises(CheckpointError, match="comes from the base stage"):
        export_distilled(folder / "teacher.safetensors", tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="absent"):
        export_main(["--model", str(tmp_path / "absent"), "--out", str(tmp_path / "nothing")])
    assert not (tmp_path / "nothing").exists()
    other = tmp_path / "other"
    shutil.copytree(folder / "world", other)
    (other / "tokenizer.json").write_text((other / "tokenizer.json").read_text() + " ")
    with pytest.raises(CheckpointError, match="another world than"):
        export_distilled(tmp_path / "weights.safetensors", tmp_path / "nothing", start=str(other))
    with pytest.raises(CheckpointError, match="use export_distilled"):
        export_world(tmp_path / "weights.safetensors", folder / "codec.safetensors", tmp_path / "nothing")


def test_a_distilled_world_takes_a_decoder_that_was_trained_on_alone(folder: Path, tmp_path: Path) -> None:
    """Of any size, and from the codec as trained, which a world keeps in half precision."""
    start, model, out = tmp_path / "start", tmp_path / "weights.safetensors", tmp_path / "world"
    whole = World.load(str(folder / "world"))
    whole.save(start, torch.float16)
    train(distill(folder, start=str(start)), TrainConfig(out=tmp_path, steps=1))
    larger = replace(CODEC, decoder_blocks=(2, 1))
    grown = PatchVAE(larger).state_dict()
    own = whole.codec.state_dict().items()
    weights = grown | {name: value.clone() for name, value in own if not name.startswith("decoder.")}
    decoder, info = tmp_path / "codec.safetensors", {"stage": "codec", "describe": {"codec": to_dict(larger)}}
    save_tensors(decoder, weights, info)
    assert not export_main(["--model", str(model), "--codec", str(decoder), "--out", str(out)])
    exported = World.load(out)
    assert exported.config == replace(CONFIG, codec=larger)
    for name, value in exported.codec.state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=2e-3, atol=1e-4)  # stored as float16
    world = export_distilled(model, tmp_path / "again", codec=out)
    assert world.config == exported.config and same(world.codec, exported.codec)

    weights["latent_mean"] += 0.1
    save_tensors(decoder, weights, info)
    with pytest.raises(CheckpointError, match=r"codec\.safetensors means other latents than those that"):
        export_distilled(model, tmp_path / "nothing", codec=decoder)
    assert not (tmp_path / "nothing").exists()


def test_a_start_with_a_better_decoder_stays_the_start(folder: Path, tmp_path: Path) -> None:
    start, out = tmp_path / "start", tmp_path / "run"
    shutil.copytree(folder / "world", start)
    about = {"start": str(start)}
    Trainer(distill(folder, **about), TrainConfig(out=out, steps=1)).run()
    world = World.load(start)
    larger = replace(CODEC, decoder_blocks=(2, 1))
    codec = PatchVAE(larger)
    kept = {name: value for name, value in world.codec.state_dict().items() if "decoder" not in name}
    codec.load_state_dict(kept, strict=False)
    codec.eval().requires_grad_(False)
    world.replaced(config=replace(world.config, codec=larger), codec=codec).save(start)
    assert start_fingerprint(str(start)) == start_fingerprint(str(folder / "world"))
    assert Trainer(distill(folder, **about), TrainConfig(out=out, steps=1)).step == 1
    weights = out / "weights.safetensors"
    assert isinstance(distill(folder, critic=str(weights), **about).build(), Distillation)
    export_distilled(weights, tmp_path / "world")


@pytest.mark.parametrize("content", ["[]", "{}", '{"origins": 3}', '{"origins": [3]}', "{"])
def test_a_damaged_note_of_origins_is_named(folder: Path, content: str, tmp_path: Path) -> None:
    shutil.copytree(folder / "world", tmp_path / "world")
    (tmp_path / "world" / ORIGIN_FILE).write_text(content)
    with pytest.raises(WeightsError, match=r"origin\.json (holds no list of origins|is not valid JSON)"):
        known_fingerprints(str(tmp_path / "world"))
    (tmp_path / "world" / "tokenizer.json").unlink()
    with pytest.raises(WeightsError, match=r"tokenizer\.json does not exist"):
        known_fingerprints(str(tmp_path / "world"))


def test_a_base_goes_on_with_the_start_that_it_began_with(folder: Path, tmp_path: Path) -> None:
    """Which says, too, whether it trains the text encoder."""

    def trainer(start: Path | str) -> Trainer:
        stage = base(folder, start=str(start), config=CONFIG)
        return Trainer(stage, TrainConfig(out=tmp_path / "run", steps=1))

    trainer(folder / "world").run()
    assert trainer(folder / "world").step == 1
    with pytest.raises(CheckpointError, match="text_encoder_trained is True, and was False"):
        trainer("")
    other = World.load(folder / "world")
    with torch.no_grad():
        other.text_encoder.token_embedding.weight.mul_(2)
    other.save(tmp_path / "other")
    with pytest.raises(CheckpointError, match=r"start_fingerprint is '.*', and was '"):
        trainer(tmp_path / "other")


def test_a_chunk_begins_with_what_was_generated(folder: Path) -> None:
    stage = stream(folder, switch_share=0.0)
    model, frames = stage.build(), CONFIG.frames_per_block
    first = stage.generate(model, turn(stage, False))
    assert first.latents.shape[1] == 3 * frames and bool(first.weights.all())
    assert stage.takes.stream is not None and stage.takes.stream.age == 3
    second = stage.generate(model, turn(stage, False))
    assert torch.equal(second.latents[:, :frames], first.latents[:, -frames:])
    assert not second.weights[:, :frames].any() and bool(second.weights[:, frames:].all())
    assert second.latents.requires_grad and not stage.takes.stream.tail.requires_grad
    stage.generate(model, turn(stage, False))  # two more blocks would pass the length of 6: new takes
    assert stage.takes.stream.age == 3


def test_after_a_switch_the_teacher_is_asked_about_the_new_prompt(folder: Path) -> None:
    stage = stream(folder)
    model, frames = stage.build(), CONFIG.frames_per_block
    stage.takes.stream = stage.takes.begin(model.generator, [4, 5])
    stage.takes.stream.switches[:] = [1, 6]
    before = stage.takes.stream.rollout.prompts
    made = stage.generate(model, turn(stage, False))
    now = stage.takes.stream.rollout.prompts
    assert now[0] == stage.takes.stream.later[0] != before[0] and now[1] == before[1]
    torch.testing.assert_close(made.text, stage.world.encode_prompt(now), rtol=1e-4, atol=1e-5)
    assert made.weights[0].tolist() == [0.0] * frames + [1.0] * 2 * frames
    assert bool(made.weights[1].all())


def test_a_resumed_stream_goes_on(folder: Path, tmp_path: Path) -> None:
    def run(out: Path, steps: int) -> Trainer:
        trainer = Trainer(stream(folder), TrainConfig(out=out, steps=steps, log_every=1))
        trainer.run()
        return trainer

    whole = run(tmp_path / "whole", 3)  # a take has two chunks
    run(tmp_path / "parts", 1)
    resumed = run(tmp_path / "parts", 3)
    assert same(whole.model, resumed.model)
    rows = [(tmp_path / name / "log.jsonl").read_text().count('"lr"') for name in ("whole", "parts")]
    assert rows == [3, 3]


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_processes_that_cannot_share_a_step_say_so_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "processes", lambda: 2)
    monkeypatch.setattr(World, "load", lambda name: pytest.fail("the world was loaded"))
    with pytest.raises(ConfigError, match=r"^clips is 3; expected multiples of 2"):
        distill(folder, clips=3)


def test_clear_errors(folder: Path) -> None:
    with pytest.raises(ConfigError, match="needs a teacher"):
        DistillStage(start=str(folder / "world"))
    with pytest.raises(CheckpointError, match="comes from the codec stage, whose model scores no clips"):
        distill(folder, teacher=str(folder / "codec.safetensors"))
    with pytest.raises(ConfigError, match="overlap is 3"):
        stream(folder, overlap=3)
    with pytest.raises(ConfigError, match="less than a chunk"):
        stream(folder, length=2)
    for name, value in (
        ("clips", 0),
        ("blocks", 0),
        ("critic_updates", -1),
        ("levels", [0.9, 0.1]),
        ("score_shift", -1),
    ):
        with pytest.raises(ConfigError, match=f"{name} is"):
            distill(folder, **{name: value})
    with pytest.raises(ConfigError, match="clips is 0"):
        stream(folder, clips=0)
    with pytest.raises(ConfigError, match="takes is 0"):
        BaseStage(takes=0)
    with pytest.raises(ConfigError, match="one thread"):
        stream(folder).split({}, 2)
    with pytest.raises(ConfigError, match=r"^clips is 2; expected multiples of 3"):
        distill(folder).split(distill(folder).batch(0), 3)
    assert isinstance(distill(folder).build(), Distillation)
