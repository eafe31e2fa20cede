"""`longlive bench` over a list of settings, each in a process of its own with a time limit.

A setting that hangs, runs out of memory or breaks the device costs itself and nothing else. What is in the
file already is not measured again, unless it comes from another machine; what failed is tried again at the
end, as it may have lacked a package, or the time for a compilation that is on the disk by now.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from child import LATE, in_one_step, run

from longlive_env.bench import BenchConfig, bench
from longlive_env.provenance import provenance

SAME = ("machine", "device", "torch")  # of figures that stand beside each other
MESSAGE = 4096  # characters of what a setting that failed had to say
Settings = dict[str, Any]  # arguments of BenchConfig


def speed_settings(small: bool) -> dict[str, Settings]:
    """By name, the most telling first, and last what takes minutes to compile."""
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
    light = {"codec": "light", "compile": "graphs"}
    found: dict[str, Settings] = {"bf16, light codec, graphs": light}
    for mode in ("graphs", "off", "default"):
        found[f"bf16, wan codec, {mode}"] = {"codec": "wan", "compile": mode}
    for precision in ("fp8", "int8", "int8-weight-only"):
        found[f"{precision}, wan codec, graphs"] = {
            "codec": "wan",
            "compile": "graphs",
            "precision": precision,
        }
    found["fp8, light codec, graphs"] = {"codec": "light", "compile": "graphs", "precision": "fp8"}
    found["bf16, wan codec, graphs, kv fp8"] = {"codec": "wan", "compile": "graphs", "kv_precision": "fp8"}
    found["bf16, light codec, graphs, kernels not measured"] = {**light, "measured": False}
    found["bf16, light codec, graphs, three projections"] = {**light, "merge": False}
    for fused in ("plain", "triton"):
        found[f"bf16, light codec, graphs, norms and cache {fused}"] = {**light, "fused": fused}
    for backend in ("sdpa", "sdpa-flash", "sdpa-efficient", "cudnn", "flash"):
        found[f"bf16, light codec, off, attention {backend}"] = {"codec": "light", "attention": backend}
    found["fp8, wan codec, off"] = {"codec": "wan", "precision": "fp8"}
    found["bf16, wan codec, max"] = {"codec": "wan", "compile": "max"}
    return found


def memory_settings() -> dict[str, Settings]:
    """One for each size of a device: the prediction beside what was measured."""
    return {f"{size} GB": {"memory": size, "blocks": 3} for size in ("80", "40", "24", "12", "8")}


def sweep(
    settings: Mapping[str, Settings], base: BenchConfig, file: Path, *, deadline: float, limit_s: float
) -> dict[str, Any]:
    """Measure each setting, until time is up.

    Args:
        settings: by name.
        base: what they change.
        file: JSON that grows with every setting.
        deadline: of `time.monotonic`, after which no further one begins.
        limit_s: for one setting.

    Returns:
        Figures of each by name, or the reason why there are none.
    """
    runs: dict[str, Any] = json.loads(file.read_text())["runs"] if file.exists() else {}
    here = provenance(base.device)
    for name, setting in sorted(settings.items(), key=lambda one: "error" in runs.get(one[0], ())):
        if _from(here, runs.get(name)) or time.monotonic() > deadline:
            continue
        fields = {**vars(base), **setting}
        left_s = max(deadline - time.monotonic(), 1.0)
        figures = _measured(fields, min(limit_s, left_s))
        if figures is None and left_s < limit_s:
            break  # it did not have its time; the next run may give it that
        runs[name] = {**here, **(figures or {"error": f"not done after {limit_s:.0f} s"})}
        file.parent.mkdir(parents=True, exist_ok=True)
        with in_one_step(file) as aside:
            aside.write_text(json.dumps({**here, "runs": runs}, indent=2) + "\n")
    return runs


def _from(here: Mapping[str, Any], figures: Mapping[str, Any] | None) -> bool:
    """Whether there are figures of this machine and version of torch; each has the commit that it is of."""
    if figures is None or "error" in figures:
        return False
    return all(figures.get(name) == here[name] for name in SAME)


def _measured(fields: Settings, limit_s: float) -> dict[str, Any] | None:
    """Figures of a setting, or why there are none; None where it was not done in time."""
    command = [sys.executable, __file__, json.dumps(fields)]
    done = run(command, limit_s)
    if done.returncode == LATE:
        return None
    if done.returncode:
        return {"error": done.stderr.strip()[-MESSAGE:] or "no message"}
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


if __name__ == "__main__":
    print(json.dumps(bench(BenchConfig(**json.loads(sys.argv[1])))))
