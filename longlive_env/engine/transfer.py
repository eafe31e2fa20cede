"""Small tensors on their way from the host to the device, without the host waiting for it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on `device`; on CUDA it travels from pinned memory, while the host goes on."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def rows_of(worlds: Sequence[int], batch: int, device: torch.device) -> Tensor:
    """The rows of some worlds of a batch, int64 ``[len(worlds)]``; negative numbers count from the end.

    For `index_select` and its kin: a list in brackets would travel at each use, and the host wait for it.
    """
    return to_device(torch.tensor([world % batch for world in worlds], dtype=torch.int64), device)
