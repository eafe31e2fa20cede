"""Linear layers that take the faster of PyTorch's two matrix libraries on a CPU, and cuBLAS's GELU on a GPU.

PyTorch computes float32 matrix products with MKL, which on other makers' processors uses only half the width
of AVX-512; oneDNN, which ships with PyTorch for convolutions, uses all of it. oneDNN can also apply the GELU
of a feed-forward layer while the product is still in the processor's cache. On processors without AVX-512,
MKL is faster, and oneDNN may lack a bfloat16 product.

On a GPU, cuBLAS applies GELU before writing the product, which saves one write and one read of the widest
tensor of a block. Everywhere else, and with gradients, autocast or quantized weights, this is
`torch.nn.Linear`.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

logger = logging.getLogger(__name__)


class Linear(nn.Linear):
    """``torch.nn.Linear``, optionally followed by GELU."""

    def forward(self, x: Tensor, gelu: bool = False) -> Tensor:
        """Map ``[..., in]`` to ``[..., out]``, through GELU (its tanh form) where asked."""
        return linear(x, self.weight, self.bias, gelu=gelu)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, gelu: bool = False) -> Tensor:
    """``x @ weight.T + bias``, then GELU where asked: ``[..., in]`` and ``[out, in]`` to ``[..., out]``."""
    chosen_here = x.device.type == "cpu" and not torch.compiler.is_compiling()  # the compiler chooses itself
    if chosen_here and _onednn(x.dtype) and _is_plain(x, weight, bias):
        return _onednn_product(x, weight, bias, gelu)
    if gelu and bias is not None and gelu_in_product(x.dtype, x.device) and _is_plain(x, weight, bias):
        return _cublas_gelu(x.flatten(0, -2), weight, bias).view(*x.shape[:-1], -1)
    out = F.linear(x, weight, bias)
    return F.gelu(out, approximate="tanh") if gelu else out


class FeedForward(nn.Sequential):
    """Two linear layers with GELU in between, numbered as in the published weights."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__(Linear(dim, hidden), nn.GELU(approximate="tanh"), Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., dim]`` to the same shape."""
        up, _, down = self
        out: Tensor = down(up(x, gelu=True))
        return out


def gelu_in_product(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether cuBLAS can apply GELU within a product of this type on a device."""
    wanted = device.type == "cuda" and dtype in (torch.float32, torch.float16, torch.bfloat16)
    return wanted and _works(_cublas_gelu, dtype, device)


def _cublas_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """GELU (its tanh form, on CUDA) of ``x @ weight.T + bias``, for a matrix x."""
    out: Tensor = torch.ops.aten._addmm_activation.default(bias, x, weight.t(), use_gelu=True)
    return out


def _is_plain(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether a product needs nothing that only `torch.nn.Linear` does."""
    if type(weight) not in (Tensor, nn.Parameter) or torch.is_autocast_enabled(x.device.type):
        return False
    return not torch.is_grad_enabled() or not (
        x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    )


def _onednn(dtype: torch.dtype) -> bool:
    """Whether oneDNN's product of this type is the faster one here, and works."""
    wanted = _wide_vectors() and dtype in (torch.float32, torch.bfloat16)
    return wanted and _works(_onednn_product, dtype, torch.device("cpu"))


def _wide_vectors() -> bool:
    """Whether PyTorch uses AVX-512 here, which `ATEN_CPU_CAPABILITY` can disable."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


def _onednn_product(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool = True) -> Tensor:
    """``x @ weight.T + bias``, then GELU (its tanh form) where asked, by PyTorch's binding to oneDNN."""
    name, form = ("gelu", "tanh") if gelu else ("none", "")
    out: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, name, [], form)
    return out


@functools.cache
def _works(
    product: Callable[[Tensor, Tensor, Tensor], Tensor], dtype: torch.dtype, device: torch.device
) -> bool:
    """Whether a product with GELU, by a function internal to PyTorch, agrees with the public functions."""
    try:
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            x, weight, bias = (
                torch.linspace(-1, 1, math.prod(size), dtype=dtype, device=device).view(size)
                for size in _PROBE
            )
            found = product(x, weight, bias)
            expected = F.gelu(F.linear(x.float(), weight.float(), bias.float()), approximate="tanh")
        eps = torch.finfo(dtype).eps
        if not torch.allclose(found.float(), expected, rtol=2 * eps, atol=1e-5 + 2 * eps):
            raise RuntimeError("it disagrees with plain functions")
    except (AttributeError, RuntimeError) as error:
        name = product.__name__
        logger.info("linear layers on %s in %s: not by %s, it does not work (%s)", device, dtype, name, error)
        return False
    return True


_PROBE = ((8, 16), (24, 16), (24,))  # sides that cuBLAS takes
