"""Items for the large world with random weights: whether it runs, where its time goes, whether it lasts."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import kept
import torch
from child import LATE
from kernel_profile import profiled, wait

from longlive_env.bench import BenchConfig, Prompts, random_world
from longlive_env.bench.blocks import keep_ms
from longlive_env.engine import linear
from longlive_env.engine.config import PRESETS, Positions
from longlive_env.engine.cost import block_cost
from longlive_env.engine.kernel_table import use_table
from longlive_env.engine.rollout import Rollout
from longlive_env.engine.viewpoint import with_viewpoints
from longlive_env.engine.world import World
from longlive_env.roofline import matrix_rate

CLOSE = 1e-2  # relative error of bfloat16 against float32 weights; 8.7e-3 on a CPU
KEPT_EVERY = 50  # blocks of a long take between two saves
EARLY, LAST = slice(15, 25), 10  # compared blocks; earlier, the context fills and code compiles
AT, AROUND = (10, 100, 300), 2  # blocks of a take to report: medians of so many on either side


def large_config(args: argparse.Namespace) -> BenchConfig:
    """Return what `longlive bench` times of the large world."""
    name = "tiny" if args.small else "1.3b"
    return BenchConfig(name, args.device, random_weights=True, blocks=args.blocks, thorough=False)


def check(args: argparse.Namespace) -> dict[str, Any]:
    """Run twenty blocks with one recache, and compare bfloat16 with float32 at the tiny world's sizes."""
    world = _large_world(args)
    prompts = Prompts(world, 1)
    rollout, finite, block_ms = world.start(**prompts.new()), True, []
    for block in range(args.blocks):
        if block == args.blocks // 2:
            rollout.switch_prompt(**prompts.new())
        begin = time.perf_counter()
        with torch.inference_mode():
            latents = rollout.step_latents()
            frames = rollout.decode(latents)
        block_ms.append(round((time.perf_counter() - begin) * 1e3, 1))
        finite = finite and bool(latents.isfinite().all()) and frames.float().std().item() > 0
    return {
        "finite": finite,
        "block_ms": block_ms,
        "relative_error_bf16": _precision_error(args.device),
        "close_enough": CLOSE,
        **peak(args.device),
    }


def _precision_error(device: str) -> float:
    """Return the relative error in bfloat16 of the first flow of a take, with the tiny world's weights."""
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        world = World.load("tiny", device=device, dtype=dtype)
        config, generator = world.config, torch.Generator().manual_seed(0)
        noise = torch.randn(1, *config.block_shape, generator=generator)
        noisy = with_viewpoints(noise, *config.viewpoints) if config.viewpoints else noise
        text = world.encode_prompt(["a red robot walks right through the city at night"])
        with torch.inference_mode():
            times = torch.full((1, config.frames_per_block), float(config.sampler.steps[0]), device=device)
            flow = world.transformer.forward_clip(noisy.to(device, dtype), times, text)
        results.append(flow.float())
    return round(float((results[1] - results[0]).norm() / results[0].norm()), 6)


def profile(args: argparse.Namespace) -> dict[str, Any]:
    """Profile a steady block by part and kind of kernel, beside the lower bound of its matrix products."""
    return {"kernel_table": kept.table_told(large_config(args)), **_profile(args, chosen=True)}


def without(args: argparse.Namespace) -> dict[str, Any]:
    """Profile without choices: default kernels, three projections, no custom kernels, plain layouts."""
    return _profile(args, chosen=False)


def _profile(args: argparse.Namespace, *, chosen: bool) -> dict[str, Any]:
    world = _large_world(args, chosen=chosen)
    world.compile(args.compile)
    rollout = world.start(**Prompts(world, 1).new())
    for _ in range(6):
        rollout.step()
    rate = matrix_rate(args.device, _large_dtype(args))
    cost = block_cost(world.config, _large_dtype(args))
    found = {
        "compile": args.compile,
        **profiled(rollout.step, args.device),
        "matrix_tflops": round(rate / 1e12, 3),
        "floor_ms": {
            "transformer": round(cost.transformer / rate * 1e3, 2),
            "decode": round(cost.decode / rate * 1e3, 2),
        },
    }
    latents: list[torch.Tensor] = []
    with torch.inference_mode():  # as in `step`; here the parts do not overlap
        transformer = profiled(lambda: latents.append(rollout.step_latents()), args.device)
        decode = profiled(lambda: rollout.decode(latents[-1]), args.device)
    return {**found, "transformer": transformer, "decode": decode, "keep_ms": keep_ms(rollout)}


def take(args: argparse.Namespace) -> dict[str, Any]:
    """Measure blocks of a long take end to end, with the Wan VAE and positions as trained."""
    return _long(args, "take", "absolute", lambda rollout: rollout.step())


def endless(args: argparse.Namespace) -> dict[str, Any]:
    """Measure the transformer after twenty and after many blocks, with cache-relative positions."""

    def latents(rollout: Rollout) -> None:
        with torch.inference_mode():
            rollout.step_latents()

    return _long(args, "endless", "relative", latents)


def _long(
    args: argparse.Namespace, item: str, rope: Positions, step: Callable[[Rollout], object]
) -> dict[str, Any]:
    """Measure time and memory of every block of a take.

    Partial results are written as they grow, but never replace those of a longer take.
    """
    deadline = time.monotonic() + 60 * args.minutes
    stamp = {"compile": args.compile, "kernel_table": kept.table_told(large_config(args))}
    best = kept.earlier(args, item, **stamp)
    world = _large_world(args, rope=rope)
    world.compile(args.compile)
    rollout = world.start(**Prompts(world, 1).new())
    times: list[float] = []
    bytes_there: list[int] = []
    cuda = torch.device(args.device).type == "cuda"
    while len(times) < args.blocks and time.monotonic() < deadline:
        begin = time.perf_counter()
        step(rollout)
        wait(args.device)
        times.append((time.perf_counter() - begin) * 1e3)
        bytes_there.append(torch.cuda.memory_allocated(args.device) if cuda else 0)
        if len(times) % KEPT_EVERY == 0 and len(times) > best.get("blocks_done", 0):
            kept.keep(args, item, {"status": LATE, **stamp, **over_time(times, bytes_there)})
    if len(times) < best.get("blocks_done", 0):
        return best
    status = {} if len(times) == args.blocks else {"status": LATE}
    return {**status, **stamp, **over_time(times, bytes_there)}


def over_time(times: Sequence[float], bytes_there: Sequence[int]) -> dict[str, Any]:
    """Compare the last blocks with early ones; None if there are too few to distinguish them.

    Args:
        times: milliseconds of each block.
        bytes_there: bytes in use on the device after each block.
    """
    enough = len(times) >= EARLY.stop + LAST
    early, last = (statistics.median(part) if enough else None for part in (times[EARLY], times[-LAST:]))
    return {
        "blocks_done": len(times),
        "at_ms": {str(block): _around(times, block) for block in AT if len(times) >= block},
        "block_20_ms": early and round(early, 2),
        "last_ms": last and round(last, 2),
        "ratio": round(last / early, 4) if early and last else None,
        "bytes_at_block_20": bytes_there[20] if enough else None,
        "bytes_at_the_last": bytes_there[-1] if enough else None,
        "all_ms": [round(ms, 2) for ms in times],
    }


def _around(times: Sequence[float], block: int) -> float:
    """Return the median time of a block, counted from 1, and its neighbours."""
    return round(statistics.median(times[max(0, block - 1 - AROUND) : block + AROUND]), 2)


def _large_dtype(args: argparse.Namespace) -> torch.dtype:
    return torch.float32 if args.small else torch.bfloat16


def _large_world(args: argparse.Namespace, *, chosen: bool = True, rope: Positions | None = None) -> World:
    """Return the large world as loaded on its device, or without the choices made for that device."""
    config = PRESETS["tiny" if args.small else "1.3b"].with_rope(rope)
    world = random_world(config, args.device, _large_dtype(args))
    if chosen:
        world.optimize()
    else:
        world.transformer.fuse("plain")
        use_table(world.device, None)
        linear.gelu_in_product = lambda dtype, device: False
    return world


def peak(device: str) -> dict[str, float]:
    """Return the peak memory of a GPU."""
    if torch.device(device).type != "cuda":
        return {}
    return {"peak_gpu_gb": round(torch.cuda.max_memory_allocated(device) / 1e9, 2)}
