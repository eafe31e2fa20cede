"""The umT5 encoder: token ids to text embeddings, with the parameter names of the published checkpoint.

Every layer has its own relative position bias (T5 shares that of the first layer), attention scores are not
scaled, feed-forward layers are gated by a tanh GELU, and linear layers and norms have no additive bias.

Legend: B prompts, L tokens, N heads, d head width, D model width.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from longlive_env.engine.config import TextEncoderConfig
from longlive_env.engine.norms import RMSNorm


def position_bucket(offset: Tensor, buckets: int, max_distance: int) -> Tensor:
    """Number of the position bucket for a key at `offset` tokens from the query.

    Half of the buckets are for keys before the query, half for those after it. Of each half, the first half
    holds one distance each, and the rest widen in proportion to the distance up to `max_distance`.

    Args:
        offset: key position minus query position, integers of any shape.
        buckets: number of buckets in all.
        max_distance: distance from which on all keys fall into the last bucket.

    Returns:
        int64, the shape of `offset`.
    """
    half = buckets // 2
    exact = half // 2
    distance = offset.abs()
    steps = torch.log(distance.clamp(min=1).float() / exact) / math.log(max_distance / exact) * (half - exact)
    coarse = (exact + steps.long()).clamp(max=half - 1)
    return (offset > 0) * half + torch.where(distance < exact, distance, coarse)


class PositionBias(nn.Module):
    """A learned bias of the attention scores for each head and bucket of distance."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.buckets = config.position_buckets
        self.max_distance = config.position_max_distance
        self.embedding = nn.Embedding(config.position_buckets, config.heads)

    def forward(self, length: int) -> Tensor:
        """The bias for prompts of `length` tokens, [1, N, L, L]."""
        positions = torch.arange(length, device=self.embedding.weight.device)
        offset = positions[None, :] - positions[:, None]
        bias: Tensor = self.embedding(position_bucket(offset, self.buckets, self.max_distance))
        return bias.permute(2, 0, 1).contiguous()[None]  # fused attention kernels need it contiguous


class SelfAttention(nn.Module):
    """Attention among the tokens of a prompt, with unscaled scores."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.heads = config.heads
        inner = config.heads * config.head_dim
        self.q = nn.Linear(config.dim, inner, bias=False)
        self.k = nn.Linear(config.dim, inner, bias=False)
        self.v = nn.Linear(config.dim, inner, bias=False)
        self.o = nn.Linear(inner, config.dim, bias=False)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Tokens x [B, L, D] and score bias [B, N, L, L] -> [B, L, D]."""
        q, k, v = (
            layer(x).reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
        out: Tensor = self.o(mixed.transpose(1, 2).flatten(2))
        return out


class GatedFeedForward(nn.Module):
    """Two widening projections, one of which gates the other, and one back."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(config.dim, config.ffn_dim, bias=False), nn.GELU(approximate="tanh")
        )
        self.fc1 = nn.Linear(config.dim, config.ffn_dim, bias=False)
        self.fc2 = nn.Linear(config.ffn_dim, config.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] -> the same shape."""
        out: Tensor = self.fc2(self.fc1(x) * self.gate(x))
        return out


class EncoderBlock(nn.Module):
    """Self-attention and feed-forward, each pre-normalised and added to its input."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.norm1 = RMSNorm(config.dim, config.eps)
        self.attn = SelfAttention(config)
        self.norm2 = RMSNorm(config.dim, config.eps)
        self.ffn = GatedFeedForward(config)
        self.pos_embedding = PositionBias(config)

    def forward(self, x: Tensor, blocked: Tensor) -> Tensor:
        """Tokens x [B, L, D] and `blocked` [B, 1, 1, L], hugely negative for padding, else 0 -> [B, L, D]."""
        x = x + self.attn(self.norm1(x), self.pos_embedding(x.shape[1]) + blocked)
        out: Tensor = x + self.ffn(self.norm2(x))
        return out


class UMT5Encoder(nn.Module):
    """The text encoder of Wan 2.1, of any size."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.dim)
        self.blocks = nn.ModuleList([EncoderBlock(config) for _ in range(config.layers)])
        self.norm = RMSNorm(config.dim, config.eps)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Encode prompts.

        Args:
            ids: token ids [B, L], int64.
            mask: [B, L], non-zero for the tokens of the prompt, which come first, and 0 for the padding. Keep
                it on the host, wherever `ids` are: it is read here, and nothing then waits for the device.

        Returns:
            Embeddings [B, L, D] in the dtype of the weights; rows beyond the prompt are zero.
        """
        length = max(1, int(mask.count_nonzero(dim=1).max()))  # padding changes nothing: leave it out
        inside = mask[:, :length].bool().to(ids.device, non_blocking=True)
        x = self.token_embedding(ids[:, :length])
        blocked = torch.zeros_like(inside, dtype=x.dtype).masked_fill(~inside, torch.finfo(x.dtype).min)
        for block in self.blocks:
            x = block(x, blocked[:, None, None, :])
        x = self.norm(x).masked_fill(~inside[..., None], 0)
        return F.pad(x, (0, 0, 0, ids.shape[1] - length))
