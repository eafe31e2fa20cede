"""Activation checkpointing: a block keeps only its inputs, and backward recomputes the rest.

A block that reads a cache is recomputed when the cache has moved on, so its pass keeps a copy of the keys and
values that it saw; the results and gradients of a rollout stay the same.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from longlive_env.engine.text_encoder import EncoderBlock
from longlive_env.engine.transformer import Block, KeysValues, Memory


@runtime_checkable
class MovingMemory(Protocol):
    """A memory that later passes change, like the cache's."""

    def frozen(self, layer: int) -> Memory:
        """A constant copy of the memory of one layer, as layer 0."""
        ...


class _RecomputedBlock(Block):
    """A transformer block whose activations are recomputed in backward."""

    def forward(
        self, x: Tensor, conditioning: Tensor, cross: KeysValues, memory: Memory, layer: int
    ) -> Tensor:
        """See `Block`."""
        if not torch.is_grad_enabled():
            return super().forward(x, conditioning, cross, memory, layer)
        if isinstance(memory, MovingMemory):
            memory, layer = memory.frozen(layer), 0
        return _again(super().forward, x, conditioning, cross, memory, layer)


class _RecomputedEncoderBlock(EncoderBlock):
    """A block of the text encoder whose activations are recomputed in backward."""

    def forward(self, x: Tensor, blocked: Tensor) -> Tensor:
        """See `EncoderBlock`."""
        if not torch.is_grad_enabled():
            return super().forward(x, blocked)
        return _again(super().forward, x, blocked)


def recompute_activations(model: nn.Module) -> int:
    """Checkpoint the activations of every transformer block in a model, in place; names do not change.

    Returns:
        The number of blocks.
    """
    kinds: dict[type[nn.Module], type[nn.Module]] = {
        Block: _RecomputedBlock,
        EncoderBlock: _RecomputedEncoderBlock,
    }
    blocks = [module for module in model.modules() if type(module) in kinds]
    for block in blocks:
        block.__class__ = kinds[type(block)]
    return len(blocks)


def _again(forward: Any, *arguments: Any) -> Tensor:
    # Nothing in a block is random, so there is no generator state to restore.
    out: Tensor = checkpoint(forward, *arguments, use_reentrant=False, preserve_rng_state=False)
    return out
