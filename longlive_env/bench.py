"""Speed and memory of a world, as measured figures that say what they include.

`end_to_end` is what a player gets: noise in, uint8 frames on the host out, codec included. `transformer` is
the denoising steps and the cache pass alone, `decode` the codec alone, both taken within the same blocks, but
on CUDA, where they overlap, in others.
Blocks are timed once the context is full. Prompts are always new ones, so that their text is encoded, unless
the weights are random: then there is no text encoder, and `text_encoder` says so.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from longlive_env.engine.devices import usable
from longlive_env.engine.warmup import warm_up
from longlive_env.errors import ConfigError, LongLiveError
from longlive_env.roofline import roofline

if TYPE_CHECKING:
    from longlive_env.engine.attention import Backend
    from longlive_env.engine.compile import CompileMode
    from longlive_env.engine.config import Positions, WorldConfig
    from longlive_env.engine.fused import Fused
    from longlive_env.engine.memory import Memory
    from longlive_env.engine.quantize import Precision
    from longlive_env.engine.rollout import Rollout
    from longlive_env.engine.world import World

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SWITCHES = 5
TEXT_TOKENS = 24  # length of a made-up prompt, for worlds without a text encoder


@dataclass(frozen=True)
class BenchConfig:
    """What is timed.

    Attributes:
        world: name of a world or folder of weights.
        device: where it runs.
        dtype: of the weights; None leaves the choice to the world.
        codec: "wan" or "light", where the world has both; None takes its own.
        random_weights: take the named preset with random weights, which run just as fast.
        batch: worlds that run together.
        blocks: timed blocks.
        threads: threads of the CPU; None leaves the choice to torch.
        precision: of the linear layers, see `World.load`; None is that of the weights.
        kv_precision: of cached keys and values; None is that of the weights.
        memory: GiB to fit in, or "auto"; None does not ask.
        compile: whether passes run compiled, see `World.load`.
        steps: denoising steps of a block; None takes the world's own.
        rope: positions in time, see `World.load`.
        attention: backend of the transformer's attention; "auto" lets it choose.
        measured: whether kernels are chosen by what was measured on this machine, where it was.
        fused: what runs norms, rotation and cache of self-attention, see `engine.fused`.
        merge: whether self-attention projects by one product, see `World.load`.
        size: rows and columns of pixels, with random weights; None takes the preset's.
        layers: of the transformer, with random weights; None takes the preset's. A preset cut down by both
            runs the same code on a small machine.
        thorough: whether to measure the machine's ceilings, start-up in a fresh process, and the same world
            without what `precision` and `compile` choose, too.
    """

    world: str = "tiny"
    device: str = "cpu"
    dtype: str | None = None
    codec: Literal["wan", "light"] | None = None
    random_weights: bool = False
    batch: int = 1
    blocks: int = 20
    threads: int | None = None
    precision: Precision | None = None
    kv_precision: Literal["fp8"] | None = None
    memory: Memory | None = None
    compile: CompileMode = "off"
    steps: int | None = None
    rope: Positions | None = None
    attention: Backend = "auto"
    measured: bool = True
    fused: Fused = "auto"
    merge: bool | None = None
    size: tuple[int, int] | None = None
    layers: int | None = None
    thorough: bool = True

    def __post_init__(self) -> None:
        for name in ("batch", "blocks", "threads", "layers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1")
        if not self.random_weights and (self.size, self.layers) != (None, None):
            raise ConfigError("size and layers can be changed with random weights only; add random_weights")
        if self.dtype is not None and self.dtype not in DTYPES:
            raise ConfigError(f"dtype is {self.dtype!r}; expected one of {', '.join(DTYPES)}")


class Prompts:
    """An endless supply of new prompts: texts or, for a world without a text encoder, embeddings."""

    def __init__(self, world: World, batch: int) -> None:
        self._world, self._batch = world, batch
        self._numbers = itertools.count(time.time_ns() // 1000 % 10**9)  # new to caches on disk, too

    def new(self) -> dict[str, Any]:
        """Arguments for `World.start` and `Rollout.switch_prompt`."""
        number = next(self._numbers)
        names = [f"a red robot walks {number * self._batch + i} steps" for i in range(self._batch)]
        if self._world.text_encoding.present:
            return {"prompt": names}
        config = self._world.config.transformer
        text = torch.zeros(self._batch, config.text_len, config.text_dim)
        text[:, :TEXT_TOKENS].normal_(generator=torch.Generator().manual_seed(number))
        return {"prompt": names, "text": text.to(self._world.device)}


def world_config(config: BenchConfig) -> WorldConfig:
    """The configuration of the world that is timed, without its weights."""
    from longlive_env.engine.config import PRESETS
    from longlive_env.engine.world_files import read_config

    if not config.random_weights:
        found = read_config(config.world, config.codec or "wan")
        return found.with_steps(config.steps).with_rope(config.rope)
    if config.world not in PRESETS:
        raise ConfigError(f"random weights need a preset, not {config.world!r}; known: {', '.join(PRESETS)}")
    preset = PRESETS[config.world].with_steps(config.steps).with_rope(config.rope)
    height, width = config.size or (preset.height, preset.width)
    shape = dataclasses.replace(preset.transformer, layers=config.layers or preset.transformer.layers)
    return dataclasses.replace(preset, height=height, width=width, transformer=shape)


def weights_dtype(config: BenchConfig) -> torch.dtype:
    """The type of the weights that are timed."""
    from longlive_env.engine.world_files import default_dtype

    if config.precision == "bf16":
        return torch.bfloat16
    return DTYPES[config.dtype] if config.dtype else default_dtype(config.device)


def open_world(config: BenchConfig) -> World:
    """The world that is timed."""
    from longlive_env.engine.kernel_table import use_table
    from longlive_env.engine.world import World

    if not config.random_weights:
        world = World.load(
            config.world,
            device=config.device,
            dtype=DTYPES[config.dtype] if config.dtype else None,
            codec=config.codec,
            precision=config.precision,
            kv_precision=config.kv_precision,
            memory=config.memory,
            batch=config.batch,
            merge=config.merge,
            steps=config.steps,
            rope=config.rope,
        )
    else:
        world = _random_world(config)
    if not config.measured:
        use_table(world.device, None)
    world.transformer.attention_backend = config.attention
    world.transformer.fuse(config.fused)
    world.compile(config.compile)
    return world


def _random_world(config: BenchConfig) -> World:
    """A world of a preset's sizes, arranged as `World.load` would, but without a text encoder."""
    from longlive_env.engine.config import LightVAEConfig
    from longlive_env.engine.memory import budget, plan
    from longlive_env.engine.offload import offload
    from longlive_env.engine.world import World
    from longlive_env.engine.world_files import check_codec

    preset, dtype = world_config(config), weights_dtype(config)
    if config.codec == "wan":
        check_codec(preset, config.codec)  # where "light" stands in for any
    codec, kv_precision, found = config.codec, config.kv_precision, None
    if config.memory is not None:
        bytes_there = budget(config.memory, config.device)
        found = plan(preset, bytes_there, batch=config.batch, device=config.device, dtype=dtype, codec=codec)
        codec, kv_precision = found.codec, kv_precision or found.kv_precision
    if codec == "light":
        preset = dataclasses.replace(preset, codec=LightVAEConfig())
    world = World.from_config(preset, device=config.device, dtype=dtype, text_encoder=False)
    world.memory_plan = found
    if found is not None and found.offload:
        offload(world.transformer, config.device)
    world.optimize(precision=config.precision, kv_precision=kv_precision, merge=config.merge)
    return world


def bench(config: BenchConfig, on_block: Callable[[], None] | None = None) -> dict[str, Any]:
    """Measure a world.

    Args:
        config: what and how much.
        on_block: called after each timed block.

    Returns:
        JSON values: times in ms, rates in pixel frames a second over all worlds of the batch.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    usable(config.device)
    world_config(config)  # what is wrong with it is told here, and not by another process
    fresh = fresh_process(config) if config.thorough else None
    world = open_world(config)
    prompts = Prompts(world, config.batch)
    begin = time.perf_counter()
    warm_up(world, config.batch)
    _first_block(world, prompts)  # the text encoder, too
    warm_up_s = time.perf_counter() - begin
    if world.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(world.device)
    first_ms = [_first_block(world, prompts)[1] for _ in range(SWITCHES)]
    rollout = _with_full_context(world, prompts)
    steady = _steady(rollout, config.blocks, on_block)
    transformer_ms, decode_ms = (steady[part]["block_ms"]["median"] for part in ("transformer", "decode"))
    return {
        "config": dataclasses.asdict(config),
        "codec": world.config.codec.kind,
        "memory_plan": str(world.memory_plan) if world.memory_plan else None,
        "text_encoder": world.text_encoding.present,
        **steady,
        "first_block_ms": round(statistics.median(first_ms), 2),
        **_switches(rollout, prompts, steady["end_to_end"]["block_ms"]["median"]),
        "warm_up_s": round(warm_up_s, 2),
        "fresh_process": fresh,
        "memory_mb": _memory(world, config.batch),
        "roofline": _roofline(world, config.batch, transformer_ms, decode_ms) if config.thorough else None,
        **_against(config, "default_precision", transformer_ms, precision=None),
        **_against(config, "uncompiled", transformer_ms, compile="off"),
    }


def _roofline(world: World, batch: int, transformer_ms: float, decode_ms: float) -> dict[str, Any]:
    from longlive_env.engine.cost import once_a_prompt
    from longlive_env.engine.quantize import weight_bytes

    transformer = world.transformer
    return roofline(
        world.config,
        batch,
        world.device,
        transformer.patch_embedding.weight.dtype,
        transformer_ms,
        decode_ms,
        kv_dtype=transformer.kv_dtype,
        weight_bytes=weight_bytes(transformer) - sum(map(weight_bytes, once_a_prompt(transformer))),
    )


def _against(config: BenchConfig, name: str, block_ms: float, **default: Any) -> dict[str, Any]:
    """Whether a choice pays on this machine: the same blocks as they would be without it."""
    plain = dataclasses.replace(config, **default)
    if plain == config or not config.thorough:
        return {}
    world = open_world(plain)
    rollout = _with_full_context(world, Prompts(world, config.batch))
    plain_ms = _steady(rollout, config.blocks, None)["transformer"]["block_ms"]["median"]
    return {name: {"block_ms": plain_ms, "speedup": round(plain_ms / block_ms, 3)}}


def _with_full_context(world: World, prompts: Prompts) -> Rollout:
    rollout, _ = _first_block(world, prompts)
    for _ in range(blocks_until_steady(world.config)):
        rollout.step()
    return rollout


def blocks_until_steady(config: WorldConfig) -> int:
    """How many blocks after the first one it takes until every further one is of one kind, and captured.

    Capturing needs a block of that kind that is run, and one that is captured.
    """
    return -(-config.context_frames // config.frames_per_block) + 2


def _first_block(world: World, prompts: Prompts) -> tuple[Rollout, float]:
    """Start and generate one block; how long both took, in ms."""
    arguments = prompts.new()
    begin = time.perf_counter()
    rollout = world.start(**arguments)
    rollout.step()
    return rollout, (time.perf_counter() - begin) * 1e3


def _steady(rollout: Rollout, blocks: int, on_block: Callable[[], None] | None) -> dict[str, Any]:
    """Blocks with a full context, without a pause: on CUDA a block is remembered while its frames travel."""
    times: dict[str, list[float]] = {"end_to_end": [], "transformer": [], "decode": []}
    frames = 0
    for _ in range(blocks):
        begin = time.perf_counter()
        block = rollout.step()
        times["end_to_end"].append((time.perf_counter() - begin) * 1e3)
        times["transformer"].append(rollout.timing["denoise_ms"])
        times["decode"].append(rollout.timing["decode_ms"])
        frames += block.shape[0] * block.shape[1]
        if on_block is not None:
            on_block()
    if rollout.world.device.type == "cuda":
        times |= _parts(rollout, blocks)
    return {name: _summary(values, frames) for name, values in times.items()}


def _parts(rollout: Rollout, blocks: int) -> dict[str, list[float]]:
    """Parts of blocks whose parts do not overlap; the first also ends what was under way, and is left out."""
    times: dict[str, list[float]] = {"transformer": [], "decode": []}
    for _ in range(blocks + 1):
        latents = rollout.step_latents()
        torch.cuda.synchronize(rollout.world.device)
        rollout.decode(latents)
        times["transformer"].append(rollout.timing["denoise_ms"])
        times["decode"].append(rollout.timing["decode_ms"])
    return {name: values[1:] for name, values in times.items()}


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


def _switches(rollout: Rollout, prompts: Prompts, block_ms: float) -> dict[str, Any]:
    """From a prompt's arrival to the frames of the first block under it."""
    latency, recache = [], []
    for _ in range(SWITCHES):
        arguments = prompts.new()
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


def _memory(world: World, batch: int) -> dict[str, float]:
    """Peak that the engine predicts for weights, state and temporary tensors, and on CUDA what it was.

    `reserved` is what the device has to have, with what the allocator holds ready; a plan covers it.
    """
    from longlive_env.engine.footprint import footprint
    from longlive_env.engine.offload import is_offloaded
    from longlive_env.engine.quantize import weight_bytes

    transformer, encoder = world.transformer, None
    parts = footprint(world.config, transformer.patch_embedding.weight.dtype, batch, transformer.kv_dtype)
    if is_offloaded(transformer):
        weights = parts.resident_transformer(offload=True)
    else:
        weights = weight_bytes(transformer)  # which may be quantized
    if world.text_encoding.loaded:
        encoder = world.text_encoding.model
    if encoder is not None and next(encoder.parameters()).device == world.device:
        weights += weight_bytes(encoder)
    predicted = weights + parts.codec + parts.state + parts.workspace
    found = {"predicted": round(predicted / 1e6, 1)}
    if world.device.type == "cuda":
        found["measured"] = round(torch.cuda.max_memory_allocated(world.device) / 1e6, 1)
        found["reserved"] = round(torch.cuda.max_memory_reserved(world.device) / 1e6, 1)
    if world.memory_plan is not None:
        found["planned"] = round(world.memory_plan.running_bytes / 1e6, 1)
    return found


FRESH = """
import json, sys, time
begin = time.perf_counter()
from longlive_env import World
imported = time.perf_counter()
from longlive_env import bench
print(json.dumps({"import_s": round(imported - begin, 3), **bench.fresh_figures(json.loads(sys.argv[1]))}))
"""


def fresh_process(config: BenchConfig) -> dict[str, Any]:
    """What a user waits for, and the memory of a world that runs, in a process of its own."""
    arguments = json.dumps(dataclasses.asdict(config))
    done = subprocess.run([sys.executable, "-c", FRESH, arguments], capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise LongLiveError(f"the fresh process ended with status {done.returncode}: {reason}")
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def fresh_figures(values: dict[str, Any]) -> dict[str, float | None]:
    """In a fresh process: time to load and to the first block, and peak memory after six blocks."""
    config = BenchConfig(**values)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    begin = time.perf_counter()
    world = open_world(config)
    loaded = time.perf_counter()
    rollout, first_ms = _first_block(world, Prompts(world, config.batch))
    for _ in range(5):
        rollout.step()
    return {
        "load_s": round(loaded - begin, 3),
        "first_block_ms": round(first_ms, 2),
        "peak_rss_mb": _peak_rss_mb(),
    }


def _peak_rss_mb() -> float | None:
    """The most memory that this process has had; None on Windows, where Python cannot tell."""
    try:
        import resource
    except ImportError:
        return None
    status = Path("/proc/self/status")
    if status.is_file():  # where ru_maxrss begins with that of the process that started this one
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        kilobytes = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
        if kilobytes:
            return round(kilobytes[0] * 1024 / 1e6, 1)
    unit = 1e6 if sys.platform == "darwin" else 1e3  # ru_maxrss is in bytes there, in kB elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
