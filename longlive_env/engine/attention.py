"""One attention function over several backends, which are tested against PyTorch's SDPA.

Shapes: B worlds, Q queries, K keys, H heads, D head width.
"""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Callable
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from longlive_env.engine.config import Backend
from longlive_env.engine.kernel_table import Call, KernelTable, table_of
from longlive_env.errors import BackendError, ConfigError

Kernel = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]

logger = logging.getLogger(__name__)


def attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, *, backend: Backend = "auto"
) -> Tensor:
    """Softmax attention, scaled by ``D ** -0.5``.

    Args:
        q: queries ``[B, Q, H, D]``.
        k: keys ``[B, K, H, D]``.
        v: values ``[B, K, H, D]``.
        mask: bool, broadcastable to ``[B, H, Q, K]``, True where a query may see a key; None masks nothing.
        backend: kernel to run; "auto" takes the one measured fastest here (`kernel_table`), or else one that
            suits the device, type and mask, and logs why.

    Returns:
        ``[B, Q, H, D]`` in the type of `q`.

    Raises:
        BackendError: `backend` is not available here or cannot run this call.
        ConfigError: `backend` is not a known name.
    """
    if backend == "auto":
        (worlds, queries, heads, width), keys = q.shape, k.shape[1]
        sizes = (worlds * heads, queries, keys, width)
        backend = choose_backend(q.device, q.dtype, mask is not None, sizes)
    return _KERNELS[available(backend, q.device.type)](q, k, v, mask)


def call_of(dtype: torch.dtype, sizes: tuple[int, ...], masked: bool) -> Call:
    """The table entry for a kind of attention; `sizes` are B * H, Q, K, D."""
    return Call("attention", str(dtype).removeprefix("torch."), sizes, masked)


def choose_backend(device: torch.device, dtype: torch.dtype, masked: bool, sizes: tuple[int, ...]) -> Backend:
    """The fastest backend for a kind of call; logs the choice and its reason the first time.

    Args:
        device: device of the call.
        dtype: type of queries, keys and values.
        masked: whether there is a mask.
        sizes: B * H, Q, K, D.
    """
    table = table_of(device)
    measured = None if table is None else _measured(table, device, dtype, masked, sizes)
    return measured or _reasoned(device.type, dtype, masked)


@functools.cache
def _measured(
    table: KernelTable, device: torch.device, dtype: torch.dtype, masked: bool, sizes: tuple[int, ...]
) -> Backend | None:
    """The fastest backend in a table, among those still available."""
    present = backends(device.type)
    times = table.times(call_of(dtype, sizes, masked))
    choice = min((name for name in present if name in times), key=lambda name: times[name], default=None)
    if choice is not None:
        logger.info(
            "attention of %d queries to %d keys on %s in %s%s: %s, because it was measured fastest (%s)",
            *sizes[1:3], table.device, dtype, " with a mask" if masked else "", choice,
            ", ".join(f"{name} {us:.0f} us" for name, us in sorted(times.items(), key=lambda one: one[1])),
        )  # fmt: skip
    return choice


@functools.cache
def _reasoned(device: str, dtype: torch.dtype, masked: bool) -> Backend:
    choice: Backend
    if device == "cpu" and dtype in (torch.bfloat16, torch.float16):
        choice, reason = "matmul", "matrix products in half precision outrun SDPA's blocked kernel on a CPU"
    else:  # on a GPU, too, PyTorch chooses: a kernel chosen by name fails on calls that it does not take
        choice, reason = "sdpa", "it runs any call, and takes what is best of PyTorch's own kernels"
    call = f"{device} in {dtype}{' with a mask' if masked else ''}"
    logger.info("attention on %s: %s, because %s", call, choice, reason)
    return choice


def backends(device: str) -> tuple[Backend, ...]:
    """All backends that can run here on a type of device, such as "cuda"."""
    found: list[Backend] = []
    for backend in get_args(Backend):
        if backend != "auto":
            try:
                found.append(available(backend, device))
            except BackendError:
                continue
    return tuple(found)


def available(backend: Backend, device: str) -> Backend:
    """Return the backend after checking that it can run here.

    Raises:
        BackendError: the backend is not available here.
        ConfigError: `backend` is not a known name.
    """
    return _checked(backend, device)


@functools.cache
def _checked(backend: Backend, device: str) -> Backend:
    if backend not in _KERNELS:
        raise ConfigError(f"attention backend is {backend!r}; expected one of {', '.join(get_args(Backend))}")
    if backend == "cudnn" and (device != "cuda" or not _cudnn_available()):
        raise BackendError(
            f"attention backend 'cudnn' on {device}: it needs a CUDA GPU of capability 8.0 or more "
            f"and a PyTorch with cuDNN; use 'auto' or 'sdpa'"
        )
    if backend in _OF_SDPA and (device != "cuda" or not torch.cuda.is_available()):
        raise BackendError(
            f"attention backend {backend!r} on {device}: it is a kernel of PyTorch's for a CUDA GPU; "
            f"use 'auto' or 'sdpa'"
        )
    if backend == "flash" and (device != "cuda" or not _flash_available()):
        raise BackendError(
            f"attention backend 'flash' on {device}: it needs a CUDA GPU and the flash-attn package; "
            f"install flash-attn, or use 'auto' or 'sdpa'"
        )
    return backend


def _sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    out = F.scaled_dot_product_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask
    )
    return out.transpose(1, 2)


def _matmul(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    q, k, v = (x.transpose(1, 2) for x in (q * q.shape[-1] ** -0.5, k, v))  # [B, H, Q or K, D]
    scores = q @ k.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return (scores.softmax(dim=-1) @ v).transpose(1, 2)


def _cudnn(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        return _sdpa(q, k, v, mask)


def _sdpa_flash(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    if mask is not None:
        raise BackendError("attention backend 'sdpa-flash' takes no mask; use 'auto' or 'sdpa'")
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        return _sdpa(q, k, v, None)


def _sdpa_efficient(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    with sdpa_kernel(SDPBackend.EFFICIENT_ATTENTION):
        return _sdpa(q, k, v, mask)


def _flash(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    if mask is not None:
        raise BackendError("attention backend 'flash' takes no mask; use 'auto' or 'sdpa'")
    run = flash_attention if torch.compiler.is_compiling() else _run_flash  # the operator has no gradients
    out: Tensor = run(q, k, v)
    return out


_KERNELS: dict[str, Kernel] = {
    "sdpa": _sdpa,
    "matmul": _matmul,
    "cudnn": _cudnn,
    "flash": _flash,
    "sdpa-flash": _sdpa_flash,
    "sdpa-efficient": _sdpa_efficient,
}
_OF_SDPA = ("sdpa-flash", "sdpa-efficient")  # "sdpa" chooses one of these, or on newer GPUs cuDNN's


def _cudnn_available() -> bool:
    return (
        torch.cuda.is_available()
        and torch.backends.cudnn.is_available()
        and torch.backends.cuda.cudnn_sdp_enabled()
        and torch.cuda.get_device_capability() >= (8, 0)
    )


_flash_attention: Callable[..., Tensor | tuple[Tensor, ...]] | None = None


def _run_flash(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    assert _flash_attention is not None  # bound by the check before this kernel is chosen
    out = _flash_attention(q, k, v)
    return out[0] if isinstance(out, tuple) else out


@torch.library.custom_op("longlive::flash_attention", mutates_args=())
def flash_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """FlashAttention as an operator that compilers do not look into: not every release can be traced.

    Shapes as in `attention`.
    """
    return _run_flash(q, k, v).contiguous()


@flash_attention.register_fake
def _(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.empty(q.shape, dtype=q.dtype, device=q.device)


@functools.cache
def _flash_available() -> bool:
    """Whether FlashAttention is installed; also binds its function."""
    global _flash_attention
    for module in ("flash_attn_interface", "flash_attn"):  # FlashAttention 3, then 2
        try:
            _flash_attention = importlib.import_module(module).flash_attn_func
            return True
        except (ImportError, AttributeError):
            continue
    return False
