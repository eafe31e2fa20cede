"""A digest by which two worlds can be told to have other weights."""

from __future__ import annotations

import hashlib
import re

import torch
from torch import nn

_MERGED = re.compile(r"\bself_attn\.(q|k|v|qkv)\.")  # merged or not, these are the same weights
_LIGHTER = "decoder.detail."  # what codec="light" leaves out


def weights_digest(*models: nn.Module) -> str:
    """Digest of a sample of weights: of every tensor the first row, rounded to bfloat16.

    So it takes milliseconds for a world of any size, and is the same in float32 and in bfloat16, on any
    device, with merged projections and without the detail of a small world's codec. Weights in 8 bits are
    left out, so that a world with such weights has a digest of its own.

    Args:
        models: networks, in the order in which they count.

    Returns:
        16 hexadecimal digits.
    """
    total = hashlib.sha256()
    for model in models:
        for name, parameter in sorted(model.named_parameters()):
            value = parameter.data
            if type(value) is not torch.Tensor or _MERGED.search(name) or name.startswith(_LIGHTER):
                continue
            # Dense, as a view of bytes has to be: one number of a channels-last tensor is strided.
            row = torch.empty(value.shape[-1:], dtype=torch.bfloat16, device="cpu")
            row.copy_(value[(0,) * (value.ndim - 1)])
            total.update(f"{name} {list(value.shape)}".encode())
            total.update(row.view(torch.uint8).numpy().tobytes())
    return total.hexdigest()[:16]
