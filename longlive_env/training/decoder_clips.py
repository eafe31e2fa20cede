"""Clips that a decoder learns from: cut from blocks, decoded at each size, and judged in part.

A close-up is the middle half of a picture, where the subject of a tiny world is. It is decoded for half the
cost.

Shapes: B clips, F latent frames of a block, C latent channels, h x w latent size, T pixel frames, H x W
pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from longlive_env.engine.codec.patch_vae import Decoder, PatchVAE

CLIP = 2  # latent frames of a clip


@dataclass(frozen=True)
class DecoderClips:
    """Inputs of the decoder, and its targets.

    Attributes:
        latents: standardised latents ``[B, CLIP, C, h, w]``.
        previous: the latent frame before each, of the same shape.
        frames: rendered frames, float32 ``[B, 4 * CLIP, 3, H, W]`` in [-1, 1].
    """

    latents: Tensor
    previous: Tensor
    frames: Tensor


def cut_clips(
    blocks: Sequence[tuple[Tensor, Tensor]], first: int, temporal_factor: int, device: torch.device
) -> DecoderClips:
    """Cut clips from blocks, beginning at one of their latent frames.

    Args:
        blocks: the block of each clip: its latents, preceded by the frame before them ``[1 + F, C, h, w]``,
            and its rendered frames, uint8 ``[T, 3, H, W]``.
        first: latent frame of the block that clips begin at.
        temporal_factor: pixel frames per latent frame.
        device: device of the clips.
    """
    part = slice(temporal_factor * first, temporal_factor * (first + CLIP))
    latents = torch.stack([latents.float() for latents, _ in blocks]).to(device)
    frames = torch.stack([frames[part] for _, frames in blocks]).to(device)
    return DecoderClips(
        latents[:, first + 1 : first + 1 + CLIP],
        latents[:, first : first + CLIP],
        frames.float() / 127.5 - 1,
    )


def close_up(picture: Tensor) -> Tensor:
    """The middle half of the columns of a picture or of latents ``[..., w]``, a view."""
    width = picture.shape[-1]
    return picture[..., width // 4 : width - width // 4]


def decode_clips(codec: PatchVAE, clips: DecoderClips, *, close: bool = False) -> list[Tensor]:
    """Pixels ``[B, 4 * CLIP, 3, H, W]``, float32, not clamped, at each size, the largest last.

    Args:
        codec: the codec.
        clips: clips, whole or close up.
        close: whether they are close up.
    """
    raw = [codec.raw(latents).flatten(0, 1) for latents in (clips.latents, clips.previous)]
    worlds, frames = clips.frames.shape[:2]
    own = codec.decoder.place
    place = {"decoder.place": close_up(own)} if close and own is not None else {}
    sizes = functional_call(_BothSizes(codec.decoder), place, tuple(raw))
    return [groups.float().reshape(worlds, frames, 3, *groups.shape[-2:]) for groups in sizes]


class _BothSizes(nn.Module):
    """`Decoder.both` as a module, whose map of the picture can be replaced for a call."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, latents: Tensor, previous: Tensor) -> tuple[Tensor, ...]:
        return self.decoder.both(latents, previous)


def window(frames: Tensor, count: int, scale: int, generator: torch.Generator) -> tuple[slice, ...]:
    """Choose where a discriminator looks: some frames of all clips, cropped to the size without detail.

    Args:
        frames: frames of clips ``[B, T, 3, H, W]``.
        count: number of frames to see.
        scale: size of the frames relative to those without detail.
        generator: random generator that chooses the place.
    """
    height, width = (side // scale for side in frames.shape[-2:])
    wanted = (count, 3, height, width)
    firsts = [
        int(torch.randint(there - size + 1, (), generator=generator))
        for there, size in zip(frames.shape[1:], wanted, strict=True)
    ]
    return (slice(None), *(slice(first, first + size) for first, size in zip(firsts, wanted, strict=True)))
