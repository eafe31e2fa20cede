"""Root-mean-square norm, fast on CPU and GPU alike."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """``x / rms(x) * weight`` over the last axis of width `dim`; the sum of squares is float32."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``[..., dim]``; keeps the type of `x`."""
        return rms_norm(x, self.weight, self.eps)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Normalise ``[..., dim]``, then scale by ``[dim]``; keeps the type of `x`."""
    weight = weight.to(x.dtype)
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.rms_norm(x, weight.shape, weight, eps).to(x.dtype)  # autocast on CUDA widens it
    if torch.is_grad_enabled():
        out: Tensor = _RMSNormOnCPU.apply(x, weight, eps)  # type: ignore[no-untyped-call]
        return out
    return (x * _inverse_rms(x, eps)).mul_(weight)


def _inverse_rms(x: Tensor, eps: float) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_().to(x.dtype)


class _RMSNormOnCPU(torch.autograd.Function):
    """RMS norm in few passes; on a CPU, PyTorch's takes many, and its backward is five times slower."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        inverse = _inverse_rms(x, eps)
        unit = x * inverse
        ctx.save_for_backward(unit, inverse, weight)
        return unit * weight

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        unit, inverse, weight = ctx.saved_tensors
        (grad,) = grads
        product = grad * unit
        mean = (product @ weight)[..., None] / weight.shape[0]
        grad_x = torch.addcmul(grad * weight, unit, mean, value=-1) * inverse
        return grad_x, product.flatten(0, -2).sum(0), None
