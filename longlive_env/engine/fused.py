"""Operations that may run as one kernel of our own instead of several of PyTorch's, and their choice.

"auto" is PyTorch, whose compiler fuses most of them, unless this machine's table says that the kernel is
faster (see `kernel_table`).

Shapes: B worlds, F frames of a pass, T tokens a frame, S = F * T, E model width, H heads, D head width.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import os
from typing import Literal, get_args

import torch
from torch import Tensor

from longlive_env.engine.kernel_table import Call, KernelTable, table_of
from longlive_env.engine.norms import rms_norm
from longlive_env.engine.rope import Rotation, rotate
from longlive_env.errors import BackendError, ConfigError

Fused = Literal["auto", "plain", "triton"]
Kernel = Literal["plain", "triton"]
WIDEST = 8192  # model width that one program of the kernel holds

logger = logging.getLogger(__name__)


def norm_rotate_store(
    kernel: Kernel,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    weight_q: Tensor,
    weight_k: Tensor,
    eps: float,
    rotation: Rotation,
    slots: Tensor,
    keys: Tensor,
    values: Tensor,
) -> Tensor:
    """Normalise queries and keys (RMS), rotate them, and write keys and values to their slots.

    Args:
        kernel: kernel to run, see `choose_fused`.
        q: queries ``[B, S, E]`` as projected; rows need not be contiguous.
        k: keys, likewise.
        v: values, likewise.
        weight_q: weight of the queries' norm ``[E]``.
        weight_k: weight of the keys' norm ``[E]``.
        eps: epsilon of both norms.
        rotation: rotation of the tokens.
        slots: int64 ``[B * F]``, see `cache_pass.Slots`.
        keys: a layer's keys ``[B * context, T, H, D]`` in the type of `k`; its slots are written.
        values: a layer's values, likewise.

    Returns:
        Rotated queries ``[B, S, H, D]``.
    """
    frame = keys.shape[1:]
    if kernel == "triton":
        tensors = (q, k, v, weight_q, weight_k, eps, rotation.cos, rotation.sin, slots, keys, values)
        out: Tensor = torch.ops.longlive.norm_rotate_store(*tensors)
        return out.view(*out.shape[:2], *frame[1:])
    q, k = (
        rotate(rms_norm(x, weight, eps).unflatten(-1, frame[1:]), rotation)
        for x, weight in ((q, weight_q), (k, weight_k))
    )
    for buffer, x in ((keys, k), (values, v)):
        buffer[slots] = x.reshape(-1, *frame)
    return q


def call_of(dtype: torch.dtype, sizes: tuple[int, int, int]) -> Call:
    """The table entry for a kind of call; `sizes` are B * S, H, D."""
    return Call("norm_rotate_store", str(dtype).removeprefix("torch."), sizes)


def choose_fused(
    asked: Fused, device: torch.device, dtype: torch.dtype, sizes: tuple[int, int, int], compiled: bool
) -> Kernel:
    """Choose what runs `norm_rotate_store`; a choice by the table is logged the first time.

    Args:
        asked: "auto", or a kernel by name.
        device: device of the call.
        dtype: type of queries, keys and values.
        sizes: B * S, H, D.
        compiled: whether the plain version is compiled.

    Raises:
        BackendError: the requested kernel cannot run here.
        ConfigError: the name is unknown.
    """
    if asked != "auto":
        return _checked(asked, device.type)
    table = table_of(device)
    return "plain" if table is None else _measured(table, device.type, dtype, sizes, compiled)


@functools.cache
def _measured(
    table: KernelTable, device: str, dtype: torch.dtype, sizes: tuple[int, int, int], compiled: bool
) -> Kernel:
    times = table.times(call_of(dtype, sizes))
    plain, ours = times.get("compiled" if compiled else "plain"), times.get("triton")
    if plain is None or ours is None or why_absent(device) is not None:
        return "plain"
    chosen: Kernel = "triton" if ours < plain else "plain"
    logger.info(
        "norms, rotation and cache of %d tokens on %s in %s: %s, because triton took %.0f us and plain %.0f",
        sizes[0], table.device, dtype, chosen, ours, plain,
    )  # fmt: skip
    _load()
    return chosen


@functools.cache
def _checked(asked: Fused, device: str) -> Kernel:
    if asked == "plain":
        return "plain"
    if asked != "triton":
        raise ConfigError(f"fused is {asked!r}; expected one of {', '.join(get_args(Fused))}")
    if (reason := why_absent(device)) is not None:
        raise BackendError(f"fused 'triton' on {device}: {reason}; use 'auto' or 'plain'")
    _load()
    return "triton"


@functools.cache
def why_absent(device: str) -> str | None:
    """Why the kernels cannot run on a type of device; None if they can."""
    if importlib.util.find_spec("triton") is None:
        return "the package triton is not installed"
    if device != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return "its kernels need a CUDA GPU"
    return None


def _load() -> None:
    """Register the operators with PyTorch."""
    importlib.import_module("longlive_env.engine.triton_kernels")
