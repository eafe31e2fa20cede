"""Results of all items in one file, with the conditions of each measurement.

One file is used because a borrowed machine may return only a few. An item is not measured again if its result
is complete and of this GPU or machine, this version of torch, and the current request.
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
SAME = ("device", "torch")  # must agree between compared figures, and see `_computer`


def read(out: Path) -> dict[str, Any]:
    """Read the results of all items so far, by name."""
    file = out / RESULTS
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


def keep(args: argparse.Namespace, item: str, result: Mapping[str, Any]) -> None:
    """Write the result of an item; an unfinished item has the status `LATE`."""
    stamp = {**provenance(args.device), "small": args.small, "blocks": args.blocks}
    args.out.mkdir(parents=True, exist_ok=True)
    with in_one_step(args.out / RESULTS) as aside:
        aside.write_text(json.dumps({**read(args.out), item: {**stamp, **result}}, indent=2) + "\n")


def earlier(args: argparse.Namespace, item: str, **asked: Any) -> dict[str, Any]:
    """Return the result of an item if it fits this machine and the request; otherwise an empty one.

    Args:
        args: folder, device, and arguments that apply to every item.
        item: name of the item.
        asked: further values that have to agree if the result contains them.
    """
    result: dict[str, Any] = read(args.out).get(item, {})
    asked |= {"small": args.small, "blocks": args.blocks}
    agrees = all(result.get(name, value) == value for name, value in asked.items())
    return result if result and agrees and of_here(result, provenance(args.device)) else {}


def of_here(result: Mapping[str, Any], here: Mapping[str, Any]) -> bool:
    """Return whether a result is of this GPU, or machine without one, and of this version of torch.

    Commits may differ.
    """
    same = all(result.get(name) == here[name] for name in SAME)
    return same and _computer(result.get("machine", {})) == _computer(here["machine"])


def _computer(machine: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what figures depend on: the GPU, whichever machine it is lent in, or else the whole machine."""
    return {name: machine[name] for name in ("gpu", "cuda")} if "gpu" in machine else machine


def table_told(config: BenchConfig) -> str | None:
    """Return a hash of the entries for a world in this machine's table of kernels; None if there are none.

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
