"""The few-step denoising loop, the same one for playing, recorded noise and training.

Shapes: B worlds, F latent frames of a block, C latent channels, h x w latents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from longlive_env.engine.schedule import add_noise, flow_to_x0
from longlive_env.engine.transformer import CausalWanTransformer, KeysValues, Memory


def denoise(
    transformer: CausalWanTransformer,
    noise: Tensor,
    sigmas: Sequence[float],
    cross: Sequence[KeysValues],
    memory: Memory,
    fresh_noise: Callable[[], Tensor],
    train_steps: int = 1000,
) -> Tensor:
    """Turn noise into the clean latents of a block.

    If gradients are enabled, they flow through the last step only, as self-forcing requires; a shorter
    `sigmas` ends the loop early.

    Args:
        transformer: network that predicts the flow.
        noise: starting noise, float32 ``[B, F, C, h, w]``.
        sigmas: decreasing noise levels of the steps.
        cross: cross-attention keys and values of the prompts.
        memory: the cache pass of the block.
        fresh_noise: function that draws the noise between two steps, shaped and typed like `noise`.
        train_steps: timestep that corresponds to noise level 1.

    Returns:
        Clean latents, float32 ``[B, F, C, h, w]``.
    """
    x, x0 = noise, noise
    for step, sigma in enumerate(sigmas):
        last = step == len(sigmas) - 1
        with torch.set_grad_enabled(torch.is_grad_enabled() and last):
            flow = transformer(x, _timesteps(sigma * train_steps, x), cross, memory)
            x0 = flow_to_x0(x, flow.float(), sigma)
            if not last:
                x = add_noise(x0, fresh_noise(), sigmas[step + 1])
    return x0


def remember(
    transformer: CausalWanTransformer, latents: Tensor, cross: Sequence[KeysValues], memory: Memory
) -> None:
    """Write the keys and values of clean latents ``[B, F, C, h, w]`` to a memory, without gradients."""
    with torch.no_grad():
        transformer.remember(latents.detach(), _timesteps(0.0, latents), cross, memory)


def _timesteps(value: float, like: Tensor) -> Tensor:
    """One timestep for all worlds and frames: [1, 1]."""
    return torch.full((1, 1), value, device=like.device)
