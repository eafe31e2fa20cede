"""The cache of cross-attention keys and values.

Shapes: N layers, B worlds, L text tokens, H heads, D head width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from longlive_env.engine.config import WorldConfig
from longlive_env.engine.transformer import KeysValues


class PromptCache:
    """Cross-attention keys and values of each world's prompt, computed when the prompt is set.

    Args:
        config: the world's configuration.
        batch: B.
        device: device of the buffers.
        dtype: type of the buffers.
    """

    def __init__(
        self, config: WorldConfig, batch: int, *, device: torch.device | str, dtype: torch.dtype
    ) -> None:
        shape = config.transformer
        size = (shape.layers, 2, batch, shape.text_len, shape.heads, shape.head_dim)
        with torch.inference_mode(False):
            self.buffer = torch.zeros(size, device=device, dtype=dtype)  # [N, keys or values, B, L, H, D]

    def assign(self, world: int, layers: Sequence[KeysValues]) -> None:
        """Set the prompt of a world from each layer's keys and values ``[1, L, H, D]``."""
        for buffer, (keys, values) in zip(self.buffer, layers, strict=True):
            buffer[0, world], buffer[1, world] = keys[0], values[0]

    def rows(self, rows: slice) -> list[KeysValues]:
        """Keys and values of each layer for neighbouring worlds: views ``[rows, L, H, D]``."""
        return [(keys[rows], values[rows]) for keys, values in self.buffer]
