"""Self-attention of a teacher-forced clip: clean context blocks, and noisy blocks that see their own past.

A clip consists of clean context blocks, then noisy target blocks. A noisy block attends to itself and to the
context blocks before it, as at inference, so each is a training example with exactly the context that the
few-step sampler will give it.

Shapes: B clips, J context blocks, K target blocks, S tokens of a block, H heads, D head width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from longlive_env.engine.attention import attention
from longlive_env.engine.config import Backend
from longlive_env.engine.rope import Rope, rotate


@dataclass(frozen=True)
class ClipLayout:
    """Which blocks see which; positions count blocks from the start of the context that attention sees.

    Attributes:
        context: J, the number of clean blocks, at positions 0 .. J - 1.
        target_positions: position of each of the K noisy blocks.
        causal: whether context blocks see only themselves and earlier ones; otherwise all see each other, as
            after a recache.
    """

    context: int
    target_positions: tuple[int, ...]
    causal: bool = True

    @classmethod
    def beginning(cls, blocks: int) -> ClipLayout:
        """The first `blocks` blocks of a video, each a target; all but the last are context too."""
        return cls(blocks - 1, tuple(range(blocks)))

    @classmethod
    def steady(cls, context: int, copies: int, causal: bool) -> ClipLayout:
        """The block after a full context, at several noise levels."""
        return cls(context, (context,) * copies, causal)

    @property
    def positions(self) -> tuple[int, ...]:
        """Position of every block of the clip, in order."""
        return (*range(self.context), *self.target_positions)


class TeacherForcing:
    """A transformer's memory (see `transformer.Memory`) for one pass over clips of one layout."""

    def __init__(self, layout: ClipLayout, rope: Rope, frames_per_block: int, block_tokens: int) -> None:
        self.layout, self.block_tokens = layout, block_tokens
        times = [at * frames_per_block + i for at in layout.positions for i in range(frames_per_block)]
        self.rotation = rope.frames([times])
        self.context_mask, self.target_mask = _masks(layout, block_tokens, rope.device)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, backend: Backend) -> Tensor:
        """Self-attention ``[B, (J + K) * S, H, D]`` of unrotated queries and keys."""
        q, k = rotate(q, self.rotation), rotate(k, self.rotation)
        split = self.layout.context * self.block_tokens
        targets = len(self.layout.target_positions)

        def own(x: Tensor) -> Tensor:
            blocks: Tensor = x[:, split:].unflatten(1, (targets, -1))
            return blocks  # [B, K, S, H, D]

        def seen(x: Tensor) -> Tensor:
            past = x[:, None, :split].expand(-1, targets, -1, -1, -1)
            return torch.cat((past, own(x)), dim=2).flatten(0, 1)  # [B * K, (J + 1) * S, H, D]

        mask = None if self.target_mask is None else self.target_mask.repeat(q.shape[0], 1, 1, 1)
        noisy = attention(own(q).flatten(0, 1), seen(k), seen(v), mask, backend=backend)
        noisy = torch.cat(noisy.unflatten(0, (-1, targets)).unbind(1), dim=1)
        if not split:
            return noisy
        clean = attention(q[:, :split], k[:, :split], v[:, :split], self.context_mask, backend=backend)
        return torch.cat((clean, noisy), dim=1)

    def store(self, layer: int, k: Tensor, v: Tensor) -> None:
        """Do nothing: the pass keeps nothing."""


def _masks(layout: ClipLayout, tokens: int, device: torch.device) -> tuple[Tensor | None, Tensor | None]:
    """Token masks of context [J*S, J*S] and targets [K, 1, 1, (J+1)*S]; None if nothing is masked."""
    blocks = torch.arange(layout.context, device=device)
    context = None
    if layout.causal and layout.context > 1:
        spread = blocks.repeat_interleave(tokens)
        context = spread[:, None] >= spread[None, :]
    target = None
    if any(position < layout.context for position in layout.target_positions):
        positions = torch.tensor(layout.target_positions, device=device)
        past = blocks[None, :] < positions[:, None]
        own = torch.ones(len(positions), 1, dtype=torch.bool, device=device)
        target = torch.cat((past, own), dim=1).repeat_interleave(tokens, dim=1)[:, None, None]
    return context, target
