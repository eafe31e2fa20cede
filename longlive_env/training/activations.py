"""Memory that transformer blocks keep for backward, counted on meta tensors under the rules of autocast.

Shapes: B clips, F latent frames of a pass, T tokens a frame.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from longlive_env.engine.config import Backend, TransformerConfig
from longlive_env.engine.transformer import Block
from longlive_env.engine.weights import on_meta
from longlive_env.training.lora import add_lora

HALF, FULL = 2, 4  # bytes of bfloat16 and float32


@dataclass(frozen=True)
class Passes:
    """Forward passes with gradients whose activations are alive at the same time.

    Attributes:
        count: number of passes.
        clips: B of one pass.
        tokens: F * T of one pass.
        visible: number of tokens that each token sees.
        cached: whether tokens other than the pass's own come from a cache.
        lora_rank: rank of adapters, whose inputs are kept, too; 0 for none.
    """

    count: int
    clips: int
    tokens: int
    visible: int
    cached: bool
    lora_rank: int = 0


def activation_bytes(config: TransformerConfig, passes: Passes, *, recompute: bool) -> int:
    """Peak number of bytes kept for backward.

    Args:
        config: the transformer's configuration.
        passes: see `Passes`.
        recompute: whether blocks keep only their inputs, and what they saw of the cache.
    """
    block = block_bytes(config, passes.tokens, passes.visible, passes.lora_rank)
    per_clip, once = (block[0] * passes.clips, block[1])
    if not recompute:
        return passes.count * config.layers * (per_clip + once)
    inputs = FULL * config.dim * passes.tokens
    seen = 2 * HALF * config.dim * passes.visible if passes.cached else 0
    return passes.count * config.layers * passes.clips * (inputs + seen) + per_clip + once


@functools.lru_cache(maxsize=64)
def block_bytes(config: TransformerConfig, tokens: int, visible: int, lora_rank: int) -> tuple[int, int]:
    """Bytes that a block keeps for each clip, and those it keeps for all clips together."""
    one, two = (_saved(config, clips, tokens, visible, lora_rank) for clips in (1, 2))
    return two - one, 2 * one - two


def _saved(config: TransformerConfig, clips: int, tokens: int, visible: int, lora_rank: int) -> int:
    """Bytes that autograd saves while a block runs, without the block's own weights."""
    block = on_meta(lambda: Block(config))
    block.cross_attn.backend = "sdpa"
    if lora_rank:
        add_lora(block, lora_rank)
    own = {p.untyped_storage()._cdata for p in block.parameters()}
    found: dict[int, Any] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            found[storage._cdata] = storage  # held, so that its address is not reused
        return tensor

    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, device="meta")

    heads = (config.text_len, config.heads, config.head_dim)
    cross = tuple(empty(clips, *heads).bfloat16().requires_grad_() for _ in range(2))
    x = empty(clips, 1, tokens, config.dim).requires_grad_()
    conditioning = empty(1, 1, 6, config.dim).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), _Autocast():
        block(x, conditioning, (cross[0], cross[1]), _Seen(visible), 0)
    given = {value.untyped_storage()._cdata for value in (*cross, conditioning)}
    return sum(storage.nbytes() for key, storage in found.items() if key not in given)


class _Seen:
    """A memory that holds a given number of tokens."""

    def __init__(self, visible: int) -> None:
        self.visible = visible

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, backend: Backend) -> Tensor:
        """Attend as to a copy of the cache into which the pass has written."""
        copies = [x.new_empty(len(x), self.visible, *x.shape[2:]) + x.sum() for x in (k, v)]
        out: Tensor = _Attention.apply(q, *copies)  # type: ignore[no-untyped-call]
        return out

    def store(self, layer: int, k: Tensor, v: Tensor) -> None:
        """Keep nothing."""


class _Attention(torch.autograd.Function):
    """Saves what fused attention saves: queries, keys, values and output."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = torch.empty_like(q)
        ctx.save_for_backward(q, k, v, out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        raise NotImplementedError("activations are counted, not used")


class _Autocast(TorchFunctionMode):
    """Computes products in bfloat16 and fused attention as autocast would; meta tensors do not support it."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is F.linear:
            x, weight, *bias = args
            own = [None if value is None else value.detach().bfloat16() for value in bias]
            return func(x.bfloat16(), weight.bfloat16(), *own)
        if func is F.scaled_dot_product_attention:
            return _Attention.apply(*args[:3])  # type: ignore[no-untyped-call]
        return func(*args, **(kwargs or {}))
