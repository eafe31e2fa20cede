"""`longlive bench` over a list of settings, each in a separate process with a time limit.

A setting that hangs, runs out of memory or breaks the device affects no other. Existing figures are not
measured again, unless they are of another machine, another table of kernels or other arguments. Failed
settings are tried again at the end, as they may have run out of time for a compilation that is now on disk. A
setting whose package is missing starts no process, now or later.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import kept
from child import LATE, run

from longlive_env.bench import BenchConfig, bench
from longlive_env.bench.opening import check
from longlive_env.provenance import provenance

LEAST_S = 15.0  # a setting is not started with less time
MESSAGE = 4096  # maximum characters of a failed setting's message
ATTENTION = ("cudnn", "sdpa-flash", "sdpa-efficient", "flash", "sdpa")  # the last is one of the others
Settings = dict[str, Any]  # arguments of BenchConfig


def speed_settings(small: bool) -> dict[str, Settings]:
    """Return settings by name, the most informative first, and those that take minutes to compile last."""
    if small:
        return {
            "off": {},
            "default": {"compile": "default"},
            "graphs": {"compile": "graphs"},
            "bf16": {"precision": "bf16"},
            "int8": {"precision": "int8"},
            "fp8": {"precision": "fp8"},
            "int8-weight-only": {"precision": "int8-weight-only"},
            "light codec": {"codec": "light"},
            "kv fp8": {"kv_precision": "fp8"},
            "attention matmul": {"attention": "matmul"},
            "merged": {"merge": True},
            "kernels not measured": {"measured": False},
        }
    light, wan = ({"codec": codec, "compile": "graphs"} for codec in ("light", "wan"))
    found: dict[str, Settings] = {  # the first compiles nothing, so there is a figure whatever happens
        "bf16, wan codec, off": {**wan, "compile": "off"},
        "bf16, light codec, graphs": light,
        "bf16, wan codec, graphs": wan,
        "bf16, wan codec, default": {**wan, "compile": "default"},
    }
    for precision in ("fp8", "int8", "int8-weight-only"):
        found[f"{precision}, wan codec, graphs"] = {**wan, "precision": precision}
    found["fp8, light codec, graphs"] = {**light, "precision": "fp8"}
    found["bf16, wan codec, graphs, kv fp8"] = {**wan, "kv_precision": "fp8"}
    found["bf16, light codec, graphs, kernels not measured"] = {**light, "measured": False}
    found["bf16, light codec, graphs, three projections"] = {**light, "merge": False}
    for fused in ("plain", "triton"):
        found[f"bf16, light codec, graphs, norms and cache {fused}"] = {**light, "fused": fused}
    for backend in ATTENTION:
        found[f"bf16, light codec, off, attention {backend}"] = {"codec": "light", "attention": backend}
    found["fp8, wan codec, off"] = {"codec": "wan", "precision": "fp8"}
    found["bf16, wan codec, max"] = {"codec": "wan", "compile": "max"}
    return found


def memory_settings() -> dict[str, Settings]:
    """Return one setting per device size, to compare prediction and measurement."""
    return {f"{size} GB": {"memory": size, "blocks": 3} for size in ("80", "40", "24", "12", "8")}


def sweep(
    settings: Mapping[str, Settings],
    base: BenchConfig,
    before: Mapping[str, Any],
    keep: Callable[[Mapping[str, Any]], None],
    *,
    deadline: float,
    limit_s: float,
) -> dict[str, Any]:
    """Measure each setting, until time is up.

    Args:
        settings: settings by name.
        base: base settings that they change.
        before: figures that this has returned or kept earlier.
        keep: called with all figures so far after every setting.
        deadline: time by `time.monotonic`; a setting still running then is aborted and counts as failed.
        limit_s: time limit of one setting.

    Returns:
        Figures by name, or the reason why there are none; each with its measurement conditions.
    """
    runs, here = dict(before), provenance(base.device)
    for name in sorted(settings, key=lambda name: _turn(before.get(name))):
        fields = {**vars(base), **settings[name]}
        stamp = {**here, "kernel_table": kept.table_told(BenchConfig(**fields))}
        if _is_measured(runs.get(name), stamp, fields):
            continue
        failure, left_s = _why_impossible(fields), deadline - time.monotonic()
        if failure is None and left_s < LEAST_S:
            continue
        limit, old = min(limit_s, left_s), runs.get(name)
        late = {"error": f"not done after {limit:.0f} s"}  # kept before, as this process may be ended, too
        runs[name] = _newer(old, {**stamp, **(failure or late)})
        keep(runs)
        if failure is None and (figures := _measured(fields, limit)) is not None:
            runs[name] = _newer(old, {**stamp, **figures})
            keep(runs)
    return runs


def _turn(figures: Mapping[str, Any] | None) -> int:
    """Order settings: those never tried first, then those that may need new figures, then failed ones."""
    return 0 if figures is None else 2 if {"error", "again"} & figures.keys() else 1


def _newer(figures: Mapping[str, Any] | None, attempt: Mapping[str, Any]) -> Mapping[str, Any]:
    """Replace earlier figures by an attempt; if it failed, keep them and note the reason under `again`."""
    if figures is None or "error" in figures or "error" not in attempt:
        return attempt
    return {**figures, "again": attempt["error"]}


def _is_measured(figures: Mapping[str, Any] | None, stamp: Mapping[str, Any], fields: Settings) -> bool:
    """Return whether there are figures of this machine, its current table of kernels, and these arguments."""
    if figures is None or "error" in figures or not kept.of_here(figures, stamp):
        return False
    return (figures["kernel_table"], figures["config"]) == (stamp["kernel_table"], fields)


def _why_impossible(fields: Settings) -> dict[str, Any] | None:
    """Return why a setting cannot run here, found without a process; None if it may."""
    try:
        check(BenchConfig(**fields))
    except Exception as problem:  # packages may raise anything on import
        return {"error": f"{type(problem).__name__}: {problem}"[:MESSAGE]}
    return None


def _measured(fields: Settings, limit_s: float) -> dict[str, Any] | None:
    """Return figures of a setting, or why there are none; None if it was not done in time."""
    done = run([sys.executable, __file__, json.dumps(fields)], limit_s)
    if done.returncode == LATE:
        return None
    if done.returncode:
        return {"error": done.stderr.strip()[-MESSAGE:] or "no message"}
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


if __name__ == "__main__":
    print(json.dumps(bench(BenchConfig(**json.loads(sys.argv[1])))))
