"""Which kernel runs a call fastest on this machine, as measured.

A table belongs to a device and a version of PyTorch. `kernel_timing` makes it, `kernel_files` stores it, and
`use_table` activates it, before a world is compiled. Code with a choice of kernels looks up a call's times,
and falls back on rules of its own if there are none.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Call:
    """A call that several kernels can run.

    Attributes:
        operation: name of the operation, such as "attention".
        dtype: type of its tensors, such as "bfloat16".
        sizes: sizes that its time depends on; the last is a width, which a kernel supports or not.
        masked: whether it has a mask.
    """

    operation: str
    dtype: str
    sizes: tuple[int, ...]
    masked: bool = False

    @property
    def kind(self) -> tuple[object, ...]:
        """Key under which calls share times: all sizes but the width round to the nearest power of two."""
        *sizes, width = self.sizes
        powers = tuple(round(math.log2(size)) for size in sizes)
        return (self.operation, self.dtype, self.masked, *powers, width)


@dataclass(frozen=True, eq=False)
class KernelTable:
    """Times of some calls by kernel.

    Attributes:
        device: name of the device, see `device_name`.
        torch: version of PyTorch.
        us: for each call, microseconds by kernel that could run it.
    """

    device: str
    torch: str
    us: Mapping[Call, Mapping[str, float]]

    @functools.cached_property
    def _by_kind(self) -> dict[tuple[object, ...], Mapping[str, float]]:
        return {call.kind: times for call, times in self.us.items()}

    def times(self, call: Call) -> Mapping[str, float]:
        """Microseconds by kernel for a call of this kind; empty if none was measured."""
        return self._by_kind.get(call.kind, {})

    def joined(self, newer: KernelTable) -> KernelTable:
        """This table updated with a newer one of the same device and version."""
        kinds = {call.kind for call in newer.us}
        kept = {call: times for call, times in self.us.items() if call.kind not in kinds}
        return KernelTable(newer.device, newer.torch, {**kept, **newer.us})


def device_name(device: torch.device) -> str:
    """Name of what a device's times depend on: a GPU's model, or a CPU's vector width and threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"CPU {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"
    return device.type


_tables: dict[torch.device, KernelTable] = {}


def use_table(device: torch.device, table: KernelTable | None) -> None:
    """Choose kernels on a device by a table from now on; None goes back to rules."""
    if table is None:
        _tables.pop(device, None)
    else:
        _tables[device] = table


def table_of(device: torch.device) -> KernelTable | None:
    """The table in use on a device."""
    return _tables.get(device)
