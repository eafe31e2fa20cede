"""Flow matching: noise levels of the denoising steps, adding noise, and conversion of flow to clean latents.

A network sees ``x_t = (1 - sigma) * x0 + sigma * noise`` and predicts ``flow = noise - x0``. The shift of a
schedule spends more of its steps at high noise: ``sigma = shift * s / (1 + (shift - 1) * s)`` for the
unwarped ``s = step / train_steps``.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

from longlive_env.engine.config import SamplerConfig

Fraction = TypeVar("Fraction", float, Tensor)


def warp(fraction: Fraction, shift: float) -> Fraction:
    """The noise level `sigma` in [0, 1] of an unwarped `fraction` of the schedule in [0, 1]."""
    return shift * fraction / (1.0 + (shift - 1.0) * fraction)


def denoising_sigmas(config: SamplerConfig) -> tuple[float, ...]:
    """Noise levels of the denoising steps, from the highest to the lowest."""
    return tuple(warp(step / config.train_steps, config.shift) for step in config.steps)


def training_sigmas(config: SamplerConfig) -> Tensor:
    """All `train_steps` noise levels of the schedule, decreasing; float32 ``[train_steps]``."""
    fractions = torch.linspace(1.0, 0.0, config.train_steps + 1, dtype=torch.float64)[:-1]
    return warp(fractions, config.shift).float()


def levels_of(sigma: Tensor) -> Tensor:
    """Noise levels ``[...]`` of clips or blocks ``[..., F, C, h, w]``, shaped to broadcast against them."""
    return sigma[..., None, None, None, None]


def add_noise(x0: Tensor, noise: Tensor, sigma: Tensor | float) -> Tensor:
    """Clean latents `x0` mixed with `noise` at level `sigma` (a tensor broadcasts against `x0`)."""
    return (1.0 - sigma) * x0 + sigma * noise


def flow_to_x0(x_t: Tensor, flow: Tensor, sigma: Tensor | float) -> Tensor:
    """Clean latents that a predicted `flow` implies for `x_t` at noise level `sigma`."""
    return x_t - sigma * flow
