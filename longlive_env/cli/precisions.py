"""`longlive eval --precision`: the same evaluation in several precisions, side by side."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from longlive_env.cli.writable import check_writable

if TYPE_CHECKING:
    from longlive_env.engine.config import Precision
    from longlive_env.engine.world import World
    from longlive_env.evaluate import EvalConfig


def run(args: argparse.Namespace, config: EvalConfig) -> int:
    """Compare the precisions in `args.precision`, print the table, write precisions.json."""
    from longlive_env.engine.world import World
    from longlive_env.precisions import compare, table
    from longlive_env.provenance import files_digest, provenance

    file = args.out / "precisions.json"
    check_writable(file)

    def load(precision: Precision | None) -> World:
        return World.load(args.world, device=args.device, precision=precision)

    batches = -(-config.rollouts // config.batch)
    total = (1 + len(args.precision)) * batches * config.blocks
    with tqdm(total=total, desc="eval", unit="block", disable=None) as bar:

        def on_block(*_: object) -> None:
            bar.update()

        outcomes = compare(load, args.precision, config, on_block=on_block)
    print(table(outcomes))
    written: dict[str, Any] = {
        "world": args.world,
        "files_digest": files_digest(args.world),
        **provenance(args.device),
        "seed": args.seed,
        "precisions": [one.to_json() for one in outcomes],
    }
    file.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    print(f"report: {file}")
    return 0
