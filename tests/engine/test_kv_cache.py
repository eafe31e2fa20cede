import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_engine import NaiveWorld

from longlive_env.engine.kv_cache import KVCache, Timeline
from longlive_env.engine.world import World


def run_both(world: World, script: list[str], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents of the engine and of the naive one for a script of prompts, "" keeping the one before."""
    config = world.config
    shape = config.block_shape
    rollout, naive = world.start(script[0], seed), NaiveWorld(config, world.transformer)
    naive.text = world.encode_prompt(script[:1])
    generator = torch.Generator().manual_seed(seed)
    got, want = [], []
    for prompt in ["", *script[1:]]:
        if prompt:
            rollout.switch_prompt(prompt)
            naive.text = world.encode_prompt([prompt])
            naive.recache()
        start, *fresh = (torch.randn(1, *shape, generator=generator) for _ in config.sampler.steps)
        got.append(rollout.step_latents())
        want.append(naive.block(start, fresh))
    return torch.cat(got, 1), torch.cat(want, 1)


SIZES = st.integers(1, 3).flatmap(
    lambda block: st.tuples(
        st.just(block), st.integers(0, 4), st.integers(block, 7), st.sampled_from(["absolute", "relative"])
    )
)


@settings(max_examples=12)
@given(SIZES, st.booleans(), st.lists(st.sampled_from(["", "", "", "b", "c"]), min_size=4, max_size=8))
def test_ring_buffer_is_the_concatenation_of_frames(
    make_world, sizes: tuple[int, int, int, str], keep_sink: bool, prompts: list[str]
) -> None:
    block, sink, window, rope = sizes
    world = make_world(
        frames_per_block=block, sink_frames=sink, context_frames=sink + window, rope=rope, keep_sink=keep_sink
    )
    got, want = run_both(world, ["a", *prompts])
    assert (got - want).norm() / want.norm() < 1e-5


def test_buffers_are_allocated_once_and_never_moved(make_world) -> None:
    rollout = make_world().start(["a", "b"])
    cache = rollout.state.cache
    addresses = [x.data_ptr() for x in (cache.keys, cache.values, rollout.state.cross.buffer)]
    for _ in range(6):
        rollout.step_latents()
    rollout.switch_prompt("c")
    rollout.reset_world(0, "d", 5)
    rollout.step_latents()
    assert rollout.state.cache is cache
    assert [x.data_ptr() for x in (cache.keys, cache.values, rollout.state.cross.buffer)] == addresses


def test_the_sink_stays_and_the_oldest_frames_of_the_window_go(make_world) -> None:
    rollout = make_world(context_frames=6, sink_frames=3).start("a")
    cache = rollout.state.cache
    tokens = cache.frame_tokens
    for _ in range(2):
        rollout.step_latents()
    before = cache.keys.clone()
    rollout.step_latents()
    assert torch.equal(cache.keys[:, :, : 3 * tokens], before[:, :, : 3 * tokens])
    assert not torch.isclose(cache.keys[:, :, 3 * tokens :], before[:, :, 3 * tokens :]).all(-1).any()
    assert cache.timelines == [Timeline(position=9, stored=9)]


@given(SIZES, st.lists(st.sampled_from(["block", "block", "block", "rebuild", "clear"]), max_size=12))
def test_the_frames_held_are_those_that_were_written(
    make_config, sizes: tuple[int, int, int, str], script: list[str]
) -> None:
    block, sink, window, _ = sizes
    context = sink + window
    cache = KVCache(make_config(frames_per_block=block, sink_frames=sink, context_frames=context), 1)
    slots: list[int | None] = [None] * context
    for act in script:
        frames = block
        if act == "block":
            passed = cache.append(block)
        else:
            slots = [None] * context
            cache.clear(0)
            frames = min(cache.timelines[0].position, context)
            if act == "clear" or not frames:
                continue
            passed = cache.rewrite(slice(0, 1), frames, keep_sink=False)
        for frame, slot in enumerate(passed.slots.frames.tolist()):
            slots[slot] = passed.after[0].position - frames + frame
        cache.commit(passed)
    newest = sorted(frame for frame in slots[sink:] if frame is not None)
    assert cache.frames_held(0) == [*slots[:sink], *newest, *[None] * (window - len(newest))]


def test_no_mask_while_ages_agree(make_config) -> None:
    cache = KVCache(make_config(), 2)
    assert cache.append(3).mask is None
    cache.timelines = [Timeline(3, 3), Timeline(0, 0)]
    assert cache.append(3).mask.flatten(1).sum(1).tolist() == [
        6 * cache.frame_tokens,
        3 * cache.frame_tokens,
    ]
    cache.timelines = [Timeline(30, 30), Timeline(12, 12)]
    assert cache.append(3).mask is None, "full caches differ in order alone"


def test_a_sink_turns_once_the_window_moves(make_config) -> None:
    cache = KVCache(make_config(rope="relative"), 2)  # of 12 frames
    for stored, turns in ((6, False), (9, False), (12, True)):
        cache.timelines = [Timeline(stored, stored), Timeline(3, 3)]
        assert (cache.append(3).sink_rotation is not None) is turns


@pytest.mark.parametrize("relative", [False, True])
def test_a_pass_that_fails_leaves_the_counters(make_world, monkeypatch, relative: bool) -> None:
    world = make_world(rope="relative" if relative else "absolute")
    rollout = world.start("a")
    rollout.step_latents()
    monkeypatch.setattr(world.transformer, "remember", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        rollout.step_latents()
    assert rollout.blocks == [1]
