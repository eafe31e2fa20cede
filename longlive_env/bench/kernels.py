"""The fastest kernel on this machine for each kind of call of a world; later worlds choose by this."""

from __future__ import annotations

from typing import Any

from longlive_env.bench.config import BenchConfig, weights_dtype, world_config
from longlive_env.engine.devices import usable
from longlive_env.engine.kernel_files import measure_and_keep, table_file, to_json
from longlive_env.engine.kernel_timing import OnCall, world_calls


def bench_kernels(config: BenchConfig, on_call: OnCall | None = None) -> dict[str, Any]:
    """Time every kernel that can run a world's calls, and keep the table.

    Args:
        config: world, device, dtype of the weights, batch and threads; no weights are loaded.
        on_call: called after each kind of call, with the numbers of finished and of all kinds.

    Returns:
        JSON values: the times by kernel, and the file that stores them, None if it cannot be written.
    """
    config.use_threads()
    device = usable(config.device)
    calls = world_calls(world_config(config), device, weights_dtype(config), config.batch)
    table = measure_and_keep(calls, device, on_call)
    file = table_file(device)
    return {"table": to_json(table), "file": str(file) if file.is_file() else None}
