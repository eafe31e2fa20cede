import torch
from naive_engine import NaiveWorld

from longlive_env.engine.kv_cache import KVCache, Timeline
from longlive_env.engine.recache import neighbours


def test_frames_that_are_not_stored_need_not_pass(make_world) -> None:
    """The engine passes `context - sink` frames, the naive engine all `context` of them."""
    world = make_world()
    rollout = world.start("a")
    for _ in range(6):
        rollout.step_latents()
    passed = []
    original = world.transformer.remember
    world.transformer.remember = lambda latents, *rest: (
        passed.append(latents.shape[1]) or original(latents, *rest)
    )
    naive = NaiveWorld(world.config, world.transformer)
    naive.text = world.encode_prompt(["a"])
    generator = torch.Generator().manual_seed(0)
    for _ in range(6):
        draws = [torch.randn(1, 3, *world.config.latent_shape, generator=generator) for _ in range(4)]
        naive.block(draws[0], draws[1:])
    naive.text = world.encode_prompt(["b"])
    naive.recache()
    rollout.switch_prompt("b")
    assert passed == [9]
    cache = rollout.state.cache
    values = [torch.cat([frame["v"][layer] for frame in naive.stored], 1) for layer in range(2)]
    order = [0, 1, 2, 9, 10, 11, 3, 4, 5, 6, 7, 8]  # where the ring keeps frames 0-2 and 9-17
    slots = cache.values.unflatten(2, (12, -1))[:, :, order].flatten(2, 3)
    torch.testing.assert_close(slots, torch.stack(values), rtol=1e-4, atol=1e-5)


def test_a_kept_sink_is_left_as_it_is(make_world) -> None:
    for keep_sink in (True, False):
        rollout = make_world(keep_sink=keep_sink).start("a")
        for _ in range(5):
            rollout.step_latents()
        cache = rollout.state.cache
        sink = slice(0, 3 * cache.frame_tokens)
        before = cache.keys.clone()
        rollout.switch_prompt("b")
        assert torch.equal(before[:, :, sink], cache.keys[:, :, sink]) == keep_sink
        # The first layer's keys do not depend on the prompt; those of the second do, in every frame.
        assert not torch.isclose(before, cache.keys)[1, :, sink.stop :].all(-1).any()


def test_a_young_video_is_rewritten_whole(make_world) -> None:
    rollout = make_world().start("a")
    for _ in range(4):
        rollout.step_latents()
    before = rollout.state.cache.values.clone()
    rollout.switch_prompt("b")
    torch.testing.assert_close(before[0], rollout.state.cache.values[0])
    assert not torch.isclose(before[1], rollout.state.cache.values[1]).all(-1).any()


def test_modes_differ_in_what_the_next_block_sees(make_world) -> None:
    start = make_world().start("a")
    for _ in range(3):
        start.step_latents()
    blocks = []
    for mode in ("full", "none", "clear"):
        rollout = start.fork()
        rollout.switch_prompt("b", recache=mode)
        blocks.append(rollout.step_latents())
        assert rollout.state.cache.timelines == [Timeline(12, 3 if mode == "clear" else 12)]
    assert all((a - b).abs().max() > 1e-4 for a, b in ((blocks[0], blocks[1]), (blocks[1], blocks[2])))


def test_a_cleared_cache_holds_no_trace_of_what_was(make_world) -> None:
    """With positions that count from the cache, a cleared world goes on like a new one."""
    world = make_world(rope="relative")
    old = world.start("a", seed=1)
    old.step_latents()
    old.switch_prompt("b", recache="clear")
    new = world.start("b", seed=2)
    new.state.noise.assign([0], old.state.noise, [0])
    for _ in range(6):
        torch.testing.assert_close(old.step_latents(), new.step_latents(), rtol=1e-4, atol=1e-4)


def test_a_recache_after_a_clear_rebuilds_from_the_latents(make_world) -> None:
    world = make_world()
    kept, cleared = world.start("a"), world.start("a")
    for rollout in (kept, cleared):
        for _ in range(3):
            rollout.step_latents()
    cleared.switch_prompt("a", recache="clear")
    for rollout in (kept, cleared):
        rollout.switch_prompt("b")
    assert torch.equal(kept.step_latents(), cleared.step_latents())


def test_neighbours_with_equal_timelines_pass_together(make_config) -> None:
    cache = KVCache(make_config(), 6)
    cache.timelines = [Timeline(n, n) for n in (3, 3, 6, 6, 6, 3)]
    assert neighbours(cache, [5, 0, 1, 2, 4]) == [slice(0, 2), slice(2, 3), slice(4, 5), slice(5, 6)]
