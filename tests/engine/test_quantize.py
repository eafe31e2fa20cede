"""8-bit linear layers: which are replaced, how far results move, and what is refused."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("torchao")

from longlive_env.engine import quantize as quantize_module
from longlive_env.engine.quantize import quantize, weight_bytes
from longlive_env.engine.weights import is_quantized
from longlive_env.engine.world import World
from longlive_env.errors import BackendError, ConfigError, MissingExtraError

INT8 = ["int8", "int8-weight-only"]
LIMITS = {"int8": 0.03, "int8-weight-only": 0.015}  # relative error of a block's latents on random weights


def latents(world: World) -> torch.Tensor:
    rollout = world.start("a red cat", seed=3)
    out = [rollout.step_latents()]
    rollout.switch_prompt("a blue dog")
    return torch.cat([*out, rollout.step_latents()], 1)


@pytest.mark.parametrize("precision", INT8)
def test_results_stay_close(make_world: Callable[..., World], precision: str) -> None:
    world = make_world()
    want = latents(world)
    quantize(world.transformer, precision)
    got = latents(world)
    assert 0 < (got - want).norm() / want.norm() < LIMITS[precision]
    with torch.inference_mode():
        assert world.start("a red cat").step().shape == (1, 9, 32, 48, 3)


@pytest.mark.parametrize("precision", INT8)
def test_the_compiler_keeps_its_options(make_world: Callable[..., World], precision: str) -> None:
    """They hold for the process: for other worlds, too, and for the one that a precision is compared with."""
    before = torch._inductor.config.get_config_copy()
    quantize(make_world().transformer, precision)
    assert torch._inductor.config.get_config_copy() == before


def test_small_and_conditioning_layers_are_kept(make_world: Callable[..., World]) -> None:
    model = make_world().transformer
    report = quantize(model, "int8")
    per_block = [*(f"self_attn.{name}" for name in "qkvo"), "cross_attn.q", "cross_attn.o", "ffn.0", "ffn.2"]
    assert set(report.quantized) == {f"blocks.{block}.{name}" for block in range(2) for name in per_block}
    once_a_prompt = {f"blocks.{block}.cross_attn.{name}" for block in range(2) for name in "kv"}
    assert set(report.kept) == once_a_prompt | {
        "text_embedding.0", "text_embedding.2", "time_embedding.0", "time_embedding.2", "time_projection.1",
        "head.head",
    }  # fmt: skip
    assert is_quantized(model) and type(model.head.head.weight.data) is torch.Tensor


def test_bytes_are_those_of_8_bit_weights_and_scales(make_world: Callable[..., World]) -> None:
    model = make_world().transformer
    weights = {name: p.numel() for name, p in model.named_parameters()}
    report = quantize(model, "int8-weight-only")
    assert report.bytes_before == 4 * sum(weights.values())
    matrices = {name: weights[f"{name}.weight"] for name in report.quantized}
    rows = sum(model.get_submodule(name).out_features for name in matrices)
    saved = 3 * sum(matrices.values()) - 5 * rows  # a byte for four; a float32 scale and a zero point a row
    assert report.bytes_after == weight_bytes(model) == report.bytes_before - saved


def test_sides_that_do_not_divide_are_kept(make_world: Callable[..., World], make_config: Callable) -> None:
    from dataclasses import replace

    config = make_config()
    world = make_world(transformer=replace(config.transformer, ffn_dim=40))
    report = quantize(world.transformer, "int8")
    assert "blocks.0.ffn.0" in report.kept and "blocks.0.self_attn.q" in report.quantized


def test_a_quantized_world_is_neither_saved_nor_quantized_again(
    make_world: Callable[..., World], tmp_path: Path
) -> None:
    world = make_world()
    quantize(world.transformer, "int8")
    with pytest.raises(ConfigError, match="quantized already"):
        quantize(world.transformer, "int8")
    with pytest.raises(ConfigError, match="cannot be saved"):
        world.save(tmp_path)
    assert not list(tmp_path.rglob("*.safetensors*"))


def test_a_quantized_world_is_snapshotted_and_restored(make_world: Callable[..., World]) -> None:
    world = make_world()
    quantize(world.transformer, "int8")
    rollout = world.start("a red cat")
    rollout.step()
    data = rollout.snapshot()
    assert torch.equal(rollout.step(), world.resume(data).step())


def test_what_cannot_be_is_said(make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_world().transformer
    with pytest.raises(ConfigError, match="precision is 'int4'; expected one of fp8, int8"):
        quantize(model, "int4")  # type: ignore[arg-type]
    with pytest.raises(BackendError, match=r"fp8 on cpu: .*8\.9.*use int8 or bf16"):
        quantize(model, "fp8")
    monkeypatch.setitem(sys.modules, "torchao", None)
    with pytest.raises(MissingExtraError, match=r"\.\[quant\]"):
        quantize(model, "int8")
    assert not is_quantized(model)


@pytest.mark.parametrize("precision", INT8)
def test_a_world_loads_in_a_precision(small_world_folder: Path, precision: str) -> None:
    world = World.load(small_world_folder, precision=precision)
    assert is_quantized(world.transformer) and world.start("a red cat").step().shape[1] == 9
    assert not is_quantized(World.load(small_world_folder).transformer)


def test_a_world_loads_in_bf16(small_world_folder: Path) -> None:
    world = World.load(small_world_folder, precision="bf16")
    assert {parameter.dtype for parameter in world.codec.parameters()} == {torch.bfloat16}
    with pytest.raises(ConfigError, match=r"precision bf16 and dtype torch\.float32"):
        World.load(small_world_folder, precision="bf16", dtype=torch.float32)


def test_a_row_of_zeros_is_zeros_in_fp8(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as padding of a prompt, where there are no biases: its scale must not be zero."""
    from torchao import quantization
    from torchao.quantization.quantize_.workflows.float8.float8_tensor import Float8Tensor

    asked: list[Any] = []
    monkeypatch.setattr(quantization, "quantize_", lambda model, config, filter_fn: asked.append(config))
    quantize_module._transform(make_world().transformer, "fp8", lambda module, name: True)
    rows = torch.stack((torch.zeros(16), torch.linspace(-1, 1, 16)))
    settings = {"granularity": quantization.PerRow(), "hp_value_lb": asked[0].activation_value_lb}
    found = Float8Tensor.from_hp(rows, **settings).dequantize()
    torch.testing.assert_close(found, rows, rtol=0.07, atol=1e-3)


@pytest.mark.gpu
def test_fp8_stays_close(make_world: Callable[..., World]) -> None:
    world = make_world()
    for model in (world.transformer, world.codec, world.text_encoder):
        model.to("cuda", torch.bfloat16)
    want = latents(world)
    report = quantize(world.transformer, "fp8")
    got = latents(world)
    assert report.quantized and 0 < (got - want).norm() / want.norm() < 0.1
