"""Tables of measured kernels on disk, one file for each device and version of PyTorch.

Nothing depends on them: a table that is absent, damaged or not writable costs only speed.
"""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import torch

from longlive_env.engine.kernel_table import Call, KernelTable, device_name, use_table
from longlive_env.engine.kernel_timing import OnCall, measure
from longlive_env.engine.weights import read_json
from longlive_env.engine.whole_files import write_whole
from longlive_env.engine.world_places import worlds_home
from longlive_env.errors import WeightsError

VERSION = 1

logger = logging.getLogger(__name__)


def table_file(device: torch.device) -> Path:
    """Path of a device's table, beside the worlds and their compiled code."""
    name = f"{device_name(device)} torch {torch.__version__}"
    return worlds_home() / "kernels" / (re.sub(r"[^\w.]+", "-", name) + ".json")


def use_kept_table(device: torch.device) -> None:
    """Choose kernels on a device by what earlier processes have measured there, if anything."""
    use_table(device, read_table(device))


def measure_and_keep(calls: list[Call], device: torch.device, on_call: OnCall | None = None) -> KernelTable:
    """Time the kernels of some calls, use the result from now on, and add it to the kept table.

    Args:
        calls: calls to time, see `kernel_timing`.
        device: device to time them on.
        on_call: callback after each call, given the number of calls done and in all.

    Returns:
        The table of what was measured now.
    """
    found, kept = measure(calls, device, on_call), read_table(device)
    whole = found if kept is None else kept.joined(found)
    use_table(device, whole)
    keep_table(device, whole)
    return found


def read_table(device: torch.device) -> KernelTable | None:
    """The kept table of a device; None if there is none, or it cannot be read."""
    file = table_file(device)
    try:
        return from_json(read_json(file)) if file.is_file() else None
    except (OSError, WeightsError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("%s is left out, kernels are chosen without it: %s", file, error)
        return None


def keep_table(device: torch.device, table: KernelTable) -> None:
    """Write the table of a device, if possible."""
    file = table_file(device)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(to_json(table), indent=2) + "\n")
    except OSError as error:
        logger.warning("measured kernels are not kept in %s: %s", file, error)


def to_json(table: KernelTable) -> dict[str, Any]:
    """A table as JSON values."""
    rows = [
        {
            "operation": call.operation,
            "dtype": call.dtype,
            "masked": call.masked,
            "sizes": list(call.sizes),
            "us": dict(times),
        }
        for call, times in table.us.items()
    ]
    return {"version": VERSION, "device": table.device, "torch": table.torch, "calls": rows}


def from_json(values: dict[str, Any]) -> KernelTable:
    """Read a table from what `to_json` returned.

    Raises:
        ValueError: the values are of another version, or damaged.
    """
    if values["version"] != VERSION:
        raise ValueError(f"it is of version {values['version']}; expected {VERSION}")
    us = {}
    for row in values["calls"]:
        sizes = tuple(map(int, row["sizes"]))
        if not sizes or min(sizes) < 1:
            raise ValueError(f"it has a call of sizes {row['sizes']}")
        call = Call(row["operation"], row["dtype"], sizes, bool(row["masked"]))
        us[call] = {str(name): float(time) for name, time in row["us"].items()}
    return KernelTable(str(values["device"]), str(values["torch"]), us)
