"""How close a world comes to a machine's limits: two measured ceilings, and a plot of both.

A block takes at least its operations divided by the rate of matrix products, and at least its bytes divided
by the memory bandwidth. The plot has operations per byte on the x axis and operations per second on the y
axis, both logarithmic: the ceilings are the roof, and a world's parts are dots under it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from longlive_env.engine.cost import block_cost
from longlive_env.engine.linear import linear
from longlive_env.engine.stopwatch import fastest

if TYPE_CHECKING:
    from longlive_env.engine.config import WorldConfig

ROUNDS = 12
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 960, 600, 100, 80, 40, 70  # pixels; the last four are margins
BACKGROUND, INK, FAINT, ROOF = "#14151a", "#f5f5f0", "#30323c", "#7f8494"
COLOURS = ("#ff8a5c", "#6cc5ff")


@dataclass(frozen=True)
class Part:
    """A part of a block.

    Attributes:
        name: name of the part.
        operations: operations for one block of all worlds.
        bytes_moved: least number of bytes moved; 0 if unknown.
        ms: milliseconds taken.
    """

    name: str
    operations: int
    bytes_moved: int
    ms: float

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.operations / (self.ms / 1e3)


def roofline(
    config: WorldConfig,
    batch: int,
    device: torch.device,
    dtype: torch.dtype,
    transformer_ms: float,
    decode_ms: float,
    kv_dtype: torch.dtype | None = None,
    weight_bytes: int | None = None,
) -> dict[str, Any]:
    """Measure the ceilings and compare a block's parts with them.

    Args:
        config: the world's configuration.
        batch: number of worlds that ran together.
        device: device they ran on.
        dtype: type of weights and arithmetic, whose ceiling 8-bit precisions are compared with, too.
        transformer_ms: milliseconds of the transformer for a block of all worlds with a full context.
        decode_ms: milliseconds of decoding, likewise.
        kv_dtype: type of cached keys and values, if they have their own.
        weight_bytes: bytes of weights that a pass reads, if the weights are quantized.

    Returns:
        JSON values: the ceilings, and for each part its rate and its share of either ceiling.
    """
    cost = block_cost(config, dtype, kv_dtype)
    weights = cost.weight_bytes if weight_bytes is None else weight_bytes
    moved = (cost.steps + 1) * (
        weights + batch * cost.cache_bytes
    )  # weights once for all worlds of the batch
    parts = [
        Part("transformer", batch * cost.transformer, moved, transformer_ms),
        Part("decode", batch * cost.decode, 0, decode_ms),
    ]
    matrix, memory = matrix_rate(device, dtype), memory_rate(device)
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "matrix_tflops": round(matrix / 1e12, 4),
        "memory_gb_s": round(memory / 1e9, 2),
        "parts": {part.name: _beside(part, matrix, memory) for part in parts},
    }


def matrix_rate(device: torch.device | str, dtype: torch.dtype) -> float:
    """Operations per second of a large matrix product, by the fastest library available."""
    place = torch.device(device)
    size = 8192 if place.type == "cuda" else 1024
    with torch.inference_mode():
        x, weight = (torch.randn(size, size, device=place, dtype=torch.float32).to(dtype) for _ in range(2))
        products = (lambda: x @ weight, lambda: linear(x, weight))
        seconds = min(fastest(product, place, ROUNDS) for product in products)
    return 2 * size**3 / seconds


def memory_rate(device: torch.device | str) -> float:
    """Bytes per second that a copy larger than the caches reads and writes."""
    place = torch.device(device)
    source = torch.ones(1 << (30 if place.type == "cuda" else 26), dtype=torch.uint8, device=place)
    target = torch.empty_like(source)
    return 2 * source.nbytes / fastest(lambda: target.copy_(source), place, ROUNDS)


def draw(figures: dict[str, Any], title: str, path: Path) -> None:
    """Write the plot as PNG.

    Args:
        figures: result of `roofline`.
        title: line at the top.
        path: file to write.
    """
    from PIL import Image, ImageDraw, ImageFont

    matrix, memory = figures["matrix_tflops"] * 1e12, figures["memory_gb_s"] * 1e9
    ridge = matrix / memory
    lowest, highest = math.floor(math.log10(ridge)) - 2, math.floor(math.log10(ridge)) + 4
    top = math.ceil(math.log10(matrix) + 0.1)
    rows = 4  # decades

    def across(intensity: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log10(intensity) - lowest) / (highest - lowest)

    def down(rate: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (top - math.log10(rate)) / rows

    image = Image.new("RGB", (WIDTH, HEIGHT), BACKGROUND)
    pen, font, large = ImageDraw.Draw(image), ImageFont.load_default(15), ImageFont.load_default(19)
    pen.text((LEFT, 22), title, fill=INK, font=large)
    for power in range(lowest, highest + 1):
        pen.line([(across(10.0**power), TOP), (across(10.0**power), HEIGHT - BOTTOM)], fill=FAINT)
        pen.text((across(10.0**power) - 8, HEIGHT - BOTTOM + 8), _power(power), fill=ROOF, font=font)
    for power in range(top - rows, top + 1):
        pen.line([(LEFT, down(10.0**power)), (WIDTH - RIGHT, down(10.0**power))], fill=FAINT)
        pen.text((18, down(10.0**power) - 9), _rate(10.0**power), fill=ROOF, font=font)
    axis = "operations for each byte that has to move"
    pen.text((WIDTH - RIGHT - font.getlength(axis), HEIGHT - 34), axis, fill=ROOF, font=font)
    start = max(10.0**lowest, 10.0 ** (top - rows) / memory)
    roof = [(across(start), down(start * memory)), (across(ridge), down(matrix))]
    pen.line([*roof, (WIDTH - RIGHT, down(matrix))], fill=INK, width=3, joint="curve")
    ceilings = f"measured: {figures['dtype']} products {_rate(matrix)}, memory {memory / 1e9:.0f} GB/s"
    pen.text((LEFT + 12, TOP + 10), ceilings, fill=INK, font=font)
    for (name, part), colour in zip(figures["parts"].items(), COLOURS, strict=False):
        at = across(min(part["operations_a_byte"] or 10.0**highest, 10.0**highest))
        level = down(max(part["tflops"] * 1e12, 10.0 ** (top - rows)))
        pen.ellipse([at - 7, level - 7, at + 7, level + 7], fill=colour)
        text = f"{name}: {part['of_matrix_ceiling']:.0%} of the products' ceiling"
        wide = font.getlength(text)
        pen.text((min(at + 14, WIDTH - RIGHT - wide), level + 8), text, fill=colour, font=font)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def _beside(part: Part, matrix: float, memory: float) -> dict[str, Any]:
    moved = part.bytes_moved
    return {
        "ms": part.ms,
        "tflops": round(part.rate / 1e12, 4),
        "operations_a_byte": round(part.operations / moved, 1) if moved else None,
        "of_matrix_ceiling": round(part.rate / matrix, 4),
        "of_memory_ceiling": round(moved / (part.ms / 1e3) / memory, 4) if moved else None,
    }


def _power(power: int) -> str:
    return f"{10**power:g}" if -2 <= power <= 4 else f"1e{power}"


def _rate(rate: float) -> str:
    for size, unit in ((1e15, "POP/s"), (1e12, "TOP/s"), (1e9, "GOP/s")):
        if rate >= size:
            return f"{rate / size:.3g} {unit}"
    return f"{rate / 1e6:.3g} MOP/s"
