"""Update the computed tables of docs/performance.md: operations, bytes and memory of the presets.

python benchmarks/cost_model.py            # rewrites the tables in place
python benchmarks/cost_model.py --check    # writes nothing, and fails if they are outdated
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from longlive_env.engine.config import PRESETS, LightVAEConfig, WorldConfig
from longlive_env.engine.cost import BlockCost, Operations, block_cost, denoise_operations, recache_operations
from longlive_env.engine.footprint import footprint
from longlive_env.engine.memory import GIB, budget, plan

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- computed: {} -->", "<!-- end -->"


def operations() -> str:
    """Return the operations of the passes of a block, by part."""
    passes: dict[str, Operations] = {}
    for name in ("1.3b", "tiny"):
        config = PRESETS[name]
        passes[f"{name}: denoising pass"] = denoise_operations(config)
        passes[f"{name}: recache"] = recache_operations(config)
    parts = [field.name for field in dataclasses.fields(Operations)]
    rows = [
        [part.replace("_", " "), *(_ops(getattr(one, part)) for one in passes.values())] for part in parts
    ]
    return _table(["part", *passes], [*rows, ["one pass", *(_ops(one.total) for one in passes.values())]])


def block() -> str:
    """Return the cost of a block, and its operations per byte."""
    costs = {
        "1.3b, Wan VAE": block_cost(PRESETS["1.3b"]),
        "1.3b, light codec": block_cost(_light(PRESETS["1.3b"])),
        "tiny (float32)": block_cost(PRESETS["tiny"], torch.float32),
    }

    def row(name: str, cost: BlockCost) -> list[str]:
        linear = cost.steps * cost.denoise.linear + cost.remember.linear
        return [
            name,
            _ops(cost.transformer),
            f"{linear / cost.transformer:.0%}",
            _ops(cost.decode),
            f"{cost.transformer_bytes / 1e9:.2f} GB",
            f"{cost.transformer / cost.transformer_bytes:,.0f}",
        ]

    head = ["world", "transformer", "of it linear", "decode", "bytes of the passes", "operations a byte"]
    return _table(head, [row(name, cost) for name, cost in costs.items()])


def memory() -> str:
    """Return the bytes that each part takes."""
    worlds = {"1.3b, Wan VAE": PRESETS["1.3b"], "1.3b, light codec": _light(PRESETS["1.3b"])}
    found = {name: footprint(config) for name, config in worlds.items()}
    found["tiny (float32)"] = footprint(PRESETS["tiny"], torch.float32)
    names = [f.name for f in dataclasses.fields(next(iter(found.values()))) if "layer" not in f.name]
    rows = [
        [name.replace("_", " "), *(f"{getattr(one, name) / 1e6:,.1f}" for one in found.values())]
        for name in names
    ]
    return _table(["MB", *found], rows)


def plans() -> str:
    """Return which arrangement fits where."""
    rows = []
    for size in ("80", "40", "24", "12", "8"):
        for states in (1, 2):
            one = plan(PRESETS["1.3b"], budget(size), states=states)
            peaks = [f"{peak / GIB:.1f}" for peak in (one.running_bytes, one.encoding_bytes)]
            rows.append([size, str(states), one.arrangement, *peaks])
    head = ["GiB", "states", "arrangement", "peak while running", "peak while encoding a prompt"]
    return _table(head, rows)


TABLES = {"operations": operations, "block": block, "memory": memory, "plans": plans}


def rewrite(text: str, tables: Iterable[str] = tuple(TABLES)) -> str:
    """Replace the computed tables of a page."""
    for name in tables:
        before, mark, rest = text.partition(BEGIN.format(name))
        _, end, after = rest.partition(END)
        assert mark and end, f"the page has no place for {name}"
        text = f"{before}{mark}\n{TABLES[name]()}\n{end}{after}"
    return text


def _light(config: WorldConfig) -> WorldConfig:
    return dataclasses.replace(config, codec=LightVAEConfig())


def _ops(count: int) -> str:
    return f"{count / 1e12:.2f} T" if count >= 1e11 else f"{count / 1e9:.2f} G"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, see the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing, and fail where a table is out of step"
    )
    args = parser.parse_args(argv)
    before = PAGE.read_text(encoding="utf-8")
    after = rewrite(before)
    if args.check:
        return int(after != before)
    PAGE.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
