"""Sample sheets of a model in training: rollouts as users will see them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from longlive_env.engine.world import World
from longlive_env.training.parallel import is_sharded
from longlive_env.training.prompts import Prompts

Encode = Callable[[list[str]], Tensor]  # prompts to embeddings [B, L, text_dim]

ROWS, BLOCKS = 8, 8
SHOWN = (0, 1, 3, 4, 5, 7)  # blocks; the prompt changes before the fourth


def full_precision(model: nn.Module) -> AbstractContextManager[object]:
    """Disable autocast, so that a model runs as for users; except that blocks of a sharded one need it."""
    device = next(model.parameters()).device.type
    return nullcontext() if is_sharded(model) else torch.autocast(device, enabled=False)


@torch.no_grad()
def rollout_sheet(
    world: World, prompts: Prompts, seed: int, batch: int = ROWS, encode: Encode | None = None
) -> Tensor:
    """Roll out held-out prompts with the engine, with a change half-way.

    Args:
        world: world to show.
        prompts: source of the prompts.
        seed: seed of prompts and noise.
        batch: number of worlds that fit in memory together.
        encode: function from prompts to embeddings ``[B, L, text_dim]``; None lets the world encode, which
            rejects prompts that are too long.

    Returns:
        uint8 ``[rows * H, columns * W, 3]``: a row for each prompt, time to the right.
    """
    rng = np.random.default_rng((seed, 4))
    pairs = [prompts.draw(rng, "held_out") for _ in range(ROWS)]
    noise = int(rng.integers(2**32))  # of the first row; the others count up, however many run together
    encode = encode or world.encode_prompt
    rows = [_rows(world, pairs[at : at + batch], noise + at, encode) for at in range(0, len(pairs), batch)]
    return torch.cat(rows)


def _rows(world: World, pairs: list[tuple[str, str]], seed: int, encode: Encode) -> Tensor:
    before, after = ([pair[side] for pair in pairs] for side in (0, 1))
    rollout = world.start(before, seed=seed, text=encode(before))
    shown = []
    for block in range(BLOCKS):
        if block == BLOCKS // 2:
            rollout.switch_prompt(after, text=encode(after))
        frames = rollout.step()
        if block in SHOWN:
            shown.append(frames[:, -7])
    return tiled(torch.stack(shown, dim=1))


def tiled(pictures: Tensor) -> Tensor:
    """Tile pictures uint8 [R, K, H, W, 3] into one of R rows and K columns, [R * H, K * W, 3]."""
    return pictures.permute(0, 2, 1, 3, 4).flatten(2, 3).flatten(0, 1)


def as_frames(pixels: Tensor) -> Tensor:
    """Convert pixels [..., 3, H, W], clamped to -1 .. 1, to frames uint8 [..., H, W, 3]."""
    return ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(-3, -1)
