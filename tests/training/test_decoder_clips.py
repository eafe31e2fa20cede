"""Clips of a decoder, on small numbers: what is cut, decoded and looked at."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toy_stages import CODEC, CONFIG

from longlive_env.engine.codec import CodecState
from longlive_env.engine.codec.patch_vae import PatchVAE
from longlive_env.training.decoder_clips import CLIP, close_up, cut_clips, decode_clips, window
from longlive_env.training.growing import grown


def blocks(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Random latents, with the frame before them, and frames."""
    torch.manual_seed(0)
    return [
        (torch.randn(4, *CONFIG.latent_shape), torch.randint(256, (12, 3, 96, 160), dtype=torch.uint8))
        for _ in range(count)
    ]


@pytest.mark.parametrize("first", [0, 1])
def test_latents_and_frames_of_a_clip_belong_together(first: int) -> None:
    given = blocks(2)
    clips = cut_clips(given, first, 4, torch.device("cpu"))
    for clip, (latents, frames) in enumerate(given):
        assert torch.equal(clips.latents[clip], latents[first + 1 : first + 3])
        assert torch.equal(clips.previous[clip], latents[first : first + 2])
        seen = frames[4 * first : 4 * first + 8]
        torch.testing.assert_close(clips.frames[clip], seen.float() / 127.5 - 1)


@pytest.mark.parametrize("detail", [(), (8, 1)])
def test_a_clip_is_decoded_as_within_its_block(detail: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    codec, given = grown(PatchVAE(CODEC), 0, detail), blocks(2)
    clips = cut_clips(given, 0, codec.temporal_factor, torch.device("cpu"))
    sizes = decode_clips(codec, clips)
    assert len(sizes) == 1 + bool(detail)
    whole = torch.stack([latents for latents, _ in given])  # of a stream the first frame is one pixel frame
    for one, made in zip((codec.light(), codec)[-len(sizes) :], sizes, strict=True):
        expected = one.decode(whole, CodecState.fresh(2)).pixels[:, 1 : 1 + 4 * CLIP]
        torch.testing.assert_close(made, expected)


def test_a_window_is_of_the_size_without_detail() -> None:
    frames, seen = torch.zeros(2, 8, 3, 192, 320), set()
    for seed in range(8):
        part = window(frames, 5, 2, torch.Generator().manual_seed(seed))
        assert frames[part].shape == (2, 5, 3, 96, 160)
        seen.add(tuple(one.start for one in part))
    assert len(seen) > 1 and all(where[0] is None and where[2] == 0 for where in seen)


@pytest.mark.parametrize("detail", [(), (8, 1)])
def test_a_close_up_is_decoded_as_the_middle_of_its_picture(detail: tuple[int, ...]) -> None:
    """Except near its sides, where convolutions of the whole picture see more."""
    torch.manual_seed(0)
    codec = grown(PatchVAE(replace(CODEC, place=(12, 20))), 0, detail)
    assert codec.decoder.place is not None
    torch.nn.init.normal_(codec.decoder.place)
    weights = dict(codec.decoder.named_parameters())
    torch.nn.init.zeros_(weights["coarse.0.conv2.weight"])  # two convolutions less to see through
    given = [(latents, frames[..., : 80 * codec.enlargement]) for latents, frames in blocks(2)]
    whole = cut_clips(given, 0, codec.temporal_factor, torch.device("cpu"))
    near = [(close_up(latents), frames) for latents, frames in given]
    clips = cut_clips(near, 0, codec.temporal_factor, torch.device("cpu"))
    assert clips.latents.shape[-1] == 10
    for one, other in zip(decode_clips(codec, whole), decode_clips(codec, clips, close=True), strict=True):
        middle, side = close_up(one), one.shape[-1] // 5
        assert other.shape == middle.shape
        torch.testing.assert_close(other[..., side:-side], middle[..., side:-side])
        assert not torch.equal(other, middle)
    torch.stack([frames.sum() for frames in decode_clips(codec, clips, close=True)]).sum().backward()
    grad = codec.decoder.place.grad
    assert grad is not None and bool(close_up(grad).abs().sum() > 0)
    assert not grad[..., :5].any() and not grad[..., 15:].any()
