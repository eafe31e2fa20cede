"""Self-attention of a whole clip, for training.

Shapes: B clips, F latent frames, T tokens a frame, H heads, D head width.
"""

from __future__ import annotations

from torch import Tensor

from longlive_env.engine.attention import attention
from longlive_env.engine.config import Backend
from longlive_env.engine.rope import Rotation, rotate


class ClipAttention:
    """A transformer's memory that lasts for one pass."""

    def __init__(self, rotation: Rotation) -> None:
        self.rotation = rotation

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, backend: Backend) -> Tensor:
        """Self-attention ``[B, F*T, H, D]`` of unrotated queries and keys; all tokens see each other."""
        q, k = rotate(q, self.rotation), rotate(k, self.rotation)
        return attention(q, k, v, backend=backend)

    def store(self, layer: int, k: Tensor, v: Tensor) -> None:
        """Do nothing: a clip's pass keeps nothing."""
