"""The reference for passes over parts of a clip: all frames at once, under a mask between frames.

Shapes: B clips, F latent frames, T tokens a frame, H heads, D head width.
"""

from torch import Tensor

from longlive_env.engine.attention import attention
from longlive_env.engine.clip_attention import ClipAttention
from longlive_env.engine.config import Backend
from longlive_env.engine.rope import Rope, Rotation, rotate
from longlive_env.engine.transformer import CausalWanTransformer


class MaskedClip(ClipAttention):
    """A clip's memory under a mask ``[F, F]``, True where a frame (row) may attend to another (column)."""

    def __init__(self, rotation: Rotation, mask: Tensor, frame_tokens: int) -> None:
        super().__init__(rotation)
        self.token_mask = mask.repeat_interleave(frame_tokens, -1).repeat_interleave(frame_tokens, -2)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, backend: Backend) -> Tensor:
        """Self-attention ``[B, F*T, H, D]`` of unrotated queries and keys."""
        q, k = rotate(q, self.rotation), rotate(k, self.rotation)
        return attention(q, k, v, self.token_mask, backend=backend)


def masked_flow(
    model: CausalWanTransformer,
    latents: Tensor,
    timesteps: Tensor,
    text: Tensor,
    mask: Tensor,
    positions: list[int] | None = None,
) -> Tensor:
    """`forward_clip` under a mask, for frames at given positions in time; 0, 1, 2, ... by default."""
    _, patch_h, patch_w = model.config.patch_size
    rows, columns = latents.shape[-2] // patch_h, latents.shape[-1] // patch_w
    rope = Rope(model.config.head_dim, (rows, columns))
    rotation = rope.frames([positions or range(latents.shape[1])])
    memory = MaskedClip(rotation, mask, rows * columns)
    out: Tensor = model(latents, timesteps, model.cross_keys_values(text), memory)
    return out
