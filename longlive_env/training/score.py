"""Predict the flow of a noisy clip, with a bidirectional model.

Shapes: B clips, F latent frames, C latent channels, h x w latent size, L text tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from longlive_env.engine.schedule import warp
from longlive_env.engine.transformer import CausalWanTransformer


def clip_flow(
    transformer: CausalWanTransformer,
    noisy: Tensor,
    sigma: Tensor,
    text: Tensor,
    train_steps: int,
    *,
    negative: Tensor | None = None,
    guidance: float = 1.0,
) -> Tensor:
    """Predict the flow of whole clips, with all frames at one noise level and seeing each other.

    Args:
        transformer: network that predicts the flow.
        noisy: noisy clips ``[B, F, C, h, w]``.
        sigma: noise level of each clip ``[B]``.
        text: embeddings of the prompts ``[B, L, text_dim]``.
        train_steps: timestep that corresponds to noise level 1.
        negative: embedding of an empty or negative prompt ``[1, L, text_dim]``; needed for guidance.
        guidance: 1 for none; above, the prediction moves away from that for `negative` (Ho and Salimans,
            2022): ``negative + guidance * (prompt - negative)``.

    Returns:
        float32 ``[B, F, C, h, w]``.
    """
    timesteps = (sigma * train_steps)[:, None].expand(-1, noisy.shape[1])
    flow = transformer.forward_clip(noisy, timesteps, text).float()
    if negative is None or guidance == 1.0:
        return flow
    without = transformer.forward_clip(noisy, timesteps, negative.expand_as(text)).float()
    return torch.lerp(without, flow, guidance)


def noise_like(x: Tensor, generator: torch.Generator) -> Tensor:
    """Normal noise in the shape, type and place of `x`, from a CPU generator."""
    return torch.randn(x.shape, generator=generator).to(x)


def draw_levels(
    count: int, shift: float, generator: torch.Generator, low: float = 0.0, high: float = 1.0
) -> Tensor:
    """Noise levels ``[count]``: uniform, warped by the schedule, then limited to ``[low, high]``."""
    uniform = torch.rand(count, generator=generator)
    return warp(uniform, shift).clamp(low, high)
