"""Start-up and memory of a world in a process that has done nothing else."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from typing import Any

from longlive_env.bench.blocks import first_block
from longlive_env.bench.config import BenchConfig
from longlive_env.bench.memory import peak_rss_mb
from longlive_env.bench.opening import Prompts, open_world
from longlive_env.errors import LongLiveError

FRESH = """
import json, sys, time
begin = time.perf_counter()
from longlive_env import World
imported = time.perf_counter()
from longlive_env.bench import fresh
print(json.dumps({"import_s": round(imported - begin, 3), **fresh.fresh_figures(json.loads(sys.argv[1]))}))
"""


def fresh_process(config: BenchConfig) -> dict[str, Any]:
    """Measure what a user waits for, and the memory of a running world, in a separate process."""
    arguments = json.dumps(dataclasses.asdict(config))
    done = subprocess.run([sys.executable, "-c", FRESH, arguments], capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise LongLiveError(f"the fresh process ended with status {done.returncode}: {reason}")
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def fresh_figures(values: dict[str, Any]) -> dict[str, float | None]:
    """Measure, in a fresh process, time to load and to the first block, and peak memory after six blocks."""
    config = BenchConfig(**values)
    config.use_threads()
    begin = time.perf_counter()
    world = open_world(config)
    loaded = time.perf_counter()
    rollout, first_ms = first_block(world, Prompts(world, config.batch))
    for _ in range(5):
        rollout.step()
    return {
        "load_s": round(loaded - begin, 3),
        "first_block_ms": round(first_ms, 2),
        "peak_rss_mb": peak_rss_mb(),
    }
