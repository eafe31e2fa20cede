"""Speed of a world.

`end_to_end` is what a player gets: from noise to uint8 frames on the host, codec included. `transformer` is
the denoising steps and the cache pass alone, `decode` the codec alone. Both are measured within the same
blocks; on CUDA, where they overlap, in separate ones. There, `stream` is `end_to_end` for somebody who does
not react to each block, so that the next one begins before a block is handed out. Blocks are timed once the
context is full. Prompts are always new, so that their text is encoded, unless the weights are random: then
there is no text encoder, and `text_encoder` says so.
"""

from __future__ import annotations

import dataclasses
import gc
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from longlive_env.bench.blocks import (
    first_block,
    first_block_ms,
    keep_ms,
    steady,
    switches,
    with_full_context,
)
from longlive_env.bench.config import BenchConfig
from longlive_env.bench.fresh import fresh_process
from longlive_env.bench.memory import peak_memory_mb
from longlive_env.bench.opening import Prompts, check, open_world
from longlive_env.engine.devices import usable
from longlive_env.engine.warmup import warm_up
from longlive_env.roofline import roofline

if TYPE_CHECKING:
    from longlive_env.engine.world import World


def bench(config: BenchConfig, on_block: Callable[[], None] | None = None) -> dict[str, Any]:
    """Measure a world.

    Args:
        config: what to time, and how much.
        on_block: called after each timed block.

    Returns:
        JSON values: times in ms, rates in pixel frames per second over all worlds of the batch.
    """
    config.use_threads()
    check(config)  # reports errors here, not in another process
    fresh = fresh_process(config) if config.thorough else None
    figures = {**_alone(config, on_block), "fresh_process": fresh}
    return {
        **figures,
        **_against(config, "default_precision", figures, precision=None),
        **_against(config, "uncompiled", figures, compile="off"),
    }


def _alone(config: BenchConfig, on_block: Callable[[], None] | None) -> dict[str, Any]:
    """Measure the requested world, which is freed when this returns."""
    world = open_world(config)
    prompts = Prompts(world, config.batch)
    begin = time.perf_counter()
    warm_up(world, config.batch)
    first_block(world, prompts)  # also warms the text encoder
    warm_up_s = time.perf_counter() - begin
    if world.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(world.device)
    first_ms = first_block_ms(world, prompts)
    rollout = with_full_context(world, prompts)
    timed = steady(rollout, config.blocks, on_block)
    transformer_ms, decode_ms = (timed[part]["block_ms"]["median"] for part in ("transformer", "decode"))
    return {
        "config": dataclasses.asdict(config),
        "codec": world.config.codec.kind,
        "memory_plan": str(world.memory_plan) if world.memory_plan else None,
        "options": dict(world.options),
        "text_encoder": world.text_encoding.present,
        "fingerprint": None if config.random_weights else world.fingerprint,
        **timed,
        "first_block_ms": first_ms,
        **switches(rollout, prompts, timed["end_to_end"]["block_ms"]["median"]),
        "warm_up_s": round(warm_up_s, 2),
        "memory_mb": peak_memory_mb(world, config.batch),
        "keep_ms": keep_ms(rollout) if config.thorough else None,
        "roofline": _roofline(world, config.batch, transformer_ms, decode_ms) if config.thorough else None,
    }


def _roofline(world: World, batch: int, transformer_ms: float, decode_ms: float) -> dict[str, Any]:
    from longlive_env.engine.cost import once_a_prompt
    from longlive_env.engine.quantize import weight_bytes

    transformer = world.transformer
    return roofline(
        world.config,
        batch,
        world.device,
        world.dtype,
        transformer_ms,
        decode_ms,
        kv_dtype=transformer.kv_dtype,
        weight_bytes=weight_bytes(transformer) - weight_bytes(*once_a_prompt(transformer)),
    )


def _against(config: BenchConfig, name: str, own: dict[str, Any], **default: Any) -> dict[str, Any]:
    """Measure whether a choice pays on this machine, by timing the same blocks without it."""
    plain = dataclasses.replace(config, **default)
    if plain == config or not config.thorough:
        return {}
    settled = {one: own["options"][one] for one in ("codec", "kv_precision") if one in own["options"]}
    plain = dataclasses.replace(plain, **settled)  # which a plan of its own might choose otherwise
    compared, timed = {}, _blocks_of(plain)
    for part in ("end_to_end", "transformer"):
        own_ms, plain_ms = (figures[part]["block_ms"]["median"] for figures in (own, timed))
        compared[part] = {"block_ms": plain_ms, "speedup": round(plain_ms / own_ms, 3)}
    return {name: compared}


def _blocks_of(config: BenchConfig) -> dict[str, Any]:
    """Time blocks of a world that has the device to itself."""
    gc.collect()  # a compiled codec refers to itself, so the previous world may still exist
    if usable(config.device).type == "cuda":
        torch.cuda.empty_cache()
    world = open_world(config)
    rollout = with_full_context(world, Prompts(world, config.batch))
    return steady(rollout, config.blocks, None)
