"""Memory of a world, predicted and measured."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from longlive_env.engine.world import World


def peak_memory_mb(world: World, batch: int) -> dict[str, float]:
    """Return the predicted peak of weights, state and temporary tensors, and on CUDA the measured one.

    A text encoder that is loaded only when needed counts while it is loaded, when no block is being
    generated. `reserved` is what the device needs, including the allocator's reserves; `planned`, the plan's
    peak, covers it.
    """
    from longlive_env.engine.footprint import footprint
    from longlive_env.engine.offload import is_offloaded
    from longlive_env.engine.quantize import weight_bytes

    transformer, plan, encoder = world.transformer, world.memory_plan, None
    parts = footprint(world.config, world.dtype, batch, transformer.kv_dtype)
    if is_offloaded(transformer):
        weights = parts.resident_transformer(offload=True)
    else:
        weights = weight_bytes(transformer)  # may be quantized
    if world.text_encoding.loaded:
        encoder = world.text_encoding.model
    if encoder is not None and next(encoder.parameters()).device == world.device:
        weights += weight_bytes(encoder)
    kept = weights + parts.codec + parts.state
    predicted = kept + parts.workspace
    encodes = world.text_encoding.present
    if encodes and plan is not None and plan.text_encoder == "freed":
        predicted = max(predicted, kept + parts.text_encoder)
    found = {"predicted": round(predicted / 1e6, 1)}
    if world.device.type == "cuda":
        found["measured"] = round(torch.cuda.max_memory_allocated(world.device) / 1e6, 1)
        found["reserved"] = round(torch.cuda.max_memory_reserved(world.device) / 1e6, 1)
    if plan is not None:
        planned = plan.peak_bytes
        if not encodes:  # a plan includes a text encoder, which random weights lack
            held = plan.holds_text_encoder(world.device)
            planned = plan.running_bytes - (parts.text_encoder if held else 0)
        found["planned"] = round(planned / 1e6, 1)
    return found


def peak_rss_mb() -> float | None:
    """Return the peak memory of this process; None on Windows, where Python cannot measure it."""
    try:
        import resource
    except ImportError:
        return None
    status = Path("/proc/self/status")
    if status.is_file():  # ru_maxrss starts with the parent process's value here
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        kilobytes = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
        if kilobytes:
            return round(kilobytes[0] * 1024 / 1e6, 1)
    unit = 1e6 if sys.platform == "darwin" else 1e3  # ru_maxrss is in bytes there, in kB elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
