from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from longlive_env.engine.codec import CodecState
from longlive_env.engine.codec.patch_vae import PatchVAE
from longlive_env.engine.config import ConfigError, PatchVAEConfig

SMALL = PatchVAEConfig(
    encoder_widths=(16, 8), encoder_blocks=(1, 1), decoder_widths=(16, 8), decoder_blocks=(1, 1)
)


def made(config: PatchVAEConfig) -> PatchVAE:
    torch.manual_seed(0)
    codec = PatchVAE(config).eval()
    codec.latent_mean.normal_()
    codec.latent_std.uniform_(0.5, 2)
    return codec


@pytest.fixture
def codec() -> PatchVAE:
    return made(SMALL)


@pytest.fixture
def detailed() -> PatchVAE:
    return made(replace(SMALL, detail=(8, 1)))


def streamed(
    code: Callable[[Tensor, CodecState], tuple[Tensor, CodecState]], clip: Tensor, chunks: tuple[int, ...]
) -> tuple[Tensor, CodecState]:
    """What a codec makes of a clip in chunks, and its state after it."""
    state, parts = CodecState.fresh(len(clip)), list[Tensor]()
    for chunk in clip.split(list(chunks), dim=1):
        part, state = code(chunk, state)
        chunk.zero_()  # whoever holds it may use its memory for the next one
        parts.append(part)
    return torch.cat(parts, 1), state


@torch.no_grad()
def test_decoding_is_causal_and_remembers_one_latent_frame(codec: PatchVAE) -> None:
    latents = torch.randn(1, 6, 16, 4, 6)
    changed = latents.clone()
    changed[:, 2] += 1
    before, after = (codec.decode(x, CodecState.fresh(1)).pixels for x in (latents, changed))
    differs = (before - after).abs().amax((0, 2, 3, 4)) > 0
    assert differs.nonzero().flatten().tolist() == list(range(5, 13))  # the frames of latents 2 and 3


@torch.no_grad()
def test_a_crop_is_encoded_as_in_the_full_frame(codec: PatchVAE) -> None:
    pixels = torch.rand(1, 5, 3, 192, 192)
    full = codec.encode(pixels, CodecState.fresh(1)).latents
    crop = codec.encode(pixels[..., 32:160, 32:160], CodecState.fresh(1)).latents
    torch.testing.assert_close(crop[..., 7:9, 7:9], full[..., 11:13, 11:13], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_stored_mean_and_std_standardise_latents_and_leave_the_pixels_alone(codec: PatchVAE) -> None:
    pixels = torch.rand(1, 5, 3, 32, 48)
    latents = codec.encode(pixels, CodecState.fresh(1)).latents
    output = codec.decode(latents, CodecState.fresh(1)).pixels
    mean, std = (x.reshape(1, 1, -1, 1, 1).clone() for x in (codec.latent_mean, codec.latent_std))
    codec.latent_mean.zero_()
    codec.latent_std.fill_(1)
    raw = codec.encode(pixels, CodecState.fresh(1)).latents
    torch.testing.assert_close(latents * std + mean, raw)
    torch.testing.assert_close(codec.decode(raw, CodecState.fresh(1)).pixels, output, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("chunks", [(1, 2, 3), (5, 1)])
def test_detail_streams_as_the_whole_clip_does(detailed: PatchVAE, chunks: tuple[int, ...]) -> None:
    latents = torch.randn(2, 6, 16, 4, 6)
    whole, _ = detailed.decode(latents, CodecState.fresh(2))
    assert whole.shape == (2, 21, 3, 64, 96) and detailed.spatial_factor == 16
    found, _ = streamed(detailed.decode, latents, chunks)
    torch.testing.assert_close(found, whole, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_frames_with_detail_are_the_light_ones_enlarged_and_what_they_lack(detailed: PatchVAE) -> None:
    latents, light = torch.randn(1, 3, 16, 4, 6), detailed.light()
    smaller = light.decode(latents, CodecState.fresh(1)).pixels
    assert smaller.shape == (1, 9, 3, 32, 48) and light.spatial_factor == 8
    assert detailed.decoder.detail is not None and light.decoder.detail is None
    with_detail = detailed.decode(latents, CodecState.fresh(1)).pixels
    torch.nn.init.zeros_(detailed.decoder.detail.conv_out.weight)
    torch.nn.init.zeros_(detailed.decoder.detail.conv_out.bias)
    without = detailed.decode(latents, CodecState.fresh(1)).pixels
    enlarged = torch.nn.functional.interpolate(smaller[0], scale_factor=2, mode="bilinear")[None]
    torch.testing.assert_close(without, enlarged, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(with_detail, enlarged, atol=1e-2)


@torch.no_grad()
def test_frames_are_encoded_from_their_average(detailed: PatchVAE) -> None:
    pixels = torch.rand(1, 5, 3, 64, 96) * 2 - 1
    average = torch.nn.functional.avg_pool2d(pixels[0], 2)[None]
    ours = detailed.encode(pixels, CodecState.fresh(1)).latents
    torch.testing.assert_close(ours, detailed.light().encode(average, CodecState.fresh(1)).latents)


def test_a_light_codec_trains_where_the_whole_does(detailed: PatchVAE) -> None:
    assert all(p.requires_grad for p in detailed.light().parameters())
    frozen = detailed.requires_grad_(False).light()
    assert not frozen.training and not any(p.requires_grad for p in frozen.parameters())


def test_the_default_size_fits_the_tiny_world() -> None:
    with torch.device("meta"):
        codec = PatchVAE(PatchVAEConfig())
    assert sum(p.numel() for p in codec.parameters()) <= 4_000_000


def test_bad_widths_are_refused() -> None:
    with pytest.raises(ConfigError, match="decoder_widths"):
        PatchVAEConfig(decoder_widths=(64,))
    with pytest.raises(ConfigError, match=r"detail is \(64,\); expected a width and a number of blocks"):
        PatchVAEConfig(detail=(64,))


def test_a_decoder_that_knows_its_place_decodes_its_size_alone() -> None:
    codec = PatchVAE(replace(SMALL, place=(3, 4)))
    latents = torch.randn(1, 2, SMALL.latent_channels, 3, 4)
    before = codec.decode(latents, CodecState.fresh(1)).pixels
    assert codec.decoder.place is not None
    torch.nn.init.normal_(codec.decoder.place)
    assert not torch.equal(codec.decode(latents, CodecState.fresh(1)).pixels, before)
    with pytest.raises(ConfigError, match=r"size \[3, 5\]; this codec decodes \[3, 4\] only"):
        codec.decode(torch.randn(1, 2, SMALL.latent_channels, 3, 5), CodecState.fresh(1))
    with pytest.raises(ConfigError, match="rows and columns"):
        replace(SMALL, place=(3,))
