"""The gain of each choice of the engine on a CPU: the same blocks with and without it, in turn.

    python benchmarks/cpu_choices.py --out out/cpu-choices.json

Variants take turns block by block, so that other load on the machine affects all of them alike. Figures are
medians over blocks, in ms per block of one world; `transformer` includes the cache pass.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from report import command_line, parsed, write

from longlive_env.engine import linear
from longlive_env.engine.rollout import Rollout
from longlive_env.engine.warmup import warm_up
from longlive_env.engine.world import World
from longlive_env.provenance import files_digest, provenance

PROMPT = "a red robot walks right through the city at night"


@dataclass(frozen=True)
class Variant:
    """One way to run the tiny world."""

    name: str
    precision: Any = None
    compile: Any = "off"
    onednn: bool | None = None  # for linear layers; None leaves the choice to the engine
    steps: int | None = None
    codec: Any = None


VARIANTS = (
    Variant("float32"),
    Variant("float32, MKL", onednn=False),
    Variant("float32, oneDNN", onednn=True),
    Variant("float32, compiled", compile="default"),
    Variant("4 steps", steps=4),
    Variant("3 steps", steps=3),
    Variant("1 step", steps=1),
    Variant("bf16", precision="bf16"),
    Variant("bf16, compiled", precision="bf16", compile="default"),
    Variant("int8", precision="int8"),
    Variant("light", codec="light"),
    Variant("bf16, light", precision="bf16", codec="light"),
)


@contextmanager
def chosen(variant: Variant) -> Iterator[None]:
    """Select the variant's library for linear layers."""
    own, asked = linear._wide_vectors, variant.onednn
    try:
        if asked is not None:
            linear._wide_vectors = lambda: asked  # type: ignore[assignment]
        yield
    finally:
        linear._wide_vectors = own


def started(variant: Variant, batch: int) -> Rollout:
    """Start a rollout with a full context."""
    world = World.load(
        "tiny",
        precision=variant.precision,
        compile=variant.compile,
        steps=variant.steps,
        codec=variant.codec,
    )
    with chosen(variant):
        if variant.compile != "off":
            warm_up(world, batch)
        rollout = world.start([PROMPT] * batch)
        for _ in range(5):
            rollout.step()
    return rollout


def measure(batch: int, blocks: int, names: list[str]) -> dict[str, Any]:
    """Measure the medians of every variant."""
    variants = [variant for variant in VARIANTS if variant.name in names]
    rollouts = {variant: started(variant, batch) for variant in variants}
    times: dict[str, list[tuple[float, float, float]]] = {variant.name: [] for variant in variants}
    for _ in range(blocks):
        for variant, rollout in rollouts.items():
            with chosen(variant):
                begin = time.perf_counter()
                rollout.step()
                whole = (time.perf_counter() - begin) * 1e3
            parts = (rollout.timing["denoise_ms"], rollout.timing["decode_ms"])
            times[variant.name].append((whole, *parts))
    frames = next(iter(rollouts.values())).world.config.block_pixel_frames
    return {name: _summary(found, batch, frames) for name, found in times.items()}


def _summary(found: list[tuple[float, float, float]], batch: int, frames: int) -> dict[str, float]:
    whole, transformer, decode = (statistics.median(column) / batch for column in zip(*found, strict=True))
    figures = {
        "fps": 1e3 * frames / whole,
        "block_ms": whole,
        "transformer_ms": transformer,
        "decode_ms": decode,
    }
    return {name: round(value, 2) for name, value in figures.items()}


def main() -> None:
    """Measure, print and write."""
    parser = command_line(__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--blocks", type=int, default=20)
    names = [variant.name for variant in VARIANTS]
    parser.add_argument("--variants", nargs="+", choices=names, default=names)
    args = parsed(parser)
    found = {}
    for batch in args.batches:
        found[batch] = measure(batch, args.blocks, args.variants)
        for name, figures in found[batch].items():
            print(f"batch {batch:3d}  {name:28s} {figures}", flush=True)
    write({"files_digest": files_digest("tiny"), **provenance(), "batches": found}, args.out)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
