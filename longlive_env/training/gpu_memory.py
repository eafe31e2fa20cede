"""Memory that a stage takes on each GPU when its networks are sharded, computed from sizes alone.

This counts slices of weights, averages, gradients and moments, the weights that are temporarily whole, caches
of keys and values, and what is kept for backward. It does not count what kernels take internally, nor
fragmentation: leave a tenth of the memory free.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from longlive_env.training.activations import FULL, HALF, activation_bytes
from longlive_env.training.plan import Plan

_MOST = 64  # GPUs in the table


@dataclass(frozen=True)
class GPUMemory:
    """Bytes on one GPU.

    Attributes:
        slices: slices of weights, average, gradients and moments.
        gathered: weights that are whole at one time: the generator's during a rollout, else two blocks.
        caches: keys and values of the rollout.
        activations: what is kept for backward.
    """

    slices: int
    gathered: int
    caches: int
    activations: int

    @property
    def total(self) -> int:
        """All bytes."""
        return self.slices + self.gathered + self.caches + self.activations


def gpu_memory(plan: Plan, gpus: int, *, recompute: bool) -> GPUMemory:
    """The bytes on each of several GPUs, under autocast to bfloat16.

    Args:
        plan: plan of the stage.
        gpus: number of GPUs; if they outnumber the plan's clips, each has one clip.
        recompute: whether activations are checkpointed.
    """
    clips = -(-plan.clip[0] // gpus)
    rolls_out = any(passes.cached for passes in plan.passes)
    slices = gathered = 0
    for net in plan.networks:
        if net.name == "text encoder" and rolls_out:
            continue  # it stays on the host
        ends = net.parameters - net.block_parameters
        asked = HALF * net.block_parameters + FULL * ends
        slices += (net.bytes if net.averaged else asked) // gpus
        whole = net.block_parameters if net.name == "generator" else 2 * net.largest_block
        travels = FULL if net.name == "text encoder" else HALF  # only transformers are sent in bfloat16
        gathered = max(gathered, travels * whole + FULL * ends)
    shape, context = plan.config.transformer, plan.config.context_frames * plan.config.frame_tokens
    caches = 2 * HALF * shape.layers * shape.dim * context * clips if rolls_out else 0
    activations = max(
        activation_bytes(shape, replace(passes, clips=clips), recompute=recompute) for passes in plan.passes
    )
    return GPUMemory(slices, gathered if gpus > 1 else 0, caches, activations)


def table(plan: Plan, *, recompute: bool) -> Iterator[str]:
    """Lines that show `gpu_memory` by the number of GPUs."""
    yield f"on each GPU, sharded{', activations computed again' if recompute else ''} (GB):"
    yield "  GPUs  clips each  slices  gathered  caches  activations  together"
    gpus = 1
    while gpus <= _MOST:
        need = gpu_memory(plan, gpus, recompute=recompute)
        parts = (need.slices, need.gathered, need.caches, need.activations, need.total)
        slices, gathered, caches, activations, total = (f"{part / 1e9:.1f}" for part in parts)
        yield (
            f"  {gpus:>4}  {-(-plan.clip[0] // gpus):>10}  {slices:>6}  {gathered:>8}  {caches:>6}  "
            f"{activations:>11}  {total:>8}"
        )
        gpus *= 2
