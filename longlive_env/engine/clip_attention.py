"""Self-attention of a whole clip under a mask between frames, for training.

Shapes: B clips, F latent frames, T tokens a frame, H heads, D head width.
"""

from __future__ import annotations

from torch import Tensor

from longlive_env.engine.attention import attention
from longlive_env.engine.config import Backend
from longlive_env.engine.rope import Rotation, rotate


class ClipAttention:
    """A transformer's memory that lasts for one pass."""

    def __init__(self, rotation: Rotation, mask: Tensor | None, frame_tokens: int) -> None:
        self.rotation = rotation
        self.token_mask: Tensor | None = None  # [F*T, F*T] or [B, 1, F*T, F*T]
        if mask is not None:
            tokens = mask.repeat_interleave(frame_tokens, -1).repeat_interleave(frame_tokens, -2)
            self.token_mask = tokens if mask.ndim == 2 else tokens[:, None]

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, backend: Backend) -> Tensor:
        """Self-attention ``[B, F*T, H, D]`` of unrotated queries and keys under the clip's mask."""
        q, k = rotate(q, self.rotation), rotate(k, self.rotation)
        return attention(q, k, v, self.token_mask, backend=backend)

    def store(self, layer: int, k: Tensor, v: Tensor) -> None:
        """Do nothing: a clip's pass keeps nothing."""
