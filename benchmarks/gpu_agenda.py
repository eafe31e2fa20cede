"""What to run when a CUDA GPU is at hand, one resumable command an item, each with a limit and a folder.

Needs torch, numpy and safetensors alone (the item `tests` also pytest and hypothesis, `ablation` Pillow):

    PYTHONPATH=. python benchmarks/gpu_agenda.py all      --out OUT --minutes 20
    PYTHONPATH=. python benchmarks/gpu_agenda.py check    --out OUT
    PYTHONPATH=. python benchmarks/gpu_agenda.py tests    --out OUT --minutes 9
    PYTHONPATH=. python benchmarks/gpu_agenda.py kernels  --out OUT
    PYTHONPATH=. python benchmarks/gpu_agenda.py speed    --out OUT --minutes 9
    PYTHONPATH=. python benchmarks/gpu_agenda.py profile  --out OUT --compile graphs
    PYTHONPATH=. python benchmarks/gpu_agenda.py without  --out OUT --compile graphs
    PYTHONPATH=. python benchmarks/gpu_agenda.py memory   --out OUT
    PYTHONPATH=. python benchmarks/gpu_agenda.py endless  --out OUT --blocks 1000
    PYTHONPATH=. python benchmarks/gpu_agenda.py batch    --out OUT --minutes 3
    PYTHONPATH=. python benchmarks/gpu_agenda.py train    --out OUT --work WORK --minutes 9
    PYTHONPATH=. python benchmarks/gpu_agenda.py ablation --out OUT --work WORK --minutes 9

`all` runs every item but tests, training and ablation, one after the other, each in a process and with a
share of the time. `--small` takes the tiny world's sizes for those of the 1.3B world, to try a command out on
a CPU. Results are JSON, safetensors and one tar file, of less than 16 MiB each; what is there already is not
measured again, so OUT and WORK belong outside of whatever a machine wipes between two commands. `all` leaves
one file an item; where fewer come back, they go as one: `tar -cf results.tar -C OUT .`
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gpu_train
import torch
from child import LATE, end_with_children, in_one_step, run
from kernel_profile import profiled, wait
from sweep import memory_settings, speed_settings, sweep

from longlive_env.bench import BenchConfig, Prompts, bench, random_world, weights_dtype, world_config
from longlive_env.engine import linear
from longlive_env.engine.config import PRESETS, Positions
from longlive_env.engine.devices import usable
from longlive_env.engine.kernel_files import measure_and_keep, read_table, to_json, use_kept_table
from longlive_env.engine.kernel_table import use_table
from longlive_env.engine.kernel_timing import missing_calls
from longlive_env.engine.world import World
from longlive_env.provenance import provenance
from longlive_env.roofline import matrix_rate

TINY = "tiny"
CLOSE = 2e-2  # relative error of bfloat16 against float32 weights; 1.0e-2 on a CPU
MARGIN_S = 20  # for what an item has in hand when its share is over
MARGIN_OF_WHOLES_S = 90  # for an item that does not look at the time
WHOLES = ("check", "profile", "without")


def check(args: argparse.Namespace) -> dict[str, Any]:
    """Twenty blocks of the large world with one recache, and bfloat16 against float32 on the tiny sizes."""
    world = _large_world(args)
    prompts = Prompts(world, 1)
    rollout, finite, block_ms = world.start(**prompts.new()), True, []
    for block in range(args.blocks):
        if block == args.blocks // 2:
            rollout.switch_prompt(**prompts.new())
        begin = time.perf_counter()
        with torch.inference_mode():
            latents = rollout.step_latents()
            frames = rollout.decode(latents)
        block_ms.append(round((time.perf_counter() - begin) * 1e3, 1))
        finite = finite and bool(latents.isfinite().all()) and frames.float().std().item() > 0
    return {
        "finite": finite,
        "block_ms": block_ms,
        "relative_error_bf16": _precision_error(args.device),
        "close_enough": CLOSE,
        **_peak(args.device),
    }


def _precision_error(device: str) -> float:
    """Relative error of one block's flow in bfloat16, on the tiny world's weights."""
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        world = World.load("tiny", device=device, dtype=dtype)
        generator = torch.Generator().manual_seed(0)
        noisy = torch.randn(1, 3, *world.config.latent_shape, generator=generator).to(device, dtype)
        text = world.encode_prompt(["a red robot walks right through the city at night"])
        with torch.inference_mode():
            times = torch.full((1, 3), 750.0, device=device)
            results.append(world.transformer.forward_clip(noisy, times, text).float())
    return round(float((results[1] - results[0]).norm() / results[0].norm()), 6)


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Go on with the whole recipe for the tiny world; see `gpu_train`."""
    done = gpu_train.train(args.out, args.work, args.device, args.minutes, args.small)
    return {**done, **_peak(args.device)}


def ablation(args: argparse.Namespace) -> dict[str, Any]:
    """Go on with the ablation of the tiny world; see `gpu_ablation`."""
    import gpu_ablation  # which needs Pillow

    return gpu_ablation.ablation(args.out, args.work, args.device, args.minutes, TINY, args.small)


def speed(args: argparse.Namespace) -> dict[str, Any]:
    """`longlive bench` of the large world with random weights, in every setting, until time is up."""
    base = _base(args)
    return {"runs": _sweep(args, speed_settings(args.small), base, "speed.json")}


def memory(args: argparse.Namespace) -> dict[str, Any]:
    """Predicted and measured peaks in every memory mode."""
    runs = _sweep(args, memory_settings(), replace(_base(args), blocks=3), "memory.json")
    return {"runs": runs, "peaks_mb": {name: run.get("memory_mb", run) for name, run in runs.items()}}


def _base(args: argparse.Namespace) -> BenchConfig:
    name = TINY if args.small else "1.3b"
    return BenchConfig(name, args.device, random_weights=True, blocks=args.blocks, thorough=False)


def _sweep(args: argparse.Namespace, settings: Any, base: BenchConfig, name: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60 * args.minutes
    return sweep(settings, base, args.out / name, deadline=deadline, limit_s=60 * args.setting_minutes)


def kernels(args: argparse.Namespace) -> dict[str, Any]:
    """Every kernel for the calls of both worlds; what is timed after this chooses by the table."""
    tiny = BenchConfig(TINY, args.device, dtype="bfloat16", batch=2 if args.small else 16)
    device = usable(args.device)
    use_kept_table(device)
    for one in (_base(args), tiny):
        for call in missing_calls(world_config(one), device, weights_dtype(one), one.batch):
            measure_and_keep([call], device)  # one by one, so that time that runs out costs one
            _keep(args, "kernels", {"status": LATE, **_table(device)})
    return _table(device)


def _table(device: torch.device) -> dict[str, Any]:
    table = read_table(device)
    return {"table": to_json(table) if table else None}


def tests(args: argparse.Namespace) -> dict[str, Any]:
    """The tests that need a GPU, all that they print in `tests.txt`; on a CPU they are skipped."""
    files = sorted(Path("tests").rglob("test_*.py"))
    marked = [str(file) for file in files if "mark.gpu" in file.read_text()]
    command = [sys.executable, "-m", "pytest", "-v", "--tb=short", "-m", "gpu", "-p", "no:cacheprovider"]
    command += ["-n", "8"] if importlib.util.find_spec("xdist") else []
    command += ["--continue-on-collection-errors", *marked]  # without gymnasium some files cannot be read
    log = args.out / "tests.txt"
    done = run(command, 60 * args.minutes, log=log)
    return {"status": done.returncode, "tail": log.read_text(errors="replace").splitlines()[-30:]}


def endless(args: argparse.Namespace) -> dict[str, Any]:
    """Time and memory of a block after twenty and after many, under cache-relative positions."""
    deadline, times, bytes_there = time.monotonic() + 60 * args.minutes, [], []
    world = _large_world(args, rope="relative")
    world.compile(args.compile)
    rollout = world.start(**Prompts(world, 1).new())
    while len(times) < args.blocks and time.monotonic() < deadline:
        begin = time.perf_counter()
        with torch.inference_mode():
            rollout.step_latents()
        wait(args.device)
        times.append((time.perf_counter() - begin) * 1e3)
        cuda = torch.device(args.device).type == "cuda"
        bytes_there.append(torch.cuda.memory_allocated(args.device) if cuda else 0)
    early, late = (statistics.median(part or times) for part in (times[15:25], times[-10:]))
    return {
        "compile": args.compile,
        "blocks": len(times),
        "block_20_ms": round(early, 2),
        "last_ms": round(late, 2),
        "ratio": round(late / early, 4),
        "bytes_at_block_20": bytes_there[min(20, len(times) - 1)],
        "bytes_at_the_last": bytes_there[-1],
        "all_ms": [round(ms, 2) for ms in times],
    }


def profile(args: argparse.Namespace) -> dict[str, Any]:
    """Where the time of a steady block goes, by kind of kernel, beside the floor of its matrix products."""
    return _profile(args, chosen=True)


def without(args: argparse.Namespace) -> dict[str, Any]:
    """The same without choices: kernels by reasons, three projections, none of our own, plain layouts."""
    return _profile(args, chosen=False)


def _profile(args: argparse.Namespace, *, chosen: bool) -> dict[str, Any]:
    world = _large_world(args, chosen=chosen)
    world.compile(args.compile)
    rollout = world.start(**Prompts(world, 1).new())
    for _ in range(6):
        rollout.step()
    return {
        "compile": args.compile,
        **profiled(rollout.step, args.device),
        "matrix_tflops": round(matrix_rate(args.device, _large_dtype(args)) / 1e12, 3),
    }


def batch(args: argparse.Namespace) -> dict[str, Any]:
    """Frames a second of the tiny world over the number of worlds in a batch, until it stops growing."""
    deadline, found = time.monotonic() + 60 * args.minutes, {}
    for worlds in (2**power for power in range(11)):
        if time.monotonic() > deadline:
            break
        config = BenchConfig(TINY, args.device, batch=worlds, blocks=args.blocks, thorough=False)
        figures = _attempt(lambda c=config: bench(c))
        found[worlds] = figures.get("end_to_end", figures)
        _keep(args, "batch", {"status": LATE, "frames_per_second": found})
        fps = [one["fps"] for one in found.values() if "fps" in one]
        if len(fps) != len(found) or (len(fps) > 2 and fps[-1] < 1.05 * fps[-2]):
            break
    return {"frames_per_second": found}


def _large_dtype(args: argparse.Namespace) -> torch.dtype:
    return torch.float32 if args.small else torch.bfloat16


def _large_world(args: argparse.Namespace, *, chosen: bool = True, rope: Positions | None = None) -> World:
    """The large world as it is loaded on its device, or without what was chosen for that."""
    config = PRESETS["tiny" if args.small else "1.3b"].with_rope(rope)
    world = random_world(config, args.device, _large_dtype(args))
    if chosen:
        world.optimize()
    else:
        world.transformer.fuse("plain")
        use_table(world.device, None)
        linear.gelu_in_product = lambda dtype, device: False
    return world


def _attempt(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Figures, or why there are none: one failure must not cost the rest of the time."""
    try:
        return measure()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:500]}


def _peak(device: str) -> dict[str, float]:
    if torch.device(device).type != "cuda":
        return {}
    return {"peak_gpu_gb": round(torch.cuda.max_memory_allocated(device) / 1e9, 2)}


def _keep(args: argparse.Namespace, item: str, result: dict[str, Any]) -> None:
    """Write `ITEM.json`; the status of one that is not done is `LATE`."""
    _write(args.out / f"{item}.json", {**provenance(args.device), **result})


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with in_one_step(path) as aside:
        aside.write_text(json.dumps(content, indent=2) + "\n")


ITEMS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "check": check,
    "tests": tests,
    "kernels": kernels,
    "speed": speed,
    "profile": profile,
    "without": without,
    "memory": memory,
    "endless": endless,
    "batch": batch,
    "train": train,
    "ablation": ablation,
}
SHARES = {  # of the time of `all`, in this order
    "check": 0.05,
    "kernels": 0.07,
    "speed": 0.50,
    "profile": 0.06,
    "without": 0.06,
    "memory": 0.09,
    "endless": 0.12,
    "batch": 0.05,
}


def everything(args: argparse.Namespace) -> int:
    """All items but tests, training and ablation, each in a process that ends with its share of the time."""
    status, deadline = 0, time.monotonic() + 60 * args.minutes
    for item, share in SHARES.items():
        if item not in ("kernels", "speed", "memory") and _is_done(args.out / f"{item}.json"):
            continue
        left_s = deadline - time.monotonic()
        if left_s < 1:
            print(f"{item}: not begun, time is up", flush=True)
            status = status or LATE
            continue
        minutes = min(share * args.minutes, left_s / 60)
        command = [sys.executable, __file__, item, "--out", str(args.out), "--device", args.device]
        command += ["--minutes", f"{minutes:.2f}", "--setting-minutes", f"{args.setting_minutes}"]
        command += ["--compile", args.compile, *(["--small"] if args.small else [])]
        command += ["--blocks", str(args.blocks if item != "endless" else args.endless_blocks)]
        begin = time.monotonic()
        margin_s = MARGIN_OF_WHOLES_S if item in WHOLES else MARGIN_S
        done = run(command, min(60 * minutes + margin_s, left_s), quiet=False).returncode
        status = status or done
        print(f"{item}: status {done} after {time.monotonic() - begin:.0f} s", flush=True)
    return status


def _succeeded(result: dict[str, Any]) -> bool:
    """Whether what an item has written is what it is to show."""
    error = result.get("relative_error_bf16", 0.0)
    close = not math.isnan(error) and error < CLOSE
    return close and bool(result.get("finite", True)) and not result.get("status", 0)


def _is_done(file: Path) -> bool:
    return file.exists() and _succeeded(json.loads(file.read_text()))


def main(argv: list[str] | None = None) -> int:
    """Run one item and write `ITEM.json`, or all of them."""
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
    parser.add_argument("--endless-blocks", type=int, default=1000, help="of the item endless, in `all`")
    parser.add_argument("--compile", default="off", choices=("off", "default", "graphs", "max"))
    parser.add_argument("--small", action="store_true", help="the tiny world's sizes throughout")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    args.work = args.work or args.out
    args.work.mkdir(parents=True, exist_ok=True)
    if args.item == "all":
        return everything(args)
    result = ITEMS[args.item](args)
    _keep(args, args.item, result)
    print(json.dumps(result, indent=2, default=str)[:6000])
    return 0 if _succeeded(result) else 1


if __name__ == "__main__":
    end_with_children()
    raise SystemExit(main())
