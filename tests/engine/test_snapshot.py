import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from small_config import SMALL

from longlive_env.engine import snapshot
from longlive_env.engine.config import CodecConfig, LightVAEConfig, WanVAEConfig
from longlive_env.engine.noise import RecordedNoise
from longlive_env.engine.rollout import Rollout
from longlive_env.engine.world import World
from longlive_env.errors import ConfigError, SnapshotError


def run(rollout: Rollout, blocks: int) -> torch.Tensor:
    return torch.cat([rollout.step() for _ in range(blocks)], 1)


@pytest.mark.parametrize(
    ("rope", "blocks", "take"),
    [
        ("absolute", 0, Rollout.snapshot),
        ("absolute", 1, Rollout.keep),
        ("absolute", 2, Rollout.snapshot),
        ("absolute", 7, Rollout.keep),
        ("relative", 0, Rollout.keep),
        ("relative", 1, Rollout.snapshot),
        ("relative", 2, Rollout.keep),
        ("relative", 7, Rollout.snapshot),
    ],
)
def test_a_restored_rollout_goes_on_in_the_same_bits(
    make_world, rope: str, blocks: int, take: Callable[[Rollout], Any]
) -> None:
    world = make_world(rope=rope)
    rollout = world.start(["a", "b"], seed=[1, 2])
    for block in range(blocks):
        rollout.step()
        if block == 4:
            rollout.reset_world(0, "c", 3)
    data, plain = take(rollout), rollout.fork()
    futures = []
    for future in (plain, rollout, world.start("other", seed=9)):
        if future is not plain:
            future.restore(data)
        first = future.step()
        future.switch_prompt("d", worlds=[1])  # the older one, whose history is the longer
        futures.append((first, run(future, 3), future.step_latents(), future.prompts, future.blocks))
    for future in futures[1:]:
        assert all(torch.equal(a, b) for a, b in zip(futures[0][:3], future[:3], strict=True))
        assert futures[0][3:] == future[3:]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("codec", [WanVAEConfig(dim=4, residual_blocks=1), LightVAEConfig((8, 6, 4, 4), 4)])
def test_worlds_with_published_codecs_go_back(codec: CodecConfig, device: str) -> None:
    config = replace(
        SMALL, codec=codec, transformer=replace(SMALL.transformer, in_channels=16, out_channels=16)
    )
    world = World.from_config(config, device=device, dtype=torch.bfloat16)
    world.optimize()
    rollout = world.start("", seed=1, text=torch.zeros(1, 32, 8))
    run(rollout, 2)
    for take in (Rollout.snapshot, Rollout.keep):
        data, futures = take(rollout), []
        for _ in range(2):
            rollout.switch_prompt("another", text=torch.ones(1, 32, 8))
            futures.append(run(rollout, 2))
            rollout.restore(data)
        assert torch.equal(*futures)


def test_a_kept_state_is_a_copy_and_fits_its_world_alone(make_world) -> None:
    world = make_world()
    rollout = world.start(["a", "b"], seed=[1, 2])
    run(rollout, 3)
    with torch.device("meta"):  # the caller's default device does not matter
        kept = rollout.keep()
    whole = len(rollout.snapshot())
    before = {name: tensor.clone() for name, tensor in kept.tensors.items()}
    rollout.switch_prompt("which is undone", worlds=[0])
    run(rollout, 3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in kept.tensors.items())
    assert kept.header["prompts"] == ["a", "b"]
    assert kept.nbytes < whole < kept.nbytes + 10_000  # that is the header
    slot = world.start("c", seed=3)
    with pytest.raises(ConfigError, match="holds 2 worlds"):
        slot.restore(kept, worlds=[0])
    with pytest.raises(SnapshotError, match="rope"):
        make_world(rope="relative").resume(kept)


@pytest.mark.parametrize("take", [Rollout.snapshot, Rollout.keep])
@pytest.mark.parametrize("blocks", [0, 3])
def test_going_back_leaves_captured_steps_their_addresses(
    make_world, blocks: int, take: Callable[[Rollout], Any]
) -> None:
    rollout = make_world().start(["a", "b"], seed=[1, 2])
    run(rollout, blocks) if blocks else None
    data, before = take(rollout), rollout.snapshot()
    want = run(rollout, 3)
    steps, keys = rollout._steps, rollout.state.cache.keys.data_ptr()
    decoding = {name: value.data_ptr() for name, value in rollout.state.codec.memory.items()}
    rollout.switch_prompt("which is undone", worlds=[0])
    rollout.restore(data)
    assert rollout._steps is steps and rollout.state.cache.keys.data_ptr() == keys
    memory = rollout.state.codec.memory
    assert not blocks or {name: value.data_ptr() for name, value in memory.items()} == decoding
    assert rollout.snapshot() == before
    first = rollout.step()
    assert rollout.timing["recache_ms"] == 0.0  # that of the undone switch is no part of the block
    assert torch.equal(torch.cat([first, run(rollout, 2)], 1), want)
    other = make_world().start(["c", "d"], noise=RecordedNoise(torch.zeros(0), torch.zeros(0)))
    other.restore(data)
    assert torch.equal(run(other, 3), want)


def test_going_back_needs_no_second_state(make_world, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is planned for the states that are kept, and another would not fit beside a large one."""
    rollout = make_world().start(["a", "b"], seed=[1, 2])
    run(rollout, 2)
    data, begun = rollout.snapshot(), rollout.step()
    before = rollout.snapshot()
    with pytest.raises(SnapshotError, match="damaged"):
        rollout.restore(data[:-10])
    assert rollout.snapshot() == before
    single = rollout.snapshot([1])
    monkeypatch.setattr(snapshot, "RolloutState", lambda *_: pytest.fail("a second state"))
    rollout.restore(data)
    assert torch.equal(rollout.step(), begun)
    with pytest.raises(pytest.fail.Exception, match="a second state"):
        rollout.restore(single)  # of another batch size, to which this one cannot be put back in place


OTHER_PROCESS = """
import sys
from small_config import SMALL
from longlive_env import World
from safetensors.torch import save_file

rollout = World.from_config(SMALL).start("other")
rollout.restore(open(sys.argv[1], "rb").read())
save_file({"frames": rollout.step(), "latents": rollout.step_latents()}, sys.argv[2])
"""


def test_another_process_goes_on_in_the_same_bits(make_world, tmp_path: Path) -> None:
    rollout = make_world().start("a", seed=1)
    run(rollout, 5)
    rollout.switch_prompt("b")
    (tmp_path / "snapshot").write_bytes(rollout.snapshot())
    arguments = [str(tmp_path / "snapshot"), str(tmp_path / "out")]
    subprocess.run([sys.executable, "-c", OTHER_PROCESS, *arguments], cwd=Path(__file__).parent, check=True)
    got = load((tmp_path / "out").read_bytes())
    assert torch.equal(got["frames"], rollout.step())
    assert torch.equal(got["latents"], rollout.step_latents())


def test_a_world_moves_to_a_slot_of_another_batch(make_world) -> None:
    world = make_world()
    source, target = world.start(["a", "b"], seed=[1, 2]), world.start(["c", "d", "e"], seed=[3, 4, 5])
    run(source, 6)
    run(target, 2)
    stay = target.fork()
    target.restore(source.snapshot([1]), worlds=[2])
    assert target.prompts == ["c", "d", "b"] and target.blocks == [2, 2, 6]
    got = target.step_latents()
    torch.testing.assert_close(got[2], source.step_latents()[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got[:2], stay.step_latents()[:2], rtol=1e-4, atol=1e-5)


def test_it_holds_no_weights_and_no_unused_slots(make_world) -> None:
    rollout = make_world().start(["a", "b"])
    rollout.step()
    rollout.reset_world(0, "c", 3)  # the older one counts
    tensors = load(rollout.snapshot())
    assert set(tensors) >= {"keys", "values", "history", "text", "noise"}
    assert tensors["keys"].shape[2] == 3 * rollout.world.config.frame_tokens
    assert tensors["history"].shape[1] == 3


def test_damage_is_named(make_world) -> None:
    rollout = make_world().start("a")
    data = rollout.snapshot()
    for bad in (b"", b"nonsense", data[:40], save({"x": torch.zeros(1)})):
        with pytest.raises(SnapshotError, match="no rollout snapshot"):
            rollout.restore(bad)
    with pytest.raises(SnapshotError, match="damaged"):
        rollout.restore(data[:-10])


def header_of(data: bytes) -> dict[str, Any]:
    return snapshot.read_header(data, "rollout", what="", source="")


def test_a_missing_checksum_is_refused(make_world) -> None:
    rollout = make_world().start("a")
    data = rollout.snapshot()
    header = header_of(data)
    del header["checksum"]
    with pytest.raises(SnapshotError, match="rollout snapshot has no checksum"):
        rollout.restore(save(load(data), {"rollout": json.dumps(header)}))


@pytest.mark.parametrize("blocks", [0, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_flipped_bit_is_found(make_world, dtype: torch.dtype, blocks: int) -> None:
    world = make_world()
    world.transformer.to(dtype)
    rollout = world.start("a", seed=1)
    run(rollout, blocks) if blocks else None
    data = rollout.snapshot()
    rollout.restore(data)
    header = 8 + int.from_bytes(data[:8], "little")
    places = [data.index(text) for text in (b"timelines", b"context_frames", b"history")]
    for place in places + [header + (len(data) - header) * tenth // 10 for tenth in range(10)]:
        bad = bytearray(data)
        bad[place] ^= 1
        with pytest.raises(SnapshotError):
            rollout.restore(bytes(bad))


def test_other_shapes_and_types_of_the_same_bytes_are_damage() -> None:
    seal = snapshot.sealed({}, {"x": np.zeros((2, 3), np.float32)})
    for other in (np.zeros((3, 2), np.float32), np.zeros((2, 3), np.int32)):
        with pytest.raises(SnapshotError, match="checksum is wrong"):
            snapshot.check_seal(json.loads(seal), {"x": other}, what="")


def test_a_snapshot_from_before_an_option_was_there_is_restored(make_world) -> None:
    """What its world's configuration does not say has the default that it had then."""
    world = make_world()
    rollout = world.start("a")
    rollout.step()
    data = rollout.snapshot()
    header, tensors = header_of(data), load(data)
    del header["config"]["codec"]["detail"], header["checksum"]
    earlier = save(tensors, {"rollout": snapshot.sealed(header, snapshot._raw(tensors))})
    assert torch.equal(world.resume(earlier).step(), rollout.step())


def test_a_vocabulary_makes_no_other_world(make_world) -> None:
    world, named = make_world(), make_world(vocabulary="tiny")
    rollout = world.start("a")
    data = rollout.snapshot()
    assert data == named.start("a").snapshot()
    assert torch.equal(named.resume(data).step(), rollout.step())


def test_other_versions_worlds_types_and_sizes_are_refused(make_world, monkeypatch) -> None:
    world = make_world()
    rollout = world.start("a")
    data = rollout.snapshot()
    with pytest.raises(SnapshotError, match="whose context_frames is 12, here it is 9"):
        make_world(context_frames=9).start("a").restore(data)
    with pytest.raises(ConfigError, match="holds 1 worlds, and 2 are to be replaced"):
        world.start(["a", "b"]).restore(data, worlds=[0, 1])
    with pytest.raises(ConfigError, match="holds 2 worlds, and 1 are to be replaced"):
        rollout.restore(world.start(["a", "b"]).snapshot(), worlds=[0])
    half = make_world()
    half.transformer.to(torch.bfloat16)
    with pytest.raises(SnapshotError, match=r"holds torch.float32 and the world runs in torch.bfloat16"):
        half.start("a").restore(data)
    monkeypatch.setattr(snapshot, "VERSION", 2)
    with pytest.raises(SnapshotError, match="version 1; this release reads version 2"):
        rollout.restore(data)


def test_what_differs_is_named_with_its_remedy(make_world) -> None:
    codec = make_world().config.codec
    large = make_world(codec=replace(codec, detail=(8, 1)), height=64, width=96)
    small, sampler = make_world(), make_world().config.sampler
    sizes = r"whose codec.detail is \{}, here it is \{}; load the world {}$"
    for one, other, message in (
        (large, small, sizes.format("[8, 1]", "[]", "without codec=")),
        (small, large, sizes.format("[]", "[8, 1]", "with codec='light'")),
        (
            make_world(codec=replace(codec, detail=(16, 1)), height=64, width=96),
            large,
            r"codec.detail is \[16, 1\], here it is \[8, 1\]; load that world",
        ),
        (
            small,
            make_world(sampler=replace(sampler, steps=(1000,))),
            r"whose sampler.steps is \[1000, 750, 500, 250\], here it is \[1000\]; load that world$",
        ),
    ):
        with pytest.raises(SnapshotError, match=message):
            other.start("a").restore(one.start("a").snapshot())


def test_recorded_noise_cannot_be_saved(make_world) -> None:
    shape = make_world().config.latent_shape
    noise = RecordedNoise(torch.zeros(1, 6, *shape), torch.zeros(6, 3, *shape))
    rollout = make_world().start("a", noise=noise)
    with pytest.raises(SnapshotError, match="start it with seeds"):
        rollout.snapshot()
    with pytest.raises(SnapshotError, match="start it with seeds"):
        rollout.fork()
