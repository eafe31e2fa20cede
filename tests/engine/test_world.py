import copy
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from parity import CONFIG, DATA
from safetensors.torch import load_file

from longlive_env.engine import world_files
from longlive_env.engine.noise import RecordedNoise
from longlive_env.engine.text_encoding import KEPT_IN_MEMORY
from longlive_env.engine.world import World
from longlive_env.errors import BackendError, ConfigError, LongLiveError, PromptError


def test_the_same_seed_makes_the_same_world(make_world) -> None:
    frames = [make_world(seed).start("a").step() for seed in (0, 0, 1)]
    assert torch.equal(frames[0], frames[1]) and not torch.equal(frames[0], frames[2])


def test_making_a_world_leaves_the_global_generators_alone(make_world, monkeypatch) -> None:
    torch.manual_seed(0)
    want = torch.rand(3)
    torch.manual_seed(0)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("it seeds other GPUs"))
    make_world(7)
    assert torch.equal(torch.rand(3), want)


def test_copies_of_what_holds_a_world_share_it(make_world) -> None:
    world = make_world()
    assert copy.deepcopy({"world": [world]})["world"][0] is world and copy.copy(world) is world
    assert copy.deepcopy(world.transformer) is not world.transformer


def test_worlds_refuse_to_be_pickled_and_say_what_to_do(make_world) -> None:
    world = make_world()
    told = r"cannot pickle 'World' object .*\(world=\"tiny\".* snapshot\(\)"
    for holder in ({"world": [world]}, world.start("a")):
        with pytest.raises(TypeError, match=told):
            pickle.dumps(holder)


def test_a_saved_world_comes_back_in_the_same_bits(make_world, tmp_path: Path) -> None:
    world = make_world(rope="relative", keep_sink=False)
    world.save(tmp_path)
    written = {path.name for path in tmp_path.iterdir()}
    assert written == set(world_files.OWN_FILES) - {world_files.COMPLETION_FILE}
    loaded = World.load(tmp_path)
    assert loaded.config == world.config
    assert torch.equal(loaded.start("a").step(), world.start("a").step())


def test_half_precision_on_disk_runs_in_float32_on_a_cpu(make_world, tmp_path: Path) -> None:
    world = make_world()
    world.save(tmp_path, torch.float16)
    stored = load_file(tmp_path / "transformer.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    loaded = World.load(tmp_path)
    assert {p.dtype for p in loaded.transformer.parameters()} == {torch.float32}
    got, want = loaded.start("a").step_latents(), world.start("a").step_latents()
    assert 0 < (got - want).norm() / want.norm() < 1e-2


def test_published_checkpoints_make_a_world_that_reproduces_the_recording() -> None:
    """LoRA merged at load, sizes read from the files."""
    world = World.load(DATA / "mini")
    case = load_file(DATA / "cases" / "rollout_lora.safetensors")
    config = replace(world.config, height=CONFIG.height, width=CONFIG.width)
    world = World(config, world.transformer, world.codec, world.text_encoder, world.tokenizer)
    noise = RecordedNoise(case["noise"], case["step_noise"])
    rollout = world.start("", text=case["context_0"], noise=noise)
    got = [rollout.step_latents() for _ in range(3)]
    rollout.switch_prompt("", text=case["context_1"])
    got += [rollout.step_latents() for _ in range(5)]
    assert (torch.cat(got, 1) - case["latents"]).norm() / case["latents"].norm() < 1e-5


def test_published_checkpoints_take_the_positions_asked_for() -> None:
    absolute, relative = World.load(DATA / "mini"), World.load(DATA / "mini", rope="relative")
    assert absolute.config == replace(relative.config, rope="absolute") and absolute.options == {}
    assert relative.config.rope == "relative" and relative.options == {"rope": "relative"}


def test_a_world_knows_the_options_that_repeat_its_load(make_world, tmp_path: Path) -> None:
    make_world().save(tmp_path)
    world = World.load(tmp_path, kv_precision="fp8", memory=8, compile="off", steps=2)
    assert world.options == {"kv_precision": "fp8", "memory": "8", "steps": "2"}
    assert World.load(tmp_path, **world.options | {"steps": 2}).config == world.config


def test_positions_are_those_that_were_asked_for(make_world, tmp_path: Path) -> None:
    world = make_world(rope="relative")
    make_world().save(tmp_path)
    loaded = World.load(tmp_path, rope="relative")
    rollouts = [one.start("a") for one in (loaded, world, World.load(tmp_path))]
    frames = [[rollout.step() for _ in range(7)][-1] for rollout in rollouts]  # the sink has turned
    assert torch.equal(frames[0], frames[1]) and not torch.equal(frames[0], frames[2])
    with pytest.raises(ConfigError, match="rope is 'spiral'; it must be 'absolute' or 'relative'"):
        World.load(tmp_path, rope="spiral")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("device", "error", "message"),
    [
        ("gpu", ConfigError, "there is no device 'gpu'; expected cpu, cuda"),
        ("cuda:99", BackendError, "'cuda:99' cannot be used here: .*; take cpu"),
    ],
)
def test_a_device_that_is_not_there_is_told_before_weights_are_read(
    make_config, make_world, tmp_path: Path, device: str, error: type[Exception], message: str
) -> None:
    make_world().save(tmp_path)
    (tmp_path / "transformer.safetensors").unlink()
    with pytest.raises(error, match=message):
        World.load(tmp_path, device=device)
    with pytest.raises(error, match=message):
        World.load(tmp_path, device=device, memory="8")
    with pytest.raises(error, match=message):
        World.from_config(make_config(), device=device)


@pytest.mark.parametrize(("fast", "dtype"), [(False, torch.float32), (True, torch.bfloat16)])
def test_a_text_encoder_on_the_host_takes_a_type_that_it_multiplies(
    make_world, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog, fast: bool, dtype: torch.dtype
) -> None:
    """One GPU's bfloat16 is a plain loop on many processors, and a prompt would take minutes."""
    monkeypatch.setenv("LONGLIVE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(world_files, "multiplies_bfloat16", lambda device: fast)
    make_world().save(tmp_path)
    for folder in (tmp_path, DATA / "mini"):
        for placement, want in (("cpu", dtype), ("resident", torch.bfloat16)):
            with caplog.at_level("INFO"):
                parts = world_files.load(folder, "cpu", torch.bfloat16, text_placement=placement)
            encoder = parts.text_encoder if folder == tmp_path else parts.text_encoder.model
            assert {parameter.dtype for parameter in encoder.parameters()} == {want}
            assert {parameter.dtype for parameter in parts.transformer.parameters()} == {torch.bfloat16}
    assert caplog.text.count(f"the text encoder is on the host in {dtype}, in 0.0 GB of its memory") == 2


def test_a_world_is_optimized_as_a_loaded_one(make_world, tmp_path: Path) -> None:
    make_world().save(tmp_path)
    choices = {"precision": "int8-weight-only", "kv_precision": "fp8", "merge": True}
    loaded, made = World.load(tmp_path, **choices), World.load(tmp_path, merge=False)
    plain = made.start("a red cat").step_latents()
    with pytest.raises(ConfigError, match="kv_precision is 'fp4'; expected 'fp8' or None"):
        made.optimize(merge=True, kv_precision="fp4")
    assert torch.equal(made.start("a red cat").step_latents(), plain)
    made.optimize(**choices)
    rollouts = [world.start("a red cat") for world in (loaded, made)]
    for _ in range(2):
        first, second = (rollout.step_latents() for rollout in rollouts)
        assert torch.equal(first, second)
    assert not torch.equal(made.start("a red cat").step_latents(), plain)
    made.optimize()
    assert made.start("a red cat").state.cache.keys.dtype == torch.float32


def test_seeds_that_no_generator_takes_are_refused(make_world) -> None:
    world = make_world()
    for seed in (-1, 1 << 64, 1.5, "1", None):
        with pytest.raises(ConfigError, match=f"the seed is {seed!r}; expected a whole number from 0"):
            world.start("a", seed=seed)
    world.start("a", seed=(1 << 64) - 1)
    with pytest.raises(ConfigError, match="the seed is 18446744073709551616"):
        world.start(["a", "b"], seed=(1 << 64) - 1)


@pytest.mark.parametrize("seeds", [np.array([5, 6]), torch.tensor([5, 6]), range(5, 7), np.array(5)], ids=str)
def test_seeds_come_in_anything_that_holds_numbers(make_world, seeds) -> None:
    world = make_world()
    want = world.start(["a", "b"], seed=[5, 6]).step_latents()
    assert torch.equal(world.start(["a", "b"], seed=seeds).step_latents(), want)
    with pytest.raises(ConfigError, match=r"the seed is array\(\[5\.\]\)|got 1 seeds for 2 prompts"):
        world.start(["a", "b"], seed=[np.array([5.0])])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "bfloat16"}, "dtype is 'bfloat16'; expected one of torch's"),
        ({"codec": "lite"}, "codec is 'lite'; expected 'wan', 'light' or None"),
        ({"precision": "int4"}, "precision is 'int4'; expected 'bf16', 'fp8', "),
        ({"precision": "fp8"}, "precision fp8 on cpu: it needs a CUDA GPU"),
        ({"kv_precision": "fp4"}, "kv_precision is 'fp4'; expected 'fp8' or None"),
        ({"compile": "fast"}, "compile is 'fast'; expected one of off, default"),
        ({"compile": "graphs"}, "CUDA graphs need a CUDA GPU"),
        ({"steps": 0}, "steps is 0; expected a number of denoising steps"),
        ({"rope": "sinus"}, "rope is 'sinus'; it must be"),
    ],
    ids=str,
)
def test_options_that_cannot_be_are_told_before_weights_are_read(
    make_world, tmp_path: Path, options, message: str
) -> None:
    make_world().save(tmp_path)
    (tmp_path / "transformer.safetensors").unlink()
    for memory in (None, "8"):
        with pytest.raises(LongLiveError, match=message):
            World.load(tmp_path, memory=memory, **options)


def test_what_is_no_prompt_or_has_another_codec_is_told(make_world, tmp_path: Path) -> None:
    world = make_world()
    with pytest.raises(PromptError, match=r"the prompt is 5 \(int\); give a text, or a list"):
        world.start(5)
    with pytest.raises(PromptError, match=r"the prompt is None"):
        world.start("a").switch_prompt(None)
    world.save(tmp_path)
    with pytest.raises(ConfigError, match="'small' has the codec patch_vae, not 'light'; leave codec out"):
        World.load(tmp_path, codec="light")


def test_embeddings_are_zero_beyond_the_prompt_and_kept(make_world) -> None:
    world = make_world()
    text = world.encode_prompt(["ab", "c"])
    assert text.shape == (2, 32, 8)
    counts = [int(mask.sum()) for mask in world.tokenizer(["ab", "c"], 32)[1]]
    assert all(not row[count:].any() and row[:count].any() for row, count in zip(text, counts, strict=True))
    calls = []
    world.text_encoder.register_forward_hook(lambda *_: calls.append(1))
    assert torch.equal(world.encode_prompt(["c", "ab"]), text.flip(0))
    assert calls == []
    many = [f"p{i}" for i in range(2 * KEPT_IN_MEMORY)]
    assert world.encode_prompt(many).shape[0] == len(many)
    assert len(world.text_encoding._recent) == KEPT_IN_MEMORY


def test_a_prompt_that_is_too_long_changes_nothing(make_world) -> None:
    """Other engines read its beginning and drop the rest without a word."""
    world, too_long = make_world(), "a red robot " * 10
    with pytest.raises(
        PromptError, match=r"'a red robot a.*longer than the 32 tokens that world 'small' reads"
    ):
        world.start(too_long)
    rollout = world.start("a")
    rollout.step()
    before = rollout.snapshot()
    for change in (
        lambda: rollout.switch_prompt(too_long),
        lambda: rollout.reset_world(0, too_long, 5),
    ):
        with pytest.raises(PromptError, match="shorten it"):
            change()
        assert rollout.snapshot() == before


def test_words_beyond_the_vocabulary_are_named(make_world) -> None:
    assert make_world().unknown_words("a red ẞ-robot") == ["ẞ-robot"]


def test_a_world_without_text_encoder_takes_embeddings(make_config) -> None:
    world = World.from_config(make_config(), text_encoder=False)
    assert world.text_encoder is None
    assert world.start("a", text=torch.randn(1, 32, 8)).step().shape == (1, 9, 32, 48, 3)
    with pytest.raises(ConfigError, match="no text encoder"):
        world.start("a")
