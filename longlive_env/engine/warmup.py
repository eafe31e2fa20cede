"""Run every kind of block step once, so that nothing is compiled while somebody watches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from longlive_env.engine.world import World

OnStep = Callable[[int, int], None]  # steps done, steps in all


def warm_up(world: World, batch: int = 1, on_step: OnStep | None = None) -> None:
    """Run the steps that worlds of one age take: first block, growing context, full context, recaches.

    This compiles whatever needs it, or loads what an earlier process has compiled from disk, and lets
    libraries choose their kernels.

    Args:
        world: world to warm up.
        batch: number of worlds that will run together.
        on_step: callback after each step.
    """
    config = world.config
    # Up to the first block with a full context, and one more, in which graphs are captured.
    blocks = config.context_blocks + 2
    rollout = world.start([""] * batch, text=_text(world, batch))

    def switch() -> None:
        rollout.switch_prompt([""] * batch, text=_text(world, batch))

    for done, step in enumerate((rollout.step, switch) * blocks, start=1):
        step()
        if on_step is not None:
            on_step(done, 2 * blocks)
    if world.device.type == "cuda":
        torch.cuda.synchronize(world.device)


def _text(world: World, batch: int) -> torch.Tensor:
    shape = world.config.transformer
    return torch.zeros(batch, shape.text_len, shape.text_dim, device=world.device)
