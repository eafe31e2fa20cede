import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from masked_clip import masked_flow

from longlive_env.engine.config import SamplerConfig
from longlive_env.engine.kv_cache import KVCache, Timeline
from longlive_env.engine.noise import RecordedNoise
from longlive_env.engine.rollout import Rollout
from longlive_env.engine.schedule import add_noise, denoising_sigmas, flow_to_x0
from longlive_env.engine.world import World
from longlive_env.errors import ConfigError, PromptError

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def latents(rollout: Rollout, blocks: int) -> torch.Tensor:
    return torch.cat([rollout.step_latents() for _ in range(blocks)], 1)


@pytest.mark.parametrize("rope", ["absolute", "relative"])
def test_cached_blocks_are_the_training_pass_under_a_block_causal_mask(make_world, rope: str) -> None:
    """Each denoising step of a block equals a pass over the clip: the clean past and the noisy block."""
    world = make_world(rope=rope)
    rollout = world.start("a", seed=3)
    video = latents(rollout, 4)
    text = world.encode_prompt(["a"])
    generator = torch.Generator().manual_seed(3)
    sigmas = denoising_sigmas(world.config.sampler)
    for block in range(4):
        past = video[:, : 3 * block]
        index = torch.arange(3 * block + 3) // 3
        draws = [torch.randn(1, *video[:, :3].shape[1:], generator=generator) for _ in sigmas]
        x = draws[0]
        for step, sigma in enumerate(sigmas):
            timesteps = torch.cat((torch.zeros(1, 3 * block), torch.full((1, 3), sigma * 1000)), 1)
            clip, mask = torch.cat((past, x), 1), index[:, None] >= index
            flow = masked_flow(world.transformer, clip, timesteps, text, mask)
            x0 = flow_to_x0(x, flow[:, -3:], sigma)
            if step + 1 < len(sigmas):
                x = add_noise(x0, draws[step + 1], sigmas[step + 1])
        torch.testing.assert_close(video[:, 3 * block : 3 * block + 3], x0, **CLOSE)


def test_frames_are_uint8_on_the_cpu_and_the_first_block_is_shorter(make_world) -> None:
    rollout = make_world().start(["a", "b"])
    shapes = [tuple(rollout.step().shape) for _ in range(2)]
    assert shapes == [(2, 9, 32, 48, 3), (2, 12, 32, 48, 3)]
    frames = rollout.step()
    assert frames.dtype == torch.uint8 and frames.device.type == "cpu"
    assert rollout.blocks == [3, 3] and rollout.prompts == ["a", "b"]


def test_colours_are_rounded_and_stay_in_range(make_world, monkeypatch) -> None:
    world = make_world()
    pixels = torch.tensor([-1.5, -1, 0, 1, 1.5]).repeat(1, 1, 3, 1, 1)
    monkeypatch.setattr(world.codec, "decode", lambda latents, state: (pixels, state))
    assert world.start("a").step()[0, 0, 0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_latents_of_another_shape_are_not_decoded(make_world) -> None:
    rollout = make_world().start(["a", "b"])
    latents = rollout.step_latents()
    before = rollout.snapshot()
    for wrong in (latents[:1], latents[:, :0], latents[..., 1:], latents[0], latents[0, 0, 0, 0, 0]):
        with pytest.raises(
            ConfigError, match=r"got latents \[.*; expected \[2, F, 4, 4, 6\], as step_latents"
        ):
            rollout.decode(wrong)
    assert rollout.snapshot() == before and len(rollout.decode(latents)) == 2


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_frames_are_their_readers_own(make_config, device: str) -> None:
    world = World.from_config(make_config(), device=device)
    rollout, twin = world.start("a"), world.start("a")
    kept = [twin.step() for _ in range(5)]
    frames = [rollout.step()]
    with torch.inference_mode():
        frames.append(rollout.step())
    latents = rollout.step_latents()
    frames.append(rollout.decode(latents))
    frames += rollout.stream([None, None])
    assert all(torch.equal(one, other) for one, other in zip(frames, kept, strict=True))
    before = rollout.snapshot()
    for one in frames:
        assert not one.is_inference()
        one[..., :2] = 0
    assert rollout.snapshot() == before == twin.snapshot()
    assert torch.equal(rollout.step(), twin.step())


@pytest.mark.parametrize("ahead", [False, True])
def test_a_stream_yields_the_blocks_before_an_invalid_prompt(make_world, ahead: bool) -> None:
    stream = make_world().start("a").stream([None, "b", 5], ahead=ahead)
    assert [len(next(stream)) for _ in range(2)] == [1, 1]
    with pytest.raises(PromptError, match="the prompt is 5"):
        next(stream)


def test_timing_covers_the_phases_of_the_last_step(make_world) -> None:
    rollout = make_world().start("a")
    rollout.step()
    assert set(rollout.timing) == {"denoise_ms", "recache_ms", "decode_ms", "total_ms"}
    rollout.switch_prompt("b")
    rollout.step()
    timing = rollout.timing
    assert all(value > 0 for value in timing.values())
    assert timing["total_ms"] == pytest.approx(sum(timing.values()) - timing["total_ms"])
    rollout.step()
    assert rollout.timing["recache_ms"] == 0


@pytest.mark.parametrize("step", [Rollout.step, Rollout.step_latents])
def test_the_end_of_absolute_positions_is_told_once(make_world, step, caplog) -> None:
    rollouts = {rope: make_world(rope=rope).start(["a", "b"]) for rope in ("absolute", "relative")}
    for rollout in rollouts.values():
        rollout.state.cache.timelines[1] = Timeline(position=1021, stored=12)
        step(rollout)
    assert rollouts["absolute"].blocks == [1, 341] and not caplog.records
    for _ in range(2):
        step(rollouts["relative"])
    assert not caplog.records
    for _ in range(2):
        step(rollouts["absolute"])
    step(rollouts["absolute"].fork())
    (record,) = caplog.records
    assert record.levelname == "WARNING" and "past 1024 latent frames (256 seconds)" in record.message
    assert 'rope="relative" (--rope relative)' in record.message


def test_a_seed_means_the_same_in_any_batch(make_world) -> None:
    world = make_world()
    batch = latents(world.start(["a", "b", "c"], seed=[5, 6, 7]), 6)
    counted = latents(world.start(["a", "b", "c"], seed=5), 6)
    assert torch.equal(batch, counted)
    for index, prompt in enumerate("abc"):
        alone = latents(world.start(prompt, seed=5 + index), 6)
        torch.testing.assert_close(batch[index : index + 1], alone, **CLOSE)
    assert torch.equal(latents(world.start("a", seed=np.int64(5)), 2), latents(world.start("a", seed=5), 2))
    large, other = world.start("a", seed=5 + (1 << 32)), world.start("a", seed=0)
    other.reset_world(0, "a", 5 + (1 << 32))
    assert torch.equal(first := latents(large, 1), latents(other, 1))
    assert not torch.equal(first, latents(world.start("a", seed=5), 1))


@pytest.mark.parametrize("rope", ["absolute", "relative"])
@pytest.mark.parametrize("keep_sink", [True, False])
def test_worlds_of_different_ages_run_as_if_alone(make_world, rope: str, keep_sink: bool) -> None:
    """Resets, switches and clears of single worlds in a batch of three, against each world by itself."""
    world = make_world(rope=rope, keep_sink=keep_sink)
    events = {
        2: (1, "reset", "d"),
        3: (0, "full", "e"),
        5: (1, "full", "f"),
        6: (2, "clear", "g"),
        8: (1, "none", "h"),
        9: (2, "full", "a"),
        10: (0, "full", "b"),
    }
    batch = world.start(["a", "b", "c"], seed=[0, 1, 2])
    alone = [world.start(prompt, seed=index) for index, prompt in enumerate("abc")]
    for block in range(13):
        if block in events:
            index, kind, prompt = events[block]
            if kind == "reset":
                batch.reset_world(index, prompt, 77)
                alone[index].reset_world(0, prompt, 77)
            else:
                batch.switch_prompt(prompt, kind, [index])
                alone[index].switch_prompt(prompt, kind)
        want = torch.cat([one.step_latents() for one in alone])
        torch.testing.assert_close(batch.step_latents(), want, rtol=1e-3, atol=1e-4)
    assert batch.blocks == [13, 11, 13] and batch.prompts == ["b", "h", "a"]


def test_pixels_of_a_reset_world_start_with_repeats(make_world) -> None:
    world = make_world()
    batch = world.start(["a", "b"], seed=[0, 1])
    batch.step()
    batch.reset_world(1, "c", 9)
    frames = batch.step()
    fresh = world.start("c", seed=9).step()
    difference = (frames[1, 3:].int() - fresh[0].int()).abs().max()
    assert difference <= 1 and all(torch.equal(frames[1, i], frames[1, 3]) for i in range(3))


def test_neighbours_of_a_switch_go_on_in_the_same_bits(make_world) -> None:
    switched, plain = (make_world().start(["a", "b", "c"]) for _ in range(2))
    for rollout in (switched, plain):
        latents(rollout, 5)
    switched.switch_prompt("z", worlds=[1])
    one, other = switched.step_latents(), plain.step_latents()
    assert torch.equal(one[[0, 2]], other[[0, 2]]) and not torch.equal(one[1], other[1])


def test_a_reset_world_is_a_new_one(make_world) -> None:
    world = make_world()
    rollout = world.start("a", seed=1)
    latents(rollout, 5)
    rollout.reset_world(0, "b", 2)
    assert torch.equal(latents(rollout, 6), latents(world.start("b", seed=2), 6))


def test_fork_goes_its_own_way(make_world) -> None:
    world = make_world()
    rollout, twin = world.start("a"), world.start("a")
    for one in (rollout, twin):
        latents(one, 2)
    branch = rollout.fork()
    branch.switch_prompt("b")
    changed = latents(branch, 3)
    kept = latents(rollout, 3)
    assert torch.equal(kept, latents(twin, 3)) and not torch.allclose(kept, changed)


def test_fork_makes_one_cache(make_world, monkeypatch) -> None:
    """A second one, to be dropped at once, would take gigabytes."""
    rollout = make_world().start(["a", "b"])
    made = []
    make = KVCache.__init__
    monkeypatch.setattr(
        KVCache, "__init__", lambda cache, *args, **kwargs: made.append(1) or make(cache, *args, **kwargs)
    )
    rollout.fork([1, 1, 0])
    assert len(made) == 1


def test_fork_branches_one_world_many_times(make_world) -> None:
    rollout = make_world().start(["a", "b"])
    latents(rollout, 2)
    many = rollout.fork([1, 1, 0])
    assert many.prompts == ["b", "b", "a"] and many.batch == 3
    blocks, original = many.step_latents(), rollout.step_latents()
    assert torch.equal(blocks[0], blocks[1])
    torch.testing.assert_close(blocks, original[[1, 1, 0]], **CLOSE)


def test_recorded_noise_replays_a_seeded_run(make_world) -> None:
    world = make_world()
    generator = torch.Generator().manual_seed(4)
    draws = [torch.randn(3, *world.config.latent_shape, generator=generator) for _ in range(8)]
    noise = RecordedNoise(torch.cat([draws[0], draws[4]])[None], torch.stack(draws[1:4] + draws[5:]))
    assert torch.equal(latents(world.start("a", noise=noise), 2), latents(world.start("a", seed=4), 2))


def test_a_recording_that_ends_says_so(make_world) -> None:
    world = make_world()
    shape = (3, *world.config.latent_shape)
    rollout = world.start("a", noise=RecordedNoise(torch.zeros(1, *shape), torch.zeros(2, *shape)))
    with pytest.raises(ConfigError, match="holds 2 draws between steps"):
        rollout.step_latents()
    with pytest.raises(ConfigError, match="holds noise for 3 frames"):
        rollout.step_latents()


def test_fewer_steps_end_the_loop_early(make_world) -> None:
    world = make_world()
    world = world.replaced(config=replace(world.config, sampler=SamplerConfig((500, 250), train_steps=500)))
    one = world.start("a").step_latents(steps=1)
    noise = torch.randn(1, 3, *world.config.latent_shape, generator=torch.Generator().manual_seed(0))
    text = world.encode_prompt(["a"])
    flow = world.transformer.forward_clip(noise, torch.full((1, 3), 500.0), text)
    torch.testing.assert_close(one, noise - flow, **CLOSE)


def test_embeddings_can_stand_in_for_prompts(make_world) -> None:
    world = make_world()
    text = world.encode_prompt(["a", "b"])
    mute = World(world.config, world.transformer, world.codec)
    got = latents(mute.start(["", ""], text=text), 2)
    with pytest.raises(ConfigError, match="pass the prompt's embedding as text="):
        mute.start("never seen")
    assert torch.equal(got, latents(world.start(["a", "b"]), 2))


def test_a_world_may_remember_another_block_than_it_generates(make_world) -> None:
    """Teacher forcing: what follows is as if it had generated what it remembers."""
    world = make_world()
    other, rollout = world.start("a", seed=5), world.start("a", seed=3)
    made = other.step_latents()
    shown = list[torch.Tensor]()

    def remember(latents: torch.Tensor) -> torch.Tensor:
        shown.append(latents)
        return made

    assert torch.equal(rollout.step_latents(remember=remember), world.start("a", seed=3).step_latents())
    assert len(shown) == 1 and torch.equal(shown[0], world.start("a", seed=3).step_latents())
    for mine, theirs in (
        (rollout.state.history, other.state.history),
        (rollout.state.cache.keys, other.state.cache.keys),
        (rollout.state.cache.values, other.state.cache.values),
    ):
        assert torch.equal(mine, theirs)
    with pytest.raises(
        ConfigError, match=r"remember= returned shape \[1, 1, .*\]; expected a block's latents, \[1, 3"
    ):
        rollout.step_latents(remember=lambda latents: latents[:, :1])


def test_training_gradients_reach_every_weight_of_the_transformer(make_world) -> None:
    world = make_world()
    frozen = world.start("a")
    want = latents(frozen, 3)
    assert not want.requires_grad
    world.transformer.requires_grad_(True)
    rollout = world.start("a")
    got = latents(rollout, 3)
    torch.testing.assert_close(got, want, **CLOSE)
    got.square().mean().backward()
    missing = [name for name, p in world.transformer.named_parameters() if p.grad is None]
    assert missing == []
    assert not rollout.state.cache.keys.requires_grad and not rollout.state.history.requires_grad


def test_gradients_of_values_alone_stay_out_of_the_cache(make_world) -> None:
    world = make_world()
    world.transformer.blocks[0].self_attn.v.requires_grad_(True)
    rollout = world.start("a")
    rollout.step_latents().sum().backward()
    assert not rollout.state.cache.values.requires_grad


def test_steps_under_inference_mode_and_training_can_alternate(make_world) -> None:
    world = make_world()
    rollout = world.start("a")
    with torch.inference_mode():
        rollout.step()
    world.transformer.requires_grad_(True)
    loss = rollout.step_latents().sum()
    rollout.switch_prompt("b")  # backward needs the prompt of before
    loss.backward()
    rollout.step()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: r.switch_prompt("b", "half"), "recache is 'half'; expected one of full, none, clear"),
        (lambda r: r.switch_prompt(["b"]), "got 1 prompts for 2 worlds"),
        (lambda r: r.switch_prompt("b", worlds=[2]), "there is no world 2; this rollout has worlds 0 to 1"),
        (lambda r: r.switch_prompt(["b", "c"], worlds=[1, -1]), r"the worlds are \[1, -1\]; name each once"),
        (lambda r: r.restore(r.snapshot(), worlds=[0, 0]), r"the worlds are \[0, 0\]; name each once"),
        (lambda r: next(r.stream("abc")), "the prompts are the text 'abc', whose letters would be taken"),
        (lambda r: r.step_latents(steps=0), "steps is 0; expected 1 to 4, the denoising steps of the world"),
        (lambda r: r.step_latents(steps=5), "steps is 5; expected 1 to 4"),
        (lambda r: r.reset_world(-3, "b", 0), "there is no world -3"),
        (lambda r: r.world.start(["a", "b"], seed=[1]), "got 1 seeds for 2 prompts"),
        (lambda r: r.world.start([]), "no prompt was given"),
        (lambda r: r.world.start(["a", 5], text=torch.zeros(2, 32, 8)), "a prompt must be text, not int"),
        (
            lambda r: r.switch_prompt("b", text=torch.zeros(2, 5, 8)),
            r"shape \[2, 5, 8\]; expected \[2, 32, 8\]",
        ),
    ],
)
def test_errors_say_what_was_got(make_world, call, message: str) -> None:
    rollout = make_world().start(["a", "b"])
    with pytest.raises((ConfigError, PromptError), match=message):
        call(rollout)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: r.reset_world(0, "c", 7), "pass the prompt's embedding as text="),
        (lambda r: r.reset_world(0, "c", 7, text=torch.zeros(1, 5, 8)), r"shape \[1, 5, 8\]"),
        (lambda r: r.reset_world(0, 5, 7, text=torch.zeros(1, 32, 8)), "the prompt is 5 \\(int\\)"),
        (lambda r: r.reset_world(0, "c", -7, text=torch.zeros(1, 32, 8)), "the seed is -7"),
        (lambda r: r.switch_prompt([5], worlds=[0], text=torch.zeros(1, 32, 8)), "text, not int \\(5\\)"),
        (lambda r: r.switch_prompt("c", text=torch.zeros(1, 32, 8)), r"expected \[2, 32, 8\]"),
    ],
)
def test_what_cannot_be_read_changes_nothing(make_world, call, message: str) -> None:
    world = make_world()
    mute = World(world.config, world.transformer, world.codec)
    rollout = mute.start(["a", "b"], text=world.encode_prompt(["a", "b"]))
    rollout.step()
    before = rollout.snapshot()
    with pytest.raises((ConfigError, PromptError), match=message):
        call(rollout)
    assert rollout.snapshot() == before


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-4), (torch.bfloat16, 3e-2)])
def test_a_cuda_device_makes_the_same_video(make_config, dtype: torch.dtype, error: float) -> None:
    config = make_config(rope="relative", keep_sink=False)
    videos = []
    for device, kind in (("cpu", torch.float32), ("cuda", dtype)):
        rollout = World.from_config(config, device=device, dtype=kind).start(["a", "b"])
        blocks = [rollout.step_latents() for _ in range(3)]
        rollout.switch_prompt("c", worlds=[1])
        rollout.reset_world(0, "d", 3)
        blocks += [rollout.step_latents() for _ in range(3)]
        videos.append(torch.cat(blocks, 1).cpu())
    assert (videos[0] - videos[1]).norm() / videos[0].norm() < error


@pytest.mark.gpu
def test_a_block_never_waits_for_the_device(make_config) -> None:
    rollout = World.from_config(make_config(rope="relative"), device="cuda").start(["a", "b"])
    rollout.step_latents()
    rollout.reset_world(0, "c", 3)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(5):
            rollout.step_latents()
    finally:
        torch.cuda.set_sync_debug_mode("default")


GROWTH = """
from dataclasses import replace
from pathlib import Path
from small_config import SMALL
from longlive_env import World

small = replace(SMALL.transformer, dim=16, ffn_dim=16, layers=1)
steps = replace(SMALL.sampler, steps=(1000,))
world = World.from_config(replace(SMALL, transformer=small, sampler=steps, height=16, width=16))
rollout = world.start("a")
resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * 4096
for block in range(1000):
    if block == 20:
        before = resident()
    if block % 100 == 50:
        rollout.switch_prompt(f"prompt {block}")
    rollout.step()
print(resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads resident memory from /proc")
def test_a_thousand_blocks_take_no_more_memory_than_twenty() -> None:
    run = subprocess.run(
        [sys.executable, "-c", GROWTH], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < 2e6
