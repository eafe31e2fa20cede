"""Profile of some work: its time by kind of kernel."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.autograd import DeviceType

TEMPLATES = ("triton_tem_", "triton_mm", "triton_conv")  # kernels that PyTorch generates around a product
KINDS = ("attention", "conv", "linear", "norm", "cache", "copy")  # of kernels, by words in their names
WORDS = {
    "attention": ("attention", "flash", "sdp", "fmha"),
    "conv": ("conv", "fprop", "dgrad", "wgrad", "implicit_gemm"),  # before gemms, which these consist of
    "linear": ("gemm", "addmm", "_mm", "linear", "matmul", "::mm", "cutlass", "nvjet"),
    "norm": ("norm", "rotat", "complex"),  # and rotations
    "cache": ("index_put", "index_copy", "scatter"),  # what writes keys and values
    "copy": ("copy", "memcpy", "cat"),
}


def profiled(work: Callable[[], object], device: str) -> dict[str, Any]:
    """Return milliseconds of some work: wall clock, kernels by kind, and the longest kernels.

    `busy_ms` is the time in which any kernel ran, and `gap_ms` the rest, in which the device waited for the
    host. The sum of all kernels is `kernels_ms`: more than that where two ran at once.
    """
    cuda = torch.device(device).type == "cuda"
    activities = [torch.profiler.ProfilerActivity.CPU]
    if cuda:
        activities.append(torch.profiler.ProfilerActivity.CUDA)
        with torch.profiler.profile(activities=activities):  # the first use of a GPU's tracing takes its time
            work()
            wait(device)
    wait(device)
    with torch.profiler.profile(activities=activities) as recorded:
        begin = time.perf_counter()
        work()
        wait(device)
        wall_ms = (time.perf_counter() - begin) * 1e3
    events = [(one.key, _own_ms(one, cuda)) for one in recorded.key_averages() if _counts(one, cuda)]
    kinds = dict.fromkeys((*KINDS, "other"), 0.0)
    for name, ms in events:
        kinds[kind_of(name)] += ms
    spans = [(one.time_range.start, one.time_range.end) for one in recorded.events() if _counts(one, cuda)]
    busy_ms = covered(spans) / 1e3
    top = sorted(events, key=lambda event: -event[1])[:25]
    return {
        "wall_ms": round(wall_ms, 2),
        "busy_ms": round(busy_ms, 2),
        "gap_ms": round(max(0.0, wall_ms - busy_ms), 2),
        "kernels_ms": round(sum(kinds.values()), 2),
        "by_kind_ms": {name: round(ms, 2) for name, ms in kinds.items()},
        "top_ms": {name: round(ms, 3) for name, ms in top},
    }


def kind_of(name: str) -> str:
    """Return the kind of a kernel by its name."""
    lowered = name.lower().replace("bilinear", "")
    if lowered.startswith("triton_") and not lowered.startswith(TEMPLATES):
        known = ("norm", "cache")  # names include the operations around them
        return next((kind for kind in known if any(word in lowered for word in WORDS[kind])), "other")
    return next((kind for kind in KINDS if any(word in lowered for word in WORDS[kind])), "other")


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return the length of the union of spans."""
    total, until = 0.0, -math.inf
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


def wait(device: str) -> None:
    """Wait until a device has finished all issued work."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def _counts(event: Any, cuda: bool) -> bool:
    """Return whether an event is a kernel; on CUDA, surrounding operators and marks also carry its time."""
    marked = getattr(event, "is_user_annotation", False)
    return not cuda or (event.device_type != DeviceType.CPU and not marked)


def _own_ms(event: Any, cuda: bool) -> float:
    return float(event.self_device_time_total if cuda else event.self_cpu_time_total) / 1e3
