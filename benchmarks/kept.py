"""Results of all items in one file, and what each was measured with.

One file, as few may come back from a lent machine. An item is not measured again where its result is whole,
of this machine and version of torch, and of what is asked for now.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from longlive_env.bench import BenchConfig, weights_dtype, world_config
from longlive_env.engine.devices import usable
from longlive_env.engine.kernel_files import read_table
from longlive_env.engine.kernel_timing import world_calls
from longlive_env.engine.whole_files import in_one_step
from longlive_env.provenance import provenance

RESULTS = "results.json"
SAME = ("machine", "device", "torch")  # of figures that stand beside each other


def read(out: Path) -> dict[str, Any]:
    """What the items have written so far, by their names."""
    file = out / RESULTS
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


def keep(args: argparse.Namespace, item: str, result: Mapping[str, Any]) -> None:
    """Write the result of an item; the status of one that is not done is `LATE`."""
    stamp = {**provenance(args.device), "small": args.small, "blocks": args.blocks}
    args.out.mkdir(parents=True, exist_ok=True)
    with in_one_step(args.out / RESULTS) as aside:
        aside.write_text(json.dumps({**read(args.out), item: {**stamp, **result}}, indent=2) + "\n")


def earlier(args: argparse.Namespace, item: str, **asked: Any) -> dict[str, Any]:
    """The result of an item, if it is of this machine and of what is asked for; else an empty one.

    Args:
        args: with folder and device, and what every item is asked for.
        item: its name.
        asked: what else a result that names it has to be of.
    """
    result: dict[str, Any] = read(args.out).get(item, {})
    asked |= {"small": args.small, "blocks": args.blocks}
    agrees = all(result.get(name, value) == value for name, value in asked.items())
    return result if result and agrees and of_here(result, provenance(args.device)) else {}


def of_here(result: Mapping[str, Any], here: Mapping[str, Any]) -> bool:
    """Whether a result is of this machine and version of torch; each has the commit that it is of."""
    return all(result.get(name) == here[name] for name in SAME)


def table_told(config: BenchConfig) -> str | None:
    """A hash of what this machine's table of kernels tells about a world; None where it tells nothing.

    It does not change when the calls of other worlds are measured.
    """
    device = usable(config.device)
    table = read_table(device) if config.measured else None
    if table is None:
        return None
    calls = world_calls(world_config(config), device, weights_dtype(config), config.batch)
    told = [(call.kind, sorted(table.times(call).items())) for call in calls]
    if not any(times for _, times in told):
        return None
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]
