"""The causal video transformer (layout and parameter names of Wan 2.1), written for any size and batch.

Shapes: B worlds, F latent frames, C latent channels, h x w latents, T tokens a frame, S = F*T, H heads, D
head width, L text tokens, E model width. Modulation is computed once per frame and broadcast over its tokens;
b and f are B and F, or 1 where all worlds or frames share a timestep.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from longlive_env.engine.attention import attention
from longlive_env.engine.cache_pass import Pass
from longlive_env.engine.clip_attention import ClipAttention
from longlive_env.engine.config import Backend, TransformerConfig
from longlive_env.engine.devices import without_autocast
from longlive_env.engine.fused import Fused
from longlive_env.engine.linear import FeedForward, Linear
from longlive_env.engine.norms import RMSNorm
from longlive_env.engine.rope import Rope

KeysValues = tuple[Tensor, Tensor]  # each [B, K, H, D]


class Memory(Protocol):
    """How the tokens of a pass attend to each other and to the past; see `kv_cache`, `clip_attention`."""

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, backend: Backend) -> Tensor:
        """Self-attention of a layer: ``[B, S, H, D]`` each, not yet rotated, to ``[B, S, H, D]``."""
        ...

    def store(self, layer: int, k: Tensor, v: Tensor) -> None:
        """Take the keys and values of a layer whose output is not needed."""
        ...


class AttentionLayer(nn.Module):
    """Projections of an attention layer, with RMS norms of queries and keys over all heads.

    Attributes:
        backend: kernel to use, see `attention.attention`.
        fused: whether norms, rotation and cache write are one kernel if the pass allows it, see `fused`.
    """

    backend: Backend = "auto"
    fused: Fused = "auto"

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q = Linear(config.dim, config.dim)
        self.k = Linear(config.dim, config.dim)
        self.v = Linear(config.dim, config.dim)
        self.o = Linear(config.dim, config.dim)
        self.norm_q = RMSNorm(config.dim, config.eps)
        self.norm_k = RMSNorm(config.dim, config.eps)

    def projections(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values ``[B, S, E]`` of tokens ``[B, S, E]``, not normalised."""
        return self.q(x), self.k(x), self.v(x)

    def queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised queries and keys, and values ``[B, S, H, D]``, of the same tokens ``[B, S, E]``."""
        q, k, v = self.projections(x)
        heads = self.heads
        return _heads(self.norm_q(q), heads), _heads(self.norm_k(k), heads), _heads(v, heads)

    def attend(self, x: Tensor, memory: Memory, layer: int) -> Tensor:
        """Self-attention ``[B, S, H, D]`` of tokens ``[B, S, E]``."""
        if isinstance(memory, Pass) and memory.fuses(x, self.fused):
            return memory.attend_fused(layer, *self.projections(x), self.norm_q, self.norm_k, self.backend)
        return memory.attend(layer, *self.queries_keys_values(x), self.backend)

    def queries(self, x: Tensor) -> Tensor:
        """Normalised queries ``[B, S, H, D]`` of tokens ``[B, S, E]``."""
        return _heads(self.norm_q(self.q(x)), self.heads)

    def keys_values(self, x: Tensor) -> KeysValues:
        """Normalised keys and values ``[B, S, H, D]`` of tokens ``[B, S, E]``."""
        return _heads(self.norm_k(self.k(x)), self.heads), _heads(self.v(x), self.heads)


class Block(nn.Module):
    """Self-attention, cross-attention and a feed-forward layer, modulated by the timestep of each frame."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.dim, config.eps, elementwise_affine=False)
        self.self_attn = AttentionLayer(config)
        self.norm3 = nn.LayerNorm(config.dim, config.eps)
        self.cross_attn = AttentionLayer(config)
        self.norm2 = nn.LayerNorm(config.dim, config.eps, elementwise_affine=False)
        self.ffn = FeedForward(config.dim, config.ffn_dim)
        self.modulation = nn.Parameter(torch.empty(1, 6, config.dim).normal_(std=config.dim**-0.5))

    def modulations(self, conditioning: Tensor) -> tuple[Tensor, ...]:
        """Shift, scale, gate of self-attention, then of the feed-forward layer: six of ``[b, f, 1, E]``."""
        return (self.modulation[:, None] + conditioning).unsqueeze(-2).unbind(2)

    def forward(
        self, x: Tensor, conditioning: Tensor, cross: KeysValues, memory: Memory, layer: int
    ) -> Tensor:
        """Run tokens ``[B, F, T, E]`` through the block; `conditioning` is ``[b, f, 6, E]``."""
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = self.modulations(conditioning)
        y = modulate(self.norm1(x), shift, scale).flatten(1, 2)
        y = self.self_attn.attend(y, memory, layer)
        x = torch.addcmul(x, self.self_attn.o(y.flatten(2)).view_as(x), gate)
        y = self.cross_attn.queries(self.norm3(x).flatten(1, 2))
        y = attention(y, *cross, backend=self.cross_attn.backend)
        x = x + self.cross_attn.o(y.flatten(2)).view_as(x)
        y = self.ffn(modulate(self.norm2(x), ffn_shift, ffn_scale))
        return torch.addcmul(x, y, ffn_gate)

    def store(self, x: Tensor, conditioning: Tensor, memory: Memory, layer: int) -> None:
        """Store only the keys and values of self-attention, for a pass whose output is not needed."""
        shift, scale = self.modulations(conditioning)[:2]
        memory.store(layer, *self.self_attn.keys_values(modulate(self.norm1(x), shift, scale).flatten(1, 2)))


class Head(nn.Module):
    """Modulated projection of tokens to patches."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        _, patch_h, patch_w = config.patch_size
        self.norm = nn.LayerNorm(config.dim, config.eps, elementwise_affine=False)
        self.head = Linear(config.dim, patch_h * patch_w * config.out_channels)
        self.modulation = nn.Parameter(torch.empty(1, 2, config.dim).normal_(std=config.dim**-0.5))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Map tokens ``[B, F, T, E]`` to patches ``[B, F, T, ph*pw*C]`` at time embedding ``[b, f, E]``."""
        shift, scale = (self.modulation[:, None] + time[:, :, None]).unsqueeze(-2).unbind(2)
        out: Tensor = self.head(modulate(self.norm(x), shift, scale))
        return out


def _heads(x: Tensor, heads: int) -> Tensor:
    """Split the last axis: [B, S, E] to [B, S, H, D]."""
    return x.view(*x.shape[:-1], heads, -1)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """``x * (1 + scale) + shift``."""
    return torch.addcmul(shift, x, 1 + scale)


def timestep_embedding(timesteps: Tensor, dim: int) -> Tensor:
    """Cosines, then sines, of timesteps ``[...]`` in 0..1000 at `dim` / 2 rates: float32 ``[..., dim]``."""
    half = dim // 2
    rates = 10000.0 ** -(torch.arange(half, dtype=torch.float64, device=timesteps.device) / half)
    angles = timesteps.to(torch.float64)[..., None] * rates
    return torch.cat((angles.cos(), angles.sin()), dim=-1).float()


class CausalWanTransformer(nn.Module):
    """Predicts the flow of latent frames, given text, timesteps, and a memory of the frames before.

    Args:
        config: sizes.

    Attributes:
        kv_dtype: type of cached keys and values of self-attention; None is that of the weights.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.kv_dtype: torch.dtype | None = None
        dim = config.dim
        self.patch_embedding = nn.Conv3d(config.in_channels, dim, config.patch_size, stride=config.patch_size)
        self.text_embedding = nn.Sequential(
            nn.Linear(config.text_dim, dim), nn.GELU(approximate="tanh"), nn.Linear(dim, dim)
        )
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.head = Head(config)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.patch_embedding.weight.flatten(1))
        for embedding in (self.text_embedding, self.time_embedding):
            for index in (0, 2):
                linear = embedding[index]
                assert isinstance(linear, nn.Linear)
                nn.init.normal_(linear.weight, std=0.02)
        nn.init.normal_(self.head.head.weight, std=0.02)

    def attend_by(self, backend: Backend) -> None:
        """Choose the attention kernel, see `attention`; initially "auto"."""
        for block in self._blocks():
            block.self_attn.backend = block.cross_attn.backend = backend

    def fuse(self, fused: Fused) -> None:
        """Choose what runs self-attention's norms, rotation and cache write, see `fused`; first "auto"."""
        for block in self._blocks():
            block.self_attn.fused = fused

    def cross_keys_values(self, text: Tensor) -> list[KeysValues]:
        """Each layer's cross-attention keys and values for text ``[B, L, text_dim]``: once per prompt."""
        embedded = self.text_embedding(text.to(self.patch_embedding.weight.dtype))
        return [block.cross_attn.keys_values(embedded) for block in self._blocks()]

    def forward(
        self, latents: Tensor, timesteps: Tensor, cross: Sequence[KeysValues], memory: Memory
    ) -> Tensor:
        """Predict the flow of some frames.

        Args:
            latents: noisy latents ``[B, F, C, h, w]``.
            timesteps: ``sigma * 1000``, ``[b, f]``.
            cross: result of `cross_keys_values` for the worlds' prompts.
            memory: self-attention of the pass, which may keep the keys and values it is given.

        Returns:
            The flow (noise - x0) ``[B, F, C, h, w]``.
        """
        x, time, conditioning = self._embed(latents, timesteps)
        for layer, block in enumerate(self._blocks()):
            x = block(x, conditioning, cross[layer], memory, layer)
        return self._unpatch(self.head(x, time), latents.shape[-2:])

    def remember(
        self, latents: Tensor, timesteps: Tensor, cross: Sequence[KeysValues], memory: Memory
    ) -> None:
        """Like `forward`, but only gives `memory` keys and values: what it cannot keep is not computed."""
        x, _, conditioning = self._embed(latents, timesteps)
        *body, last = self._blocks()
        for layer, block in enumerate(body):
            x = block(x, conditioning, cross[layer], memory, layer)
        last.store(x, conditioning, memory, len(body))

    def forward_clip(self, latents: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
        """Predict the flow of a whole clip at once, without a cache: the forward pass of training.

        Args:
            latents: ``[B, F, C, h, w]``.
            timesteps: ``sigma * 1000`` of each frame, ``[B, F]``.
            text: text embeddings ``[B, L, text_dim]``.

        Returns:
            The flow (noise - x0) ``[B, F, C, h, w]``.
        """
        frames, rows, columns = latents.shape[1], latents.shape[-2], latents.shape[-1]
        _, patch_h, patch_w = self.config.patch_size
        grid = (rows // patch_h, columns // patch_w)
        memory = ClipAttention(Rope(self.config.head_dim, grid, latents.device).frames([range(frames)]))
        return self(latents, timesteps, self.cross_keys_values(text), memory)  # type: ignore[no-any-return]

    def _blocks(self) -> list[Block]:
        return list(self.blocks)  # type: ignore[arg-type]

    def _embed(self, latents: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens [B, F, T, E], time embedding [b, f, E] and the blocks' conditioning [b, f, 6, E]."""
        _, patch_h, patch_w = self.config.patch_size
        patches = latents.unflatten(-1, (-1, patch_w)).unflatten(-3, (-1, patch_h))
        # [B, F, C, h', ph, w', pw] to [B, F, T, C*ph*pw]
        patches = patches.permute(0, 1, 3, 5, 2, 4, 6).flatten(4).flatten(2, 3)
        weight, bias = self.patch_embedding.weight, self.patch_embedding.bias
        x = F.linear(patches.to(weight.dtype), weight.flatten(1), bias)
        with without_autocast(latents.device):  # few values, which affect all tokens
            time = self.time_embedding(timestep_embedding(timesteps, self.config.freq_dim).to(weight.dtype))
            conditioning = self.time_projection(time).unflatten(-1, (6, -1))
        x = x.to(weight.dtype)  # under autocast, too, the residual stream keeps its precision
        return x, time, conditioning

    def _unpatch(self, patches: Tensor, size: Sequence[int]) -> Tensor:
        """Patches [B, F, T, ph*pw*C] to latents [B, F, C, h, w]."""
        _, patch_h, patch_w = self.config.patch_size
        grid = (size[0] // patch_h, size[1] // patch_w)
        x: Tensor = patches.unflatten(-1, (patch_h, patch_w, -1)).unflatten(2, grid)
        # [B, F, h', w', ph, pw, C] to [B, F, C, h, w]
        return x.permute(0, 1, 6, 2, 4, 3, 5).flatten(5).flatten(3, 4)
