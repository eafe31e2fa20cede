"""Worlds that start from given frames: what is kept of a clip, and that it is cached as a recache would."""

import numpy as np
import pytest
import torch
from PIL import Image

from longlive_env.engine.codec import CodecState
from longlive_env.engine.prefill import fitted_clip, given_clips
from longlive_env.engine.recache import recache
from longlive_env.errors import ConfigError

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def noise_clip(frames: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(256, (frames, 32, 48, 3), generator=torch.Generator().manual_seed(seed)).byte()


@pytest.mark.parametrize(
    ("given", "kept"), [(1, 9), (5, 9), (9, 9), (12, 9), (20, 9), (21, 21), (32, 21), (45, 45), (200, 45)]
)
def test_clips_become_whole_blocks_with_the_newest_frames(make_config, given: int, kept: int) -> None:
    clip = noise_clip(given)
    got = fitted_clip(clip, make_config())
    assert len(got) == kept
    shown = min(given, kept)
    assert torch.equal(got[-shown:], clip[-shown:])
    assert all(torch.equal(frame, clip[0]) for frame in got[: kept - shown])


def test_a_picture_and_arrays_are_clips_too(make_config) -> None:
    clip = noise_clip(1)
    for one in (clip[0], clip[0].numpy(), clip.numpy()[:, ::-1][:, ::-1]):
        assert torch.equal(fitted_clip(one, make_config()), clip.expand(9, -1, -1, -1))


def test_pictures_of_pillow_are_taken_and_paths_are_not(make_world) -> None:
    picture = Image.fromarray(noise_clip(1)[0].numpy())
    world = make_world()
    given = [world.start("a", frames=one).state.history for one in (picture, np.asarray(picture))]
    assert torch.equal(*given)
    for wrong in ("cat.jpg", ["cat.jpg"]):
        with pytest.raises(ConfigError, match=r"'cat.jpg'; expected an array uint8 \[32, 48, 3\]"):
            world.start("a", frames=wrong)


def test_worlds_of_a_batch_take_clips_of_their_own(make_config) -> None:
    clips = torch.stack([noise_clip(9, 1), noise_clip(9, 2)])
    assert given_clips(None, 2, make_config()) == [None, None]
    for frames in (clips, clips.numpy(), list(clips)):
        got = given_clips(frames, 2, make_config())
        assert all(torch.equal(one, clip) for one, clip in zip(got, clips, strict=True))
    one, none = given_clips([clips[0], None], 2, make_config())
    assert torch.equal(one, clips[0]) and none is None
    assert all(torch.equal(one, clips[0]) for one in given_clips(clips[0], 2, make_config()))


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((32, 48, 3), np.float32), "are float32; expected uint8"),
        (torch.zeros(32, 48, 3), r"are torch.float32; expected uint8"),
        (
            np.zeros((48, 32, 3), np.uint8),
            r"shape \[48, 32, 3\]; expected \[32, 48, 3\] for .* resize",
        ),
        (np.zeros((0, 32, 48, 3), np.uint8), r"shape \[0, 32, 48, 3\]"),
        (np.zeros((32, 48), np.uint8), r"shape \[32, 48\]"),
        (np.zeros((3, 9, 32, 48, 3), np.uint8), "got 3 clips of frames for 2 worlds"),
        ([np.zeros((32, 48, 3), np.uint8)], "got 1 clips of frames for 2 worlds"),
    ],
)
def test_what_does_not_fit_is_refused(make_world, frames: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_world().start(["a", "b"], frames=frames)


@pytest.mark.parametrize("rope", ["absolute", "relative"])
@pytest.mark.parametrize("keep_sink", [True, False])
def test_it_is_what_a_recache_of_these_latents_makes(make_world, rope: str, keep_sink: bool) -> None:
    """A world that is given another's latents goes on as that other one does after a recache."""
    world = make_world(rope=rope, keep_sink=keep_sink)
    source = world.start("a", seed=1)
    latents = torch.cat([source.step_latents() for _ in range(4)], 1)
    target = world.start("a", seed=1)
    target.state.noise = source.fork().state.noise
    target.state.give(0, latents, source.state.codec)
    assert target.state.cache.visible_frames == 0  # nothing is cached yet
    recache(world.transformer, target.state, [0], keep_sink=False)
    source.switch_prompt("a")
    assert target.blocks == [4]
    for _ in range(3):
        torch.testing.assert_close(target.step_latents(), source.step_latents(), **CLOSE)


def test_a_world_continues_the_frames_that_it_is_given(make_world) -> None:
    world = make_world()
    clip = noise_clip(21)
    rollout = world.start("a", seed=3, frames=clip)
    assert rollout.blocks == [2]
    pixels = clip.movedim(-1, 1)[None].float() / 127.5 - 1
    given = world.codec.encode(pixels, CodecState.fresh(1)).latents
    torch.testing.assert_close(rollout.state.history[:, -6:], given, **CLOSE)
    frames = rollout.step()
    assert frames.shape == (1, 12, 32, 48, 3)
    whole = world.codec.decode(rollout.state.history[:, -9:], CodecState.fresh(1)).pixels[:, -12:]
    want = ((whole.clamp(-1, 1) + 1) * 127.5).round()
    assert (frames.movedim(-1, 2) - want).abs().max() <= 1
    other = world.start("a", seed=3, frames=noise_clip(21, 1))
    assert not torch.allclose(rollout.state.history[:, -3:], (other.step(), other.state.history[:, -3:])[1])


def test_given_and_new_worlds_share_a_batch(make_world) -> None:
    world = make_world(rope="relative", keep_sink=False)
    batch = world.start(["a", "b"], seed=[1, 2], frames=[None, noise_clip(30)])
    alone = [world.start("a", seed=1), world.start("b", seed=2, frames=noise_clip(30))]
    for _ in range(5):
        want = torch.cat([one.step_latents() for one in alone])
        torch.testing.assert_close(batch.step_latents(), want, rtol=1e-3, atol=1e-4)
    assert batch.blocks == [5, 7]


def test_snapshots_hold_what_was_given(make_world) -> None:
    world = make_world()
    rollout = world.start("a", frames=noise_clip(45))
    twin = world.resume(rollout.snapshot())
    rollout.switch_prompt("b")
    twin.switch_prompt("b")
    assert all(torch.equal(rollout.step(), twin.step()) for _ in range(2))


def test_another_seed_makes_another_future(make_world) -> None:
    rollout = make_world().start(["a", "b"])
    rollout.step()
    twin = rollout.fork()
    twin.reseed(1, 99)
    ours, theirs = rollout.step_latents(), twin.step_latents()
    assert torch.equal(ours[0], theirs[0]) and not torch.equal(ours[1], theirs[1])
