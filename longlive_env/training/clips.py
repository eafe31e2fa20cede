"""Choice of the blocks of a take that make a clip of the causal stage, and of the clip's prompt.

Shapes: N clips, P blocks of a clip, F latent frames of a block, C latent channels, h x w latent size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from longlive_env.tiny.captions import caption
from longlive_env.tiny.scene import ATTRIBUTES, Scene
from longlive_env.training.latents import POSITIONS, SWITCH_AT, Bank

BLOCKS = 4  # blocks of a clip: as many as the context holds
KINDS = ("openings", "beginnings", "later", "switches")  # kinds of clips
AFTER_SWITCH = (0.6, 0.25, 0.15)  # odds of ending with the first, second, third block after a switch


@dataclass(frozen=True)
class Clips:
    """Clips of one kind.

    Attributes:
        latents: float32 ``[N, P, F, C, h, w]``.
        captions: one caption per clip.
        before: captions under which the last block but one was made; they differ only after a change.
        under_prompt: 1 where a block shows what the caption says, else 0 ``[N, P]``.
    """

    latents: Tensor
    captions: list[str]
    before: list[str]
    under_prompt: Tensor


def draw_clips(kind: str, bank: Bank, count: int, rng: np.random.Generator, split: str) -> Clips:
    """Draw random clips of a kind.

    Args:
        kind: one of `KINDS`.
        bank: encoded takes of that kind.
        count: N.
        rng: source of all randomness.
        split: split of the captions' wording, `"train"` or `"held_out"`.
    """
    blocks_of_clip = 1 if kind == "openings" else BLOCKS
    latents, captions, before = [bank.latents[:0, :blocks_of_clip].float()], [], []
    under_prompt = [torch.zeros(0, blocks_of_clip)]
    for take in rng.integers(len(bank), size=count).tolist():
        blocks, prompt = _positions(kind, bank, take, rng)
        labels = bank.labels[take]
        latents.append(bank.latents[take, blocks].float()[None])
        captions.append(caption(scene_of_labels(labels[prompt]), rng, split))
        past = labels[blocks[-2]] if len(blocks) > 1 else labels[prompt]
        changed = not torch.equal(past, labels[prompt])
        before.append(caption(scene_of_labels(past), rng, split) if changed else captions[-1])
        under_prompt.append((labels[blocks] == labels[prompt]).all(dim=-1).float()[None])
    return Clips(torch.cat(latents), captions, before, torch.cat(under_prompt))


def _positions(kind: str, bank: Bank, take: int, rng: np.random.Generator) -> tuple[list[int], int]:
    """Positions of a clip's blocks in a take, and the position whose prompt the clip takes."""
    if kind == "openings":
        return [0], 0
    if kind == "beginnings":
        return list(range(BLOCKS)), int(rng.choice([0, BLOCKS - 1]))
    return later(bank, take, rng) if kind == "later" else switch(rng)


def later(bank: Bank, take: int, rng: np.random.Generator) -> tuple[list[int], int]:
    """Positions of a sink block and three consecutive blocks of a take; the newest gives the prompt."""
    labels, blocks = bank.labels[take], bank.blocks[take].tolist()
    changed = (labels[1:] != labels[:-1]).any(dim=-1).tolist()  # between a position and the one before
    contiguous = blocks[-1] == POSITIONS - 1

    def since(newest: int) -> int:
        """The first position under the prompt of `newest`."""
        return next(at for at in range(newest, -1, -1) if at == 0 or changed[at - 1])

    newest = POSITIONS - 1
    if contiguous:  # the blocks right after a change are the hardest: of two candidates, the one nearer to it
        candidates = rng.integers(BLOCKS - 1, POSITIONS, size=2).tolist()
        newest = min(candidates, key=lambda at: at - since(at) if since(at) else POSITIONS)
    # A recache makes the oldest frame of its pass the new sink.
    sink = max(0, since(newest) - BLOCKS) if contiguous else 0
    return [sink, *range(newest - BLOCKS + 2, newest + 1)], newest


def switch(rng: np.random.Generator) -> tuple[list[int], int]:
    """Positions of the new sink and three consecutive blocks, the last one soon after the change."""
    newest = SWITCH_AT + int(rng.choice(len(AFTER_SWITCH), p=AFTER_SWITCH))
    return [0, *range(newest - BLOCKS + 2, newest + 1)], newest


def scene_of_labels(labels: Tensor) -> Scene:
    """The scene of a block's labels int64 ``[attributes]``."""
    return Scene(*(values[index] for values, index in zip(ATTRIBUTES.values(), labels.tolist(), strict=True)))
