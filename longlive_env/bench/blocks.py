"""Block times: the first block, blocks with a full context, and blocks right after a prompt switch."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from longlive_env.bench.opening import Prompts

if TYPE_CHECKING:
    from longlive_env.engine.config import WorldConfig
    from longlive_env.engine.rollout import Rollout
    from longlive_env.engine.world import World

REPEATS = 5  # of what happens once per world or once per prompt


def with_full_context(world: World, prompts: Prompts) -> Rollout:
    """Return a rollout whose further blocks are all of one kind."""
    rollout, _ = first_block(world, prompts)
    for _ in range(blocks_until_steady(world.config)):
        rollout.step()
    return rollout


def blocks_until_steady(config: WorldConfig) -> int:
    """Return the number of blocks after the first one until all further ones are of one kind and captured.

    Capturing needs one block of that kind that is run, and one that is captured.
    """
    return config.context_blocks + 2


def first_block(world: World, prompts: Prompts) -> tuple[Rollout, float]:
    """Start and generate one block; returns how long both took, in ms."""
    arguments = prompts.new()
    if world.device.type == "cuda":
        torch.cuda.synchronize(world.device)  # another rollout's last cache pass may still be running
    begin = time.perf_counter()
    rollout = world.start(**arguments)
    rollout.step()
    return rollout, (time.perf_counter() - begin) * 1e3


def first_block_ms(world: World, prompts: Prompts) -> float:
    """Measure the time from a prompt to the first frames, on a warm world."""
    return round(statistics.median(first_block(world, prompts)[1] for _ in range(REPEATS)), 2)


def steady(rollout: Rollout, blocks: int, on_block: Callable[[], None] | None) -> dict[str, Any]:
    """Time blocks with a full context, back to back: on CUDA the cache pass overlaps the frame transfer."""
    whole, parts, frames = [], [], 0
    for _ in range(blocks):
        begin = time.perf_counter()
        block = rollout.step()
        whole.append((time.perf_counter() - begin) * 1e3)
        parts.append(rollout.timing)
        frames += block.shape[0] * block.shape[1]
        if on_block is not None:
            on_block()
    streamed = {}
    if rollout.world.device.type == "cuda":
        parts = _parts_alone(rollout, blocks)
        streamed = {"stream": _summary(block_times_ahead(rollout, blocks), frames)}
    return {
        "end_to_end": _summary(whole, frames),
        **streamed,
        "transformer": _summary([part["denoise_ms"] for part in parts], frames),
        "decode": _summary([part["decode_ms"] for part in parts], frames),
    }


def block_times_ahead(rollout: Rollout, blocks: int) -> list[float]:
    """Time blocks of `Rollout.stream`, which begins the next one before it hands one out; in ms."""
    times = []
    stream = rollout.stream(itertools.repeat(None, blocks + 2), ahead=True)
    next(stream)  # when it returns, the next block has begun
    for _ in range(blocks):
        begin = time.perf_counter()
        next(stream)
        times.append((time.perf_counter() - begin) * 1e3)
    for _ in stream:
        pass
    return times


def _parts_alone(rollout: Rollout, blocks: int) -> list[dict[str, float]]:
    """Time blocks whose parts do not overlap; the first also finishes pending work, and is left out."""
    parts = []
    with torch.inference_mode():  # as in `step`
        for _ in range(blocks + 1):
            latents = rollout.step_latents()
            torch.cuda.synchronize(rollout.world.device)
            rollout.decode(latents)
            parts.append(rollout.timing)
    return parts[1:]


def keep_ms(rollout: Rollout) -> float:
    """Time how long a viewer's snapshot stops the world; the first also takes its memory, and is left out."""
    times = []
    for _ in range(1 + REPEATS):
        if rollout.world.device.type == "cuda":
            torch.cuda.synchronize(rollout.world.device)
        begin = time.perf_counter()
        rollout.keep()
        times.append((time.perf_counter() - begin) * 1e3)
    return round(statistics.median(times[1:]), 2)


def _summary(values: list[float], frames: int) -> dict[str, Any]:
    ordered = sorted(values)
    return {
        "fps": round(frames / (sum(values) / 1e3), 2),
        "block_ms": {
            "median": round(statistics.median(values), 2),
            "p95": round(ordered[math.ceil(0.95 * len(ordered)) - 1], 2),
            "max": round(ordered[-1], 2),
            "all": [round(value, 2) for value in values],
        },
    }


def switches(rollout: Rollout, prompts: Prompts, block_ms: float) -> dict[str, Any]:
    """Time prompt switches, from a prompt's arrival to the frames of the first block under it."""
    latency, recache = [], []
    for arguments in [prompts.new() for _ in range(REPEATS)]:  # embeddings wait for the device
        begin = time.perf_counter()
        rollout.switch_prompt(**arguments)
        rollout.step()
        latency.append((time.perf_counter() - begin) * 1e3)
        recache.append(rollout.timing["recache_ms"])
    median = statistics.median(latency)
    return {
        "prompt_switch": {
            "to_frames_ms": round(median, 2),
            "beyond_a_block_ms": round(median - block_ms, 2),
            "recache_ms": round(statistics.median(recache), 2),
        }
    }
