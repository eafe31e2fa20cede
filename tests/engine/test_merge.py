"""One product for queries, keys and values: the same results, and the same names on disk."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from longlive_env.engine.compile import compile_world
from longlive_env.engine.merge import is_merged, merge_projections
from longlive_env.engine.offload import offload
from longlive_env.engine.quantize import quantize
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.engine.world import World
from longlive_env.errors import ConfigError

Make = Callable[..., World]


def play(world: World) -> torch.Tensor:
    """Growing and full contexts, and a recache, whose last layer only stores."""
    rollout, out = world.start(["a red cat", "a dog"]), []
    for block in range(6):
        if block == 2:
            rollout.switch_prompt("a blue dog")
        out.append(rollout.step_latents())
    return torch.cat(out, 1)


@pytest.fixture(scope="module")
def want(make_world: Make) -> torch.Tensor:
    return play(make_world())


def test_a_merged_world_is_the_same(make_world: Make, want: torch.Tensor) -> None:
    world = make_world()
    merge_projections(world.transformer)
    assert is_merged(world.transformer)
    assert not hasattr(world.transformer.blocks[0].self_attn, "q")
    torch.testing.assert_close(play(world), want, rtol=1e-5, atol=1e-5)


def test_a_merged_world_compiles_whole(
    make_world: Make, want: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch._dynamo.reset()
    whole = functools.partial(torch.compile, fullgraph=True, dynamic=False, backend="eager")
    monkeypatch.setattr("longlive_env.engine.compile.compiler_of", lambda mode: whole)
    world = make_world()
    merge_projections(world.transformer)
    compile_world(world.transformer, world.codec, "default")
    world.compiled = "default"
    torch.testing.assert_close(play(world), want, rtol=1e-5, atol=1e-5)
    torch._dynamo.reset()


@pytest.mark.parametrize("precision", ["int8-weight-only", "int8"])
def test_rows_are_quantized_as_before(make_world: Make, precision: Any, tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    plain, merged = make_world(), make_world()
    merge_projections(merged.transformer)
    quantize(plain.transformer, precision)
    report = quantize(merged.transformer, precision)
    assert {"blocks.1.self_attn.qkv", "blocks.1.cross_attn.q"} <= set(report.quantized)
    torch.testing.assert_close(play(merged), play(plain), rtol=1e-4, atol=1e-4)
    with pytest.raises(ConfigError, match="quantized weights cannot be saved"):
        merged.save(tmp_path)


def test_names_on_disk_stay(make_world: Make, want: torch.Tensor, tmp_path: Path) -> None:
    plain, merged = make_world().transformer, make_world().transformer
    merge_projections(merged)
    theirs, ours = plain.state_dict(), merged.state_dict()
    assert theirs.keys() == ours.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=0)
    other = CausalWanTransformer(plain.config).requires_grad_(False)
    merge_projections(other)
    other.load_state_dict(theirs)
    weight = "blocks.1.self_attn.k.weight"
    assert torch.equal(other.state_dict()[weight], theirs[weight])
    plain.load_state_dict(other.state_dict())

    world = make_world()
    merge_projections(world.transformer)
    world.save(tmp_path)
    assert torch.equal(play(World.load(tmp_path)), want)
    loaded = World.load(tmp_path, merge=True)
    assert is_merged(loaded.transformer)
    torch.testing.assert_close(play(loaded), want, rtol=1e-5, atol=1e-5)


def test_merging_comes_first(make_world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world()
    merge_projections(world.transformer)
    with pytest.raises(ConfigError, match="merged already"):
        merge_projections(world.transformer)
    offload(world.transformer, "cpu")  # whose layers are then the merged ones
    play(world)
    world = make_world()
    offload(world.transformer, "cpu")
    with pytest.raises(ConfigError, match="offloaded"):
        merge_projections(world.transformer)
    world = make_world()
    monkeypatch.setattr("longlive_env.engine.compile.compiler_of", lambda mode: lambda function: function)
    compile_world(world.transformer, world.codec, "default")
    with pytest.raises(ConfigError, match="before"):
        merge_projections(world.transformer)


@pytest.mark.gpu
def test_on_cuda_worlds_are_merged_unless_asked_not_to(small_world_folder: Path) -> None:
    worlds = [
        World.load(small_world_folder, device="cuda", dtype=torch.float32, merge=m) for m in (None, False)
    ]
    assert [is_merged(world.transformer) for world in worlds] == [True, False]
    one, other = (world.start("a red cat").step_latents() for world in worlds)
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
