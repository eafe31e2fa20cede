"""What to run when a CUDA GPU is available: one resumable command per item, each with a time limit.

Needs only torch, numpy and safetensors (the item `tests` also pytest and hypothesis, `ablation` Pillow):

    PYTHONPATH=. python3 benchmarks/gpu_agenda.py all      --out OUT --minutes 9
    PYTHONPATH=. python3 benchmarks/gpu_agenda.py tests    --out OUT --minutes 9
    PYTHONPATH=. python3 benchmarks/gpu_agenda.py check    --out OUT
    PYTHONPATH=. python3 benchmarks/gpu_agenda.py kernels  --out OUT
    PYTHONPATH=. python3 benchmarks/gpu_agenda.py speed    --out OUT --minutes 9
    PYTHONPATH=. python3 benchmarks/gpu_agenda.py profile  --out OUT
    PYTHONPATH=. python3 benchmarks/gpu_agenda.py without  --out OUT
    PYTHONPATH=. python3 benchmarks/gpu_agenda.py memory   --out OUT
    PYTHONPATH=. python3 benchmarks/gpu_agenda.py take     --out OUT --blocks 300
    PYTHONPATH=. python3 benchmarks/gpu_agenda.py endless  --out OUT --blocks 1000
    PYTHONPATH=. python3 benchmarks/gpu_agenda.py batch    --out OUT --minutes 3
    PYTHONPATH=. python3 benchmarks/gpu_agenda.py train    --out OUT --work WORK --minutes 9
    PYTHONPATH=. python3 benchmarks/gpu_agenda.py ablation --out OUT --work WORK --minutes 9

`all` runs every item but tests, training and ablation, one after the other, each in a separate process with
its share of all time or, if more, of the remaining time. Nine minutes fit into a call of ten. `--small` uses
the tiny world's sizes instead of those of the 1.3B world, to try out a command on a CPU. `profile`,
`without`, `take` and `endless` run as `--compile` says, by default captured in graphs on CUDA and uncompiled
on a CPU; `batch` runs uncompiled first, and then so.

All results are in OUT/results.json, the output of tests in OUT/tests.txt, beside the files of `train` and
`ablation`, all smaller than 16 MiB. Existing results of this machine and these arguments are not measured
again. If a machine keeps nothing between calls, first copy earlier results into OUT, run
`all --out OUT --minutes 9`, and copy OUT back. The item `kernels` then restores the times in OUT, so that the
figures of all calls are based on the same table. Compiled code is below LONGLIVE_HOME (or
TORCHINDUCTOR_CACHE_DIR, if set) and can be copied likewise. `docs/gpu-log.md` lists the commands.

LONGLIVE_COMMIT names the commit of the results if there is no git history.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpu_train
import kept
import torch
from child import LATE, end_with_children, run
from large_world import CLOSE, check, endless, large_config, peak, profile, take, without
from sweep import memory_settings, speed_settings, sweep

from longlive_env.bench import BenchConfig, bench, weights_dtype, world_config
from longlive_env.engine.devices import usable
from longlive_env.engine.kernel_files import (
    from_json,
    keep_table,
    measure_and_keep,
    read_table,
    to_json,
    use_kept_table,
)
from longlive_env.engine.kernel_table import device_name
from longlive_env.engine.kernel_timing import missing_calls
from longlive_env.provenance import provenance

TINY = "tiny"
BEGIN_S = 25.0  # an item of `all` is not started with less time
START_S = 10.0  # for an item to start and to end
MARGIN_S = 20  # for an item to finish what it is doing when its share is over
MARGIN_OF_WHOLES_S = 90  # for an item that does not check the time
WHOLES = ("check", "kernels", "profile", "without")
GROWING = ("kernels", "speed", "memory")  # always started, as they know what is missing
SETTING_S = 60.0  # minimum time of a setting, however small the share


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Continue the training of the tiny world; see `gpu_train`."""
    done = gpu_train.train(
        args.out, args.work, args.device, args.minutes, args.small, args.stages, args.start
    )
    return {**done, **peak(args.device)}


def ablation(args: argparse.Namespace) -> dict[str, Any]:
    """Continue the ablation of the tiny world; see `gpu_ablation`."""
    import gpu_ablation  # needs Pillow

    return gpu_ablation.ablation(args.out, args.work, args.device, args.minutes, TINY, args.small)


def speed(args: argparse.Namespace) -> dict[str, Any]:
    """Run `longlive bench` of the large world with random weights, in every setting, until time is up."""
    return _sweep(args, "speed", speed_settings(args.small), large_config(args))


def memory(args: argparse.Namespace) -> dict[str, Any]:
    """Measure predicted and actual peaks in every memory mode."""
    found = _sweep(args, "memory", memory_settings(), large_config(args))
    return {**found, "peaks_mb": {name: run.get("memory_mb", run) for name, run in found["runs"].items()}}


def _sweep(args: argparse.Namespace, item: str, settings: Any, base: BenchConfig) -> dict[str, Any]:
    """Measure settings, each for at most half the share, or a minute, so that a hanging one leaves time."""
    runs = sweep(
        settings,
        base,
        kept.read(args.out).get(item, {}).get("runs", {}),
        lambda runs: kept.keep(args, item, {"status": LATE, "runs": runs}),
        deadline=time.monotonic() + 60 * args.minutes,
        limit_s=min(60 * args.setting_minutes, max(60 * args.minutes / 2, SETTING_S)),
    )
    here = provenance(args.device)
    tried = {name for name, run in runs.items() if kept.of_here(run, here) or "again" in run}
    left = [name for name in settings if name not in tried]
    return {**({"status": LATE, "left": left} if left else {}), "runs": runs}


def kernels(args: argparse.Namespace) -> dict[str, Any]:
    """Time every kernel for the calls of both worlds; later items choose by this table."""
    tiny = BenchConfig(TINY, args.device, dtype="bfloat16", batch=2 if args.small else 16)
    device = usable(args.device)
    _restore_table(args.out, device)
    use_kept_table(device)
    for one in (large_config(args), tiny):
        for call in missing_calls(world_config(one), device, weights_dtype(one), one.batch):
            measure_and_keep([call], device)  # one by one, so that running out of time costs only one
            kept.keep(args, "kernels", {"status": LATE, **_table(device)})
    return _table(device)


def _table(device: torch.device) -> dict[str, Any]:
    table = read_table(device)
    return {"table": to_json(table) if table else None}


def _restore_table(out: Path, device: torch.device) -> None:
    """Restore the table stored with the results, if it is of this device and there is none here."""
    values = kept.read(out).get("kernels", {}).get("table")
    if values is None or read_table(device) is not None:
        return
    with contextlib.suppress(ValueError):  # a table of another version is measured again
        table = from_json(values)
        if (table.device, table.torch) == (device_name(device), torch.__version__):
            keep_table(device, table)


def tests(args: argparse.Namespace) -> dict[str, Any]:
    """Run the tests that need a GPU, with their output in `tests.txt`; on a CPU they are skipped."""
    files = sorted(Path("tests").rglob("test_*.py"))
    marked = [str(file) for file in files if "mark.gpu" in file.read_text()]
    command = [sys.executable, "-m", "pytest", "-v", "--tb=short", "-m", "gpu", "-p", "no:cacheprovider"]
    command += ["-n", "8"] if importlib.util.find_spec("xdist") else []
    command += ["--continue-on-collection-errors", *marked]  # without gymnasium some files cannot be imported
    log = args.out / "tests.txt"
    done = run(command, 60 * args.minutes, log=log)
    return {"status": done.returncode, "tail": log.read_text(errors="replace").splitlines()[-30:]}


def batch(args: argparse.Namespace) -> dict[str, Any]:
    """Measure frames per second of the tiny world by compile mode and batch size, until they stop growing."""
    deadline = time.monotonic() + 60 * args.minutes
    stamp = {"compile": args.compile}
    found = kept.earlier(args, "batch").get("frames_per_second", {})
    for mode in dict.fromkeys(("off", args.compile)):
        by_worlds = found.setdefault(mode, {})
        for worlds in (2**power for power in range(11)):
            fps = [one["fps"] for one in by_worlds.values() if "fps" in one]
            if len(fps) != len(by_worlds) or (len(fps) > 2 and fps[-1] < 1.05 * fps[-2]):
                break
            if str(worlds) in by_worlds:
                continue
            if time.monotonic() > deadline:
                return {"status": LATE, **stamp, "frames_per_second": found}
            config = BenchConfig(
                TINY, args.device, batch=worlds, blocks=args.blocks, compile=mode, thorough=False
            )
            figures = _attempt(lambda c=config: bench(c))
            by_worlds[str(worlds)] = figures.get("end_to_end", figures)
            kept.keep(args, "batch", {"status": LATE, **stamp, "frames_per_second": found})
    return {**stamp, "frames_per_second": found}


def _attempt(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return figures, or why there are none: one failure must not cost the rest of the time."""
    try:
        return measure()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:500]}


ITEMS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "check": check,
    "tests": tests,
    "kernels": kernels,
    "speed": speed,
    "profile": profile,
    "without": without,
    "memory": memory,
    "take": take,
    "endless": endless,
    "batch": batch,
    "train": train,
    "ablation": ablation,
}
SHARES = {  # of the time of `all`, in this order
    "check": 0.05,
    "kernels": 0.07,
    "speed": 0.42,
    "profile": 0.06,
    "without": 0.06,
    "memory": 0.09,
    "take": 0.10,
    "endless": 0.10,
    "batch": 0.05,
}


def everything(args: argparse.Namespace) -> int:
    """Run all items but tests, training and ablation, each in a process limited to its share of the time."""
    status, deadline, items = 0, time.monotonic() + 60 * args.minutes, list(SHARES)
    for position, item in enumerate(items):
        left = [one for one in items[position:] if not _is_done(_asked(args, one), one)]
        if item not in left:
            continue
        left_s = deadline - time.monotonic()
        if left_s < MARGIN_S + BEGIN_S:
            print(f"{item}: not begun, {max(left_s, 0):.0f} s are left", flush=True)
            status = status or LATE
            continue
        share_s = _share_s(left, left_s, 60 * args.minutes)
        begin = time.monotonic()
        margin_s = MARGIN_OF_WHOLES_S if item in WHOLES else MARGIN_S
        done = run(_command(_asked(args, item), item, share_s), min(share_s + margin_s, left_s), quiet=False)
        status = status or done.returncode
        print(f"{item}: status {done.returncode} after {time.monotonic() - begin:.0f} s", flush=True)
    return status


def _share_s(left: list[str], left_s: float, all_s: float) -> float:
    """Return seconds for the next item: its share of all time or, if more, of the remaining time.

    This leaves enough for the others to start.
    """
    free_s = left_s - MARGIN_S
    share = SHARES[left[0]]
    fair_s = max(share * all_s, share / sum(SHARES[item] for item in left) * free_s)
    return max(BEGIN_S, min(fair_s, free_s - (BEGIN_S + START_S) * (len(left) - 1)))


def _asked(args: argparse.Namespace, item: str) -> argparse.Namespace:
    """Return the arguments of `all` for one item."""
    lengths = {"take": args.take_blocks, "endless": args.endless_blocks}
    return argparse.Namespace(**{**vars(args), "blocks": lengths.get(item, args.blocks)})


def _command(args: argparse.Namespace, item: str, share_s: float) -> list[str]:
    command = [sys.executable, __file__, item, "--out", str(args.out), "--device", args.device]
    command += ["--minutes", f"{share_s / 60:.2f}", "--setting-minutes", f"{args.setting_minutes}"]
    command += ["--compile", args.compile, "--blocks", str(args.blocks)]
    return [*command, "--small"] if args.small else command


def _succeeded(result: dict[str, Any]) -> bool:
    """Return whether an item has written a successful result."""
    error = result.get("relative_error_bf16", 0.0)
    close = not math.isnan(error) and error < CLOSE
    return close and bool(result.get("finite", True)) and not result.get("status", 0)


def _is_done(args: argparse.Namespace, item: str) -> bool:
    """Return whether an item has a complete result of this machine and these arguments."""
    if item in GROWING:
        return False
    table = kept.table_told(large_config(args))
    result = kept.earlier(args, item, compile=args.compile, kernel_table=table)
    return bool(result) and _succeeded(result)


def main(argv: list[str] | None = None) -> int:
    """Run one item, or all of them, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("item", choices=("all", *ITEMS))
    parser.add_argument("--out", type=Path, required=True, help="results")
    parser.add_argument("--work", type=Path, help="checkpoints and encoded takes; OUT by default")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument(
        "--setting-minutes", type=float, default=6.0, help="for one setting of speed or memory"
    )
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--take-blocks", type=int, default=300, help="of the item take, in `all`")
    parser.add_argument("--endless-blocks", type=int, default=1000, help="of the item endless, in `all`")
    parser.add_argument(
        "--compile", choices=("off", "default", "graphs", "max"), help="graphs by default; off without CUDA"
    )
    stages = [step.stage for step in gpu_train.STEPS]
    parser.add_argument("--stages", nargs="+", choices=stages, default=gpu_train.ONWARD, help="of train")
    parser.add_argument("--start", default=gpu_train.NEWEST, help="world that training starts from")
    parser.add_argument("--small", action="store_true", help="the tiny world's sizes throughout")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    args.work = args.work or args.out
    args.work.mkdir(parents=True, exist_ok=True)
    on_cuda = torch.device(args.device).type == "cuda"
    args.compile = args.compile or ("graphs" if on_cuda else "off")  # as during play
    if args.item == "all":
        return everything(args)
    result = ITEMS[args.item](args)
    kept.keep(args, args.item, result)
    print(json.dumps(result, indent=2, default=str)[:6000])
    return 0 if _succeeded(result) else result.get("status") or 1


if __name__ == "__main__":
    end_with_children()
    raise SystemExit(main())
