"""Send small tensors from the host to the device without waiting."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a host tensor to `device`; on CUDA from pinned memory, while the host continues."""
    if device.type == "cuda":
        with torch.cuda.device(device):  # pinning needs a context, on this device and no other
            tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def rows_of(worlds: Sequence[int], batch: int, device: torch.device) -> Tensor:
    """The rows of some worlds of a batch, int64 ``[len(worlds)]``; negative numbers count from the end.

    For `index_select` and the like: indexing with a list would copy it at each use, and make the host wait.
    """
    return to_device(torch.tensor([world % batch for world in worlds], dtype=torch.int64), device)
