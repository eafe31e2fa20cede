"""Clips that a decoder learns on: cut from blocks, decoded at each size, and looked at in part.

Shapes: B clips, F latent frames of a block, C latent channels, h x w latent size, T pixel frames, H x W
pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from longlive_env.engine.codec.patch_vae import PatchVAE

CLIP = 2  # latent frames of a clip


@dataclass(frozen=True)
class Clips:
    """What the decoder is to decode, and to what.

    Attributes:
        latents: standardised ``[B, CLIP, C, h, w]``.
        previous: the latent frame before each, of the same shape.
        frames: as rendered, float32 ``[B, 4 * CLIP, 3, H, W]`` in [-1, 1].
    """

    latents: Tensor
    previous: Tensor
    frames: Tensor


def cut_clips(
    blocks: Sequence[tuple[Tensor, Tensor]], first: int, temporal_factor: int, device: torch.device
) -> Clips:
    """Clips that begin at one of the latent frames of blocks.

    Args:
        blocks: of each clip the block: its latents after the frame before them ``[1 + F, C, h, w]``, and its
            rendered frames, uint8 ``[T, 3, H, W]``.
        first: latent frame of the block that clips begin at.
        temporal_factor: pixel frames of a latent frame.
        device: to put them on.
    """
    part = slice(temporal_factor * first, temporal_factor * (first + CLIP))
    latents = torch.stack([latents.float() for latents, _ in blocks]).to(device)
    frames = torch.stack([frames[part] for _, frames in blocks]).to(device)
    return Clips(
        latents[:, first + 1 : first + 1 + CLIP],
        latents[:, first : first + CLIP],
        frames.float() / 127.5 - 1,
    )


def decode_clips(codec: PatchVAE, clips: Clips) -> list[Tensor]:
    """Pixels ``[B, 4 * CLIP, 3, H, W]``, float32, not clamped, at each size, the largest last."""
    raw = [codec.raw(latents).flatten(0, 1) for latents in (clips.latents, clips.previous)]
    worlds, frames = clips.frames.shape[:2]
    return [
        groups.float().reshape(worlds, frames, 3, *groups.shape[-2:]) for groups in codec.decoder.both(*raw)
    ]


def window(frames: Tensor, count: int, scale: int, generator: torch.Generator) -> tuple[slice, ...]:
    """Where a discriminator looks: some frames of all clips, as large as those without detail.

    Args:
        frames: of clips ``[B, T, 3, H, W]``.
        count: of frames to see.
        scale: how many times as large frames are as those without detail.
        generator: chooses the place.
    """
    height, width = (side // scale for side in frames.shape[-2:])
    wanted = (count, 3, height, width)
    firsts = [
        int(torch.randint(there - size + 1, (), generator=generator))
        for there, size in zip(frames.shape[1:], wanted, strict=True)
    ]
    return (slice(None), *(slice(first, first + size) for first, size in zip(firsts, wanted, strict=True)))
