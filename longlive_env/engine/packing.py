"""Store matrices on disk as 8-bit integers with a scale per row: half the size of half precision.

Only files are packed; a model always computes with what `unpack` returns.

Shapes: m rows (outputs of a layer), followed by the shape of a row.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SCALE = ".row_scale"  # suffix that names the scales of a packed tensor
_LARGEST = 127


def pack(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace every matrix of a state dict by int8 `[m, ...]` and float32 scales `[m]`.

    Args:
        state: state dict, whose floating-point tensors of two or more dimensions are packed.

    Returns:
        The packed state; each value is off by at most half a step, 1/254 of the largest in its row.
    """
    packed: dict[str, Tensor] = {}
    for name, value in state.items():
        if value.ndim < 2 or not value.is_floating_point():
            packed[name] = value
            continue
        rows = value.float().flatten(1)
        scale = rows.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny) / _LARGEST
        packed[name] = (rows / scale[:, None]).round().to(torch.int8).view(value.shape)
        packed[name + SCALE] = scale
    return packed


def unpack(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo `pack`, to float32; a state without scales is returned as it is."""
    plain: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.endswith(SCALE) and name.removesuffix(SCALE) in state:
            continue
        scale = state.get(name + SCALE)
        plain[name] = value if scale is None else (value.flatten(1) * scale[:, None]).view(value.shape)
    return plain
