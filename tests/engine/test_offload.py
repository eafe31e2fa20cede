"""Weights on the host: the same results, and nothing but the layer that runs on the device."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from longlive_env.engine.offload import _ON_HOST, offload
from longlive_env.engine.world import World
from longlive_env.errors import ConfigError


def linears(world: World) -> list[nn.Linear]:
    return [module for module in world.transformer.blocks.modules() if isinstance(module, nn.Linear)]


def run(world: World) -> torch.Tensor:
    rollout = world.start("a red cat", seed=1)
    rollout.step()
    rollout.switch_prompt("a blue dog")
    return rollout.step()


def test_results_are_the_same_bits(make_world: Callable[..., World]) -> None:
    world = make_world()
    want = run(world)
    offload(world.transformer, "cpu")
    assert torch.equal(run(world), want)
    kept = {p for p in world.transformer.parameters() if getattr(p, _ON_HOST, False)}
    assert kept == {p for layer in linears(world) for p in layer.parameters()}


def test_one_layer_visits_at_a_time(make_world: Callable[..., World]) -> None:
    world = make_world()
    offload(world.transformer, "cpu")
    home = {layer: layer.weight.data_ptr() for layer in linears(world)}
    away: list[int] = []

    def count(layer: nn.Module, args: object) -> None:
        away.append(sum(other.weight.data_ptr() != place for other, place in home.items()))

    for layer in linears(world):
        layer.register_forward_pre_hook(count)
    run(world)
    assert set(away) == {1}
    assert all(layer.weight.data_ptr() == place for layer, place in home.items())


def test_a_layer_goes_home_after_an_error(make_world: Callable[..., World]) -> None:
    world = make_world()
    layer = linears(world)[0]
    offload(world.transformer, "cpu")
    home = layer.weight.data_ptr()
    with pytest.raises(RuntimeError):
        layer(torch.zeros(2, 3))
    assert layer.weight.data_ptr() == home


def test_a_quantized_model_is_refused(make_world: Callable[..., World]) -> None:
    pytest.importorskip("torchao")
    from longlive_env.engine.quantize import quantize

    world = make_world()
    quantize(world.transformer, "int8-weight-only")
    with pytest.raises(ConfigError, match="choose one of precision and offload"):
        offload(world.transformer, "cpu")
    other = make_world()
    offload(other.transformer, "cpu")
    with pytest.raises(ConfigError, match="choose one of precision and offload"):
        quantize(other.transformer, "int8")


@pytest.mark.gpu
def test_blocks_stay_on_the_host_of_a_gpu(make_world: Callable[..., World]) -> None:
    world = make_world()
    want = run(world).float()
    world.codec.to("cuda")
    offload(world.transformer, "cuda")
    assert world.device.type == "cuda" and all(layer.weight.is_pinned() for layer in linears(world))
    assert (run(world).float() - want).abs().mean() < 1
