"""Predicted bytes are those of real worlds; plans take the best that fits, or say what is missing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import nn

from longlive_env.engine.config import PRESETS, LightVAEConfig, Positions, WanVAEConfig, WorldConfig
from longlive_env.engine.footprint import footprint, peak_bytes
from longlive_env.engine.memory import GIB, RESERVE_BYTES, MemoryPlan, arrange, budget, plan
from longlive_env.engine.offload import _ON_HOST, offload
from longlive_env.engine.quantize import weight_bytes
from longlive_env.engine.world import World
from longlive_env.errors import ConfigError

BIG = PRESETS["1.3b"]
MIB = 1 << 20


@pytest.mark.parametrize(
    ("rope", "batch", "dtype"), [("absolute", 1, torch.float32), ("relative", 3, torch.bfloat16)]
)
def test_weights_and_state_are_those_of_a_real_world(
    make_config: Callable[..., WorldConfig], rope: str, batch: int, dtype: torch.dtype
) -> None:
    config = make_config(rope=rope)
    world = World.from_config(config, dtype=dtype)
    rollout = world.start(["a red cat"] * batch)
    rollout.step()
    state, found = rollout.state, footprint(config, dtype, batch)
    assert found.transformer == weight_bytes(world.transformer)
    assert found.codec == weight_bytes(world.codec)
    assert found.text_encoder == weight_bytes(world.text_encoder)
    cache = state.cache
    assert found.kv_cache == cache.keys.nbytes + cache.values.nbytes + cache.sink_keys.nbytes
    assert found.prompt_state == state.cross.buffer.nbytes + state.text.nbytes + state.history.nbytes
    assert found.codec_state == sum(value.nbytes for value in state.codec.memory.values())


@pytest.mark.parametrize("codec", [WanVAEConfig(dim=8, residual_blocks=1), LightVAEConfig((16, 8, 8, 8), 8)])
def test_the_state_of_published_codecs_is_counted(codec: WanVAEConfig | LightVAEConfig) -> None:
    transformer = replace(BIG.transformer, dim=32, ffn_dim=32, heads=2, layers=1, text_dim=8, text_len=4)
    text = replace(BIG.text_encoder, vocab_size=64, dim=8, ffn_dim=8, heads=1, head_dim=8, layers=1)
    config = replace(BIG, height=32, width=48, transformer=transformer, text_encoder=text, codec=codec)
    world = World.from_config(config, text_encoder=False)
    rollout = world.start("", text=torch.zeros(1, 4, 8))
    for _ in range(2):
        rollout.step()
    found = footprint(config, torch.float32)
    assert found.codec_state == sum(value.nbytes for value in rollout.state.codec.memory.values()) > 0
    assert found.decode_peak > found.codec_state


def test_peaks_are_those_of_a_real_run_on_a_cpu(make_config: Callable[..., WorldConfig]) -> None:
    """The CPU norms and rotates in other steps than the kernels counted on, so this is no exact match."""
    config = make_config(height=64, width=96)
    rollout = World.from_config(config).start("a red cat")
    for _ in range(5):
        rollout.step()
    found = footprint(config, torch.float32)
    with torch.inference_mode():
        denoise = peak_bytes(lambda: rollout.step_latents(steps=1))
        latents = rollout.step_latents()
        decode = peak_bytes(lambda: rollout.decode(latents))
    assert found.denoise_peak == pytest.approx(denoise, rel=0.35)
    assert found.decode_peak == pytest.approx(decode, rel=0.1)


def small_published(codec: WanVAEConfig | LightVAEConfig) -> WorldConfig:
    """The published world's shape of time and depth of context, at small sizes."""
    transformer = replace(BIG.transformer, dim=128, ffn_dim=512, heads=4, layers=6, text_dim=16, text_len=32)
    text = replace(BIG.text_encoder, vocab_size=64, dim=16, ffn_dim=16, heads=1, head_dim=8, layers=1)
    return replace(BIG, height=64, width=96, transformer=transformer, text_encoder=text, codec=codec)


@pytest.mark.parametrize(
    ("config", "batch"),
    [
        (PRESETS["tiny"], 2),
        (small_published(WanVAEConfig(dim=16, residual_blocks=1)), 1),
        (small_published(LightVAEConfig((64, 32, 16, 16), 16)), 1),
    ],
    ids=["two tiny worlds", "wan codec", "light codec"],
)
def test_the_predicted_peak_is_that_of_all_live_tensors(config: WorldConfig, batch: int) -> None:
    """Everything that a whole run allocates, weights included, from loading to a prompt switch.

    Denoising steps follow one another in the same memory, so that of one is that of four.
    """
    config = replace(config, sampler=replace(config.sampler, steps=(1000,)))
    shape = config.transformer
    text = torch.ones(batch, shape.text_len, shape.text_dim)

    def run() -> None:
        rollout = World.from_config(config, text_encoder=False).start([""] * batch, text=text)
        rollout.step()
        with torch.inference_mode():
            for _ in range(config.context_blocks - 1):  # until the context is full; the codec's state is
                rollout.step_latents()
        rollout.switch_prompt([""] * batch, text=text)
        rollout.step()

    found = footprint(config, torch.float32, batch)
    predicted = found.transformer + found.codec + found.state + found.workspace
    assert predicted == pytest.approx(peak_bytes(run), rel=0.1)


def test_the_peak_counts_what_lives_at_once() -> None:
    def run() -> torch.Tensor:
        a = torch.zeros(1000, device="meta")
        b = a * 2
        view = b[:10].clone()
        del a
        c = b + 1
        del b, view
        return c + 1

    assert peak_bytes(run) == 8040 and peak_bytes(lambda: None) == 0


def test_offloaded_layers_visit_one_at_a_time(make_config: Callable[..., WorldConfig]) -> None:
    config = make_config()
    world = World.from_config(config)
    found = footprint(config, torch.float32)
    largest = max(
        weight_bytes(one) for one in world.transformer.blocks.modules() if isinstance(one, nn.Linear)
    )
    offload(world.transformer, "cpu")
    kept = sum(p.nbytes for p in world.transformer.parameters() if getattr(p, _ON_HOST, False))
    assert found.resident_transformer(offload=True) == found.transformer - kept + largest < found.transformer
    assert found.resident_transformer(offload=False) == found.transformer


def test_eight_bit_keys_and_values_take_half(make_config: Callable[..., WorldConfig]) -> None:
    config = make_config(rope="relative")
    plain, small = footprint(config), footprint(config, kv_dtype=torch.float8_e4m3fn)
    assert 2 * small.kv_cache == plain.kv_cache and small.prompt_state == plain.prompt_state


def test_the_published_world_takes_what_is_known() -> None:
    found = footprint(BIG)
    tokens, width, layers = 12 * 1560, 1536, 30
    assert found.kv_cache == 2 * layers * tokens * width * 2
    assert found.transformer == 2 * 1_418_996_800
    assert found.text_encoder == pytest.approx(11_361_920_418, rel=1e-4)  # the published file, half precision


@pytest.mark.parametrize(
    ("memory", "text", "codec", "kv"),
    [
        ("80", "resident", "wan", None),
        ("40", "resident", "wan", None),
        ("24", "freed", "wan", None),
        ("12", "cpu", "light", None),
        ("8", "cpu", "light", "fp8"),
    ],
)
def test_plans_for_usual_devices(memory: str, text: str, codec: str, kv: str | None) -> None:
    found = plan(BIG, budget(memory))
    assert (found.text_encoder, found.codec, found.kv_precision, found.offload) == (text, codec, kv, False)
    assert found.peak_bytes <= found.budget_bytes == int(memory) * GIB
    assert len(found.reasons) == {"80": 0, "40": 0, "24": 1, "12": 4, "8": 5}[memory]
    assert f"of {memory}.00 GiB predicted" in str(found) and (not found.reasons or "too large" in str(found))


def test_every_rung_takes_less_than_the_one_before() -> None:
    peaks = []
    for rung in ladder(BIG):
        peaks.append(rung.peak_bytes)
    assert len(peaks) == 7 and peaks == sorted(peaks, reverse=True)


def ladder(config: WorldConfig) -> list[MemoryPlan]:
    """All plans, from the best on: each is what just does not fit where the one before it does."""
    found = [plan(config, 1 << 50)]
    while True:
        try:
            found.append(plan(config, found[-1].peak_bytes - 1))
        except ConfigError:
            return found


def test_on_cuda_decoding_has_memory_of_its_own() -> None:
    found = footprint(BIG)
    beside = found.decode_peak + found.recache_peak
    assert found.workspace_on("cuda:1") == beside > found.workspace_on("cpu") == found.workspace
    on_cuda, on_cpu = plan(BIG, 80 * GIB), plan(BIG, 80 * GIB, device="cpu")
    assert on_cuda.running_bytes - on_cpu.running_bytes == found.recache_peak
    assert on_cuda.encoding_bytes == on_cpu.encoding_bytes
    captured = plan(BIG, 80 * GIB, captured=True)
    kept = found.denoise_peak + found.decode_peak
    assert captured.running_bytes - on_cuda.running_bytes == found.captured_peak == kept > 0
    assert captured.encoding_bytes - on_cuda.encoding_bytes == kept  # graphs stay meanwhile
    assert found.workspace_on("cpu", captured=True) == found.workspace
    offloaded = [plan(BIG, 6 * GIB, captured=captured) for captured in (False, True)]
    assert all(one.offload for one in offloaded)  # which rules out capturing
    assert offloaded[0].running_bytes == offloaded[1].running_bytes


def test_a_plan_counts_what_the_mode_captures(
    small_world: World, small_world_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longlive_env.engine.memory.captures", lambda mode, device: mode == "graphs")
    asked: list[object] = []

    def watched(*arguments: object, captured: bool, **options: Any) -> MemoryPlan:
        asked.append(captured)
        return plan(*arguments, captured=captured, **options)

    monkeypatch.setattr("longlive_env.engine.memory.plan", watched)
    arrange(small_world.config, "8", device="cpu", compile="graphs")
    World.load(small_world_folder, memory="8")
    monkeypatch.setattr("longlive_env.engine.load_options.check_mode", lambda mode, device: None)
    monkeypatch.setattr(World, "compile", lambda world, mode: None)
    World.load(small_world_folder, memory="8", compile="graphs")
    assert asked == [True, False, True]


def test_states_that_are_kept_at_once_are_counted(make_config: Callable[..., WorldConfig]) -> None:
    config = make_config()
    one, three = plan(config, 1 << 40), plan(config, 1 << 40, states=3)
    assert three.running_bytes - one.running_bytes == 2 * footprint(config).state
    assert three.encoding_bytes - one.encoding_bytes == 2 * footprint(config).state
    two = plan(BIG, 24 * GIB, states=2)
    assert two.text_encoder == "cpu" and plan(BIG, 24 * GIB).text_encoder == "freed"
    with pytest.raises(ConfigError, match=r"832x480, in 2 states at once, need .*keys and values 3\.21"):
        plan(BIG, 2 * GIB, states=2)


def test_a_world_is_loaded_for_as_many_states_as_are_kept(small_world_folder: Path) -> None:
    one, three = (World.load(small_world_folder, memory="auto", states=states) for states in (1, 3))
    state = footprint(one.config, torch.float32).state
    assert one.memory_plan and three.memory_plan
    assert three.memory_plan.running_bytes - one.memory_plan.running_bytes == 2 * state
    several = World.load(small_world_folder, memory="auto", batch=2).memory_plan
    assert several == plan(one.config, budget("auto", "cpu"), batch=2, device="cpu", dtype=torch.float32)


def test_the_sink_of_relative_positions_is_counted(small_world_folder: Path) -> None:
    loaded = {rope: World.load(small_world_folder, memory="auto", rope=rope) for rope in get_args(Positions)}
    absolute, relative = (loaded[rope].memory_plan for rope in ("absolute", "relative"))
    sink = footprint(loaded["relative"].config, torch.float32).kv_cache
    sink -= footprint(loaded["absolute"].config, torch.float32).kv_cache
    assert absolute and relative and sink > 0
    assert relative.running_bytes - absolute.running_bytes == pytest.approx(sink, rel=0.2)


def test_a_fixed_codec_stays() -> None:
    found = plan(BIG, 13 * GIB, codec="wan")
    assert found.codec == "wan" and found.kv_precision == "fp8"
    assert plan(BIG, 80 * GIB, codec="light").codec == "light"


def test_a_fixed_type_of_keys_and_values_stays(small_world_folder: Path) -> None:
    found = [plan(BIG, memory * GIB, kv_precision="fp8") for memory in (80, 24, 12, 8, 6)]
    assert {one.kv_precision for one in found} == {"fp8"} and found[-1].offload
    assert plan(BIG, 11 * GIB, kv_precision="fp8").codec == "light"
    with pytest.raises(ConfigError, match="and there are 2"):
        plan(BIG, 2 * GIB, kv_precision="fp8")
    freed = plan(BIG, 80 * GIB).running_bytes - plan(BIG, 80 * GIB, kv_precision="fp8").running_bytes
    assert freed == footprint(BIG).kv_cache - footprint(BIG, kv_dtype=torch.float8_e4m3fn).kv_cache > GIB
    world = World.load(small_world_folder, memory="auto", kv_precision="fp8")
    assert world.memory_plan and "keys and values in fp8" in world.memory_plan.arrangement


def test_what_does_not_fit_fails_with_the_numbers() -> None:
    with pytest.raises(
        ConfigError, match=r"2 worlds of 1\.3b at 832x480 need \d+\.\d\d GiB at least \(transformer"
    ):
        plan(replace(BIG, transformer=replace(BIG.transformer, layers=1)), GIB, batch=2)
    with pytest.raises(ConfigError, match=r"keys and values 1\.61, .*and there are 2\.00; use fewer worlds"):
        plan(BIG, 2 * GIB)


def test_a_world_with_its_own_codec_has_no_light_one(make_config: Callable[..., WorldConfig]) -> None:
    found = plan(make_config(), RESERVE_BYTES + 100 * MIB)
    assert found.codec is None and found.text_encoder == "resident"


def test_budgets() -> None:
    assert budget("24") == budget(24) == 24 * GIB and budget(0.5) == GIB // 2
    assert budget("auto", "cpu") > GIB
    for wrong in ("much", 0, -1, "nan", "inf", None):
        with pytest.raises(ConfigError, match=f"memory is {wrong!r}; expected GiB, such as 24, or 'auto'"):
            budget(wrong)


def test_what_is_held_ready_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    free = {"cuda:1": GIB}
    monkeypatch.setattr("longlive_env.engine.memory.usable", torch.device)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: free.update({"cuda:1": 3 * GIB}))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[str(device)], 4 * GIB))
    assert budget("auto", "cuda:1") == 3 * GIB


def test_a_world_is_loaded_as_planned(small_world_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World.load(small_world_folder, memory="auto")
    assert world.memory_plan and world.memory_plan.text_encoder == "resident"
    want = world.start("a red cat").step()
    config = world.config
    for rung in ladder_of_types(config):
        monkeypatch.setattr("longlive_env.engine.memory.budget", lambda *_, _r=rung: _r.peak_bytes)
        loaded = World.load(small_world_folder, memory="auto")
        plan_ = loaded.memory_plan
        assert plan_ and (plan_.text_encoder, plan_.kv_precision, plan_.offload) == (
            rung.text_encoder, rung.kv_precision, rung.offload,
        )  # fmt: skip
        assert loaded.options.get("kv_precision") == rung.kv_precision
        got = loaded.start("a red cat").step()
        assert loaded.text_encoding.loaded is (rung.text_encoder != "freed")
        assert torch.equal(got, want) or rung.kv_precision == "fp8"


@pytest.mark.parametrize("asked", [{"merge": True}, {"compile": "default"}])
def test_what_weights_on_the_host_exclude_is_said_before_they_are_read(
    small_world_folder: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any]
) -> None:
    least = ladder_of_types(World.load(small_world_folder).config)[-1]
    assert least.offload
    monkeypatch.setattr("longlive_env.engine.memory.budget", lambda *_: least.peak_bytes)
    monkeypatch.setattr("longlive_env.engine.world_files.load", None)  # would be called
    with pytest.raises(ConfigError, match=r"on the host, which excludes (merged|compile default)"):
        World.load(small_world_folder, memory="auto", **asked)


@pytest.mark.parametrize(
    ("kind", "codec"),
    [("wan", WanVAEConfig(dim=4, residual_blocks=1)), ("light", LightVAEConfig((8, 6, 4, 4), 4))],
)
def test_a_folder_of_our_own_keeps_its_published_codec(
    kind: str,
    codec: WanVAEConfig | LightVAEConfig,
    make_config: Callable[..., WorldConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shape = replace(make_config().transformer, in_channels=16, out_channels=16)
    World.from_config(make_config(transformer=shape, codec=codec)).save(tmp_path)
    for asked in (None, kind):
        world = World.load(tmp_path, memory="auto", codec=asked)
        assert world.memory_plan and world.memory_plan.codec is None and world.options.get("codec") == asked
    least = ladder_of_types(world.config, own_codec=True)[-1]
    assert least.offload and least.codec is None and len(least.reasons) == 4
    monkeypatch.setattr("longlive_env.engine.memory.budget", lambda *_: least.budget_bytes)
    assert World.load(tmp_path, memory="auto").memory_plan == least


def ladder_of_types(config: WorldConfig, own_codec: bool = False) -> list[MemoryPlan]:
    found = [plan(config, 1 << 50, device="cpu", dtype=torch.float32, own_codec=own_codec)]
    while True:
        try:
            budget_bytes = found[-1].peak_bytes - 1
            one = plan(config, budget_bytes, device="cpu", dtype=torch.float32, own_codec=own_codec)
            found.append(one)
        except ConfigError:
            return found


def test_the_plan_is_logged(small_world: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        arrange(small_world.config, "8", device="cpu")
    assert "memory: text encoder resident" in caplog.text


@pytest.mark.gpu
def test_predicted_and_measured_peaks_agree() -> None:
    from longlive_env.engine.config import TransformerConfig

    shape = TransformerConfig(dim=1536, ffn_dim=8960, heads=12, layers=4)
    config = replace(BIG, transformer=shape, codec=LightVAEConfig())
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    world = World.from_config(config, device="cuda", dtype=torch.bfloat16, text_encoder=False)
    world.optimize()
    rollout = world.start("", text=torch.zeros(1, 512, 4096, device="cuda"))
    for _ in range(6):
        rollout.step()
    rollout.switch_prompt("", text=torch.ones(1, 512, 4096, device="cuda"))
    rollout.step()
    found = footprint(config)
    predicted = found.transformer + found.codec + found.state + found.workspace
    libraries = 256 << 20  # workspaces of cuBLAS and cuDNN
    measured = torch.cuda.max_memory_allocated() - before
    assert measured == pytest.approx(predicted, rel=0.1, abs=libraries)
