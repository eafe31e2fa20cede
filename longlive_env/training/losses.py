"""Loss terms in closed form. Pixels [..., H, W] are in [-1, 1]; terms are means, so sizes do not matter."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_FLAT, _MARGIN = 0.02, 2  # the largest gradient that makes no edge, and pixels around edges that are left out


def edge_loss(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of the gradients along rows and along columns.

    Args:
        output: [..., H, W].
        target: the same shape.

    Returns:
        A scalar.
    """
    error = output - target
    return error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()


def flicker_loss(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of how pixels change from frame to frame.

    Args:
        output: [B, T, C, H, W].
        target: the same shape.

    Returns:
        A scalar.
    """
    return (output - target).diff(dim=1).abs().mean()


def reconstruction_losses(
    output: Tensor, target: Tensor, *, mse: float = 4.0, edge: float = 0.5, flicker: float = 0.0
) -> dict[str, Tensor]:
    """Weighted L1, squared error, gradients and flicker; their sum is the loss.

    Args:
        output: [B, T, C, H, W].
        target: the same shape.
        mse: weight of the squared error (L1 has weight one).
        edge: weight of the differences between neighbouring pixels.
        flicker: weight of the differences between frames; 0 leaves the term out.

    Returns:
        The terms `l1`, `mse`, `edge` and, if it counts, `flicker`.
    """
    output = output.float()
    terms = {
        "l1": F.l1_loss(output, target),
        "mse": mse * F.mse_loss(output, target),
        "edge": edge * edge_loss(output, target),
    }
    return {**terms, "flicker": flicker * flicker_loss(output, target)} if flicker else terms


def unit_scale_loss(latents: Tensor) -> Tensor:
    """KL divergence from the standard normal of a normal with each channel's mean and variance.

    Args:
        latents: [B, F, C, h, w].

    Returns:
        A scalar, the mean over channels.
    """
    values = latents.float().movedim(2, 0).flatten(1)
    variance, mean = torch.var_mean(values, dim=1, correction=0)
    return 0.5 * (mean.square() + variance - 1 - torch.log(variance + 1e-6)).mean()


def sharpness(pixels: Tensor) -> float:
    """Mean squared gradient along rows and columns of pixels [..., H, W] (clamped, as a display does)."""
    shown = pixels.float().clamp(-1, 1)
    return shown.diff(dim=-1).square().mean().item() + shown.diff(dim=-2).square().mean().item()


def grain(output: Tensor, target: Tensor) -> float:
    """How rough pixels are where the target is smooth: the standard deviation of errors of the gradients.

    Args:
        output: [B, ..., C, H, W] (clamped, as a display does).
        target: the same shape.

    Returns:
        Levels of 0 to 255, over gradients along rows and columns that are further than two pixels from any
        edge of the target; 0 if there are none.
    """
    error, squares, count = output.float().clamp(-1, 1) - target, 0.0, 0
    for dim in (-1, -2):
        edges = target.diff(dim=dim).abs().amax(dim=-3, keepdim=True) > _FLAT  # of any colour
        near = F.max_pool2d(edges.float().flatten(0, -4), 2 * _MARGIN + 1, stride=1, padding=_MARGIN)
        rough = error.diff(dim=dim).masked_fill(near.view(edges.shape) > 0, 0)
        squares += rough.square().sum().item()
        count += int((near == 0).sum()) * output.shape[-3]
    return 127.5 * math.sqrt(squares / max(count, 1))


def psnr(output: Tensor, target: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of pixels in [-1, 1] (the output is clamped, as a display does)."""
    error = F.mse_loss(output.float().clamp(-1, 1), target.float()).item()
    return 10 * math.log10(4 / max(error, 1e-12))


def flow_matching_loss(flow: Tensor, clean: Tensor, noise: Tensor, weights: Tensor) -> Tensor:
    """Mean squared error of a predicted flow against ``noise - clean``.

    Args:
        flow: [B, K, ...].
        clean: the same shape.
        noise: the same shape.
        weights: weight of each of the K parts [B, K]; not all zero.

    Returns:
        A scalar: the weighted mean over parts of their means over elements.
    """
    error = F.mse_loss(flow.float(), (noise - clean).float(), reduction="none").flatten(2).mean(dim=2)
    return (error * weights).sum() / weights.sum().clamp(min=1e-6)


def distribution_matching_loss(x0: Tensor, real: Tensor, fake: Tensor, weights: Tensor) -> Tensor:
    """A loss whose gradient moves generated clips from the generator's distribution towards the real one.

    Its gradient with respect to `x0` is proportional to ``(fake - real) / mean |x0 - real|``, the difference
    of the two scores, normalised for each clip; the mean is over the frames that count. Source: Yin and
    others, 2024, "One-step Diffusion with Distribution Matching Distillation", equations 7 and 8; for clips,
    Self-Forcing (Huang and others, 2025).

    Args:
        x0: the generator's clips ``[B, F, ...]``; the only argument that gets a gradient.
        real: the teacher's prediction from a noisy `x0`.
        fake: prediction from the same by the critic, a model of the generator's own distribution.
        weights: weight of each frame ``[B, F]``.

    Returns:
        A scalar: half the squared length of the normalised difference, a mean over the frames that count.
    """
    with torch.no_grad():
        distances = (x0 - real).abs().flatten(2).mean(dim=2)  # [B, F]
        scale = (distances * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-6)
        scale = scale.clamp(min=1e-6).view(-1, *[1] * (x0.ndim - 1))
        target = x0 - torch.nan_to_num((fake - real) / scale)
    error = 0.5 * F.mse_loss(x0.float(), target.float(), reduction="none").flatten(2).mean(dim=2)
    return (error * weights).sum() / weights.sum().clamp(min=1e-6)
