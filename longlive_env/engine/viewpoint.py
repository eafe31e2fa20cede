"""Tells a small world where its camera begins, through the noise of a block that has none before it.

A prompt leaves the camera's place open, and plain noise does not decide it: regression draws the haze of all
places, and distribution matching one and the same place for every noise. So half of the variance of a first
block's starting noise is a code of the columns of the scenery, and the noise itself chooses where the window
on it begins. Each token can then see which part of the scenery it is to draw. The code is a positional
encoding of sinusoids (Vaswani and others, 2017) around the circle that the scenery is.

Shapes: B worlds, F latent frames of a block, C latent channels, h x w latents.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SHARE = 0.5  # of the variance of the starting noise


def viewpoints(noise: Tensor, count: int) -> Tensor:
    """The places that noise chooses, all of them equally likely: by the sum of its numbers.

    (The first number alone would favour some: generators with neighbouring seeds begin alike.)

    Args:
        noise: standard normal noise ``[B, F, C, h, w]``.
        count: number of places around the scenery.

    Returns:
        Numbers below `count`, int64 ``[B]``.
    """
    sums = noise.flatten(1).sum(dim=1, dtype=torch.float64)
    chance: Tensor = torch.special.ndtr(sums / noise[0].numel() ** 0.5)
    return (chance * count).long().clamp_(max=count - 1)


def with_viewpoints(noise: Tensor, count: int, step: int) -> Tensor:
    """Noise that tells of its `viewpoints`.

    Args:
        noise: as for `viewpoints`; a new tensor is returned.
        count: number of places around the scenery.
        step: latent columns from one place to the next.
    """
    frequencies = 2 * math.pi / (count * step) * _range(1, noise.shape[2] // 2 + 1)
    columns = step * viewpoints(noise, count)[:, None] + _range(0, noise.shape[-1])
    angles = columns[:, None] * frequencies[:, None]  # [B, C / 2, w]
    code = 2**0.5 * torch.cat((angles.cos(), angles.sin()), dim=1)
    told: Tensor = (1 - SHARE) ** 0.5 * noise + SHARE**0.5 * code[:, None, :, None, :]
    return told


def _range(start: int, end: int) -> Tensor:
    """Numbers in the type and on the device of noise, whatever PyTorch's defaults are."""
    return torch.arange(start, end, dtype=torch.float32, device="cpu")
