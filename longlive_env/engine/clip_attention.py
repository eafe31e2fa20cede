"""Self-attention of a whole clip under a mask between frames, for training.

Shapes: B clips, F latent frames, T tokens a frame, H heads, D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from longlive_env.engine.attention import Backend, attention
from longlive_env.engine.rope import Rotation, rotate


class ClipAttention:
    """A transformer's memory that lasts for one pass.

    A mask shared by all clips is never spread over tokens: neighbouring frames that see the same frames
    attend to just those, which on a block-causal mask is half the work.
    """

    def __init__(self, rotation: Rotation, mask: Tensor | None, frame_tokens: int) -> None:
        self.rotation = rotation
        self.groups: list[tuple[int, list[slice]]] = []  # number of queries, and what they see
        self.token_mask: Tensor | None = None
        if mask is not None and mask.ndim == 3:
            tokens = mask.repeat_interleave(frame_tokens, -1).repeat_interleave(frame_tokens, -2)
            self.token_mask = tokens[:, None]  # [B, 1, F*T, F*T]
        elif mask is not None and not bool(mask.all()):
            self.groups = _groups(mask.tolist(), frame_tokens)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, backend: Backend) -> Tensor:
        """Self-attention ``[B, F*T, H, D]`` of unrotated queries and keys under the clip's mask."""
        q, k = rotate(q, self.rotation), rotate(k, self.rotation)
        if not self.groups:
            return attention(q, k, v, self.token_mask, backend=backend)
        parts = []
        asking_parts = q.split([size for size, _ in self.groups], 1)
        for asking, (_, runs) in zip(asking_parts, self.groups, strict=True):
            seen_k, seen_v = (_take(x, runs) for x in (k, v))
            parts.append(attention(asking, seen_k, seen_v, backend=backend))
        return torch.cat(parts, 1)

    def store(self, layer: int, k: Tensor, v: Tensor) -> None:
        """Do nothing: a clip's pass keeps nothing."""


def _take(x: Tensor, runs: list[slice]) -> Tensor:
    parts = [x[:, run] for run in runs]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _groups(mask: list[list[bool]], frame_tokens: int) -> list[tuple[int, list[slice]]]:
    """Group neighbouring frames with equal mask rows, and join each row's frames to runs; in tokens."""
    groups: list[tuple[int, list[slice]]] = []
    previous: list[bool] = []
    for row in mask:
        if row == previous:
            size, runs = groups.pop()
            groups.append((size + frame_tokens, runs))
            continue
        edges = [i for i, (a, b) in enumerate(zip([False, *row], [*row, False], strict=True)) if a != b]
        spans = zip(edges[::2], edges[1::2], strict=True)
        runs = [slice(a * frame_tokens, b * frame_tokens) for a, b in spans]
        groups.append((frame_tokens, runs))
        previous = row
    return groups
