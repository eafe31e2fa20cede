"""Keys and values in 8 bits: results stay close, and all else about a rollout stays as it was."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from longlive_env.engine.rollout import Rollout
from longlive_env.engine.world import World
from longlive_env.errors import ConfigError, SnapshotError

FP8 = torch.float8_e4m3fn


@pytest.fixture(params=["absolute", "relative"])
def world(make_world: Callable[..., World], request: pytest.FixtureRequest) -> World:
    world = make_world(rope=request.param)
    world.transformer.kv_dtype = FP8
    return world


def run(rollout: Rollout, blocks: int = 6) -> torch.Tensor:
    out = []
    for block in range(blocks):
        if block == 2:
            rollout.switch_prompt("a blue dog")
        out.append(rollout.step_latents())
    return torch.cat(out, 1)


def test_results_stay_close(world: World, make_world: Callable[..., World]) -> None:
    want = run(make_world(rope=world.config.rope).start("a red cat"))
    rollout = world.start("a red cat")
    got = run(rollout)
    assert 0 < (got - want).norm() / want.norm() < 0.05
    assert rollout.state.cache.keys.dtype == rollout.state.cache.sink_keys.dtype == FP8
    assert rollout.state.cross.buffer.dtype == torch.float32  # once a prompt, and small


def test_snapshots_and_forks_go_on_in_the_same_bits(world: World) -> None:
    rollout = world.start(["a red cat", "a dog"])
    run(rollout, 5)
    data, fork = rollout.snapshot(), rollout.fork()
    want = rollout.step()
    assert torch.equal(world.resume(data).step(), want) and torch.equal(fork.step(), want)


def test_a_snapshot_says_which_type_it_needs(make_world: Callable[..., World]) -> None:
    world = make_world()
    data = world.start("a red cat").snapshot()
    world.transformer.kv_dtype = FP8
    with pytest.raises(
        SnapshotError, match=r"holds torch\.float32 and the world runs in torch\.float8_e4m3fn"
    ):
        world.resume(data)


def test_what_is_too_large_is_stored_as_the_largest(world: World) -> None:
    for block in world.transformer.blocks:
        block.self_attn.norm_k.weight.mul_(1e4)
        block.self_attn.v.bias.add_(1e4)
    rollout = world.start("a red cat")
    assert run(rollout).isfinite().all()
    assert rollout.state.cache.keys.float().abs().max() == rollout.state.cache.values.float().max() == 448


def test_a_world_loads_with_it(small_world_folder: Path) -> None:
    world = World.load(small_world_folder, kv_precision="fp8")
    assert world.start("a red cat").state.cache.values.dtype == FP8
    assert World.load(small_world_folder).start("a red cat").state.cache.values.dtype == torch.float32
    with pytest.raises(ConfigError, match="kv_precision is 'int4'"):
        World.load(small_world_folder, kv_precision="int4")  # type: ignore[arg-type]
