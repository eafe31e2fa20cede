"""What to run when a CUDA GPU is at hand, one resumable command an item, each with a limit and a folder.

Needs torch, numpy and safetensors alone:

    PYTHONPATH=. python benchmarks/gpu_agenda.py check   --out OUT
    PYTHONPATH=. python benchmarks/gpu_agenda.py train   --out OUT --minutes 9
    PYTHONPATH=. python benchmarks/gpu_agenda.py speed   --out OUT --minutes 9
    PYTHONPATH=. python benchmarks/gpu_agenda.py profile --out OUT
    PYTHONPATH=. python benchmarks/gpu_agenda.py batch   --out OUT --minutes 3

`--small` takes the tiny world's sizes for those of the 1.3B world, to try a command out on a CPU. Results are
JSON and safetensors of less than 16 MiB each; what is there already is not measured again.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from longlive_env.bench import BenchConfig, Prompts, bench
from longlive_env.engine.config import PRESETS, WorldConfig
from longlive_env.engine.world import World
from longlive_env.provenance import provenance

CLOSE = 2e-2  # relative error of bfloat16 against float32 weights; 1.0e-2 on a CPU
RECACHE_AT = 10
KINDS = ("attention", "linear", "norm", "conv", "copy")  # of kernels, by words in their names
WORDS = {
    "attention": ("attention", "flash", "sdp", "fmha"),
    "linear": ("gemm", "addmm", "linear", "matmul", "::mm", "cutlass", "nvjet"),
    "norm": ("norm",),
    "conv": ("conv",),
    "copy": ("copy", "memcpy", "cat"),
}


def check(args: argparse.Namespace) -> dict[str, Any]:
    """Twenty blocks of the large world with one recache, and bfloat16 against float32 on the tiny sizes."""
    config = _large(args.small)
    dtype = torch.float32 if args.small else torch.bfloat16
    world = World.from_config(config, device=args.device, dtype=dtype, text_encoder=False)
    prompts = Prompts(world, 1)
    rollout, finite, block_ms = world.start(**prompts.new()), True, []
    for block in range(args.blocks):
        if block == args.blocks // 2:
            rollout.switch_prompt(**prompts.new())
        begin = time.perf_counter()
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
    """Go on with the tiny world's causal stage, and leave a world folder whose files travel."""
    from longlive_env.training import TrainConfig, make_stage
    from longlive_env.training import train as run
    from longlive_env.training.export import export_world

    scale = 1 if args.small else 8  # a GPU takes batches that a CPU cannot
    options: dict[str, Any] = {"start": "tiny", "codec": "tiny", "bank": str(args.work / "bank")}
    counts = {"openings": 4, "beginnings": 2, "later": 2, "switches": 4}
    options |= {name: scale * count for name, count in counts.items()}
    options |= (
        {"takes": 50, "switch_takes": 50, "held_out": 50}
        if args.small
        else {"takes": 3000, "switch_takes": 6000}
    )
    stage = make_stage("causal", **options, restored_share=0.5)
    stage.optimisation = replace(stage.optimisation, lr=args.lr)
    folder = args.work / "causal"
    limits = {"minutes": args.minutes, "steps": 2 if args.small else None}
    run(stage, TrainConfig(out=folder, device=args.device, autocast="bf16", evaluate_s=1e9, **limits))
    codec = args.work / "codec.safetensors"
    _write_codec(codec)
    export_world(folder / "weights.safetensors", codec, args.out / "world")
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {"steps": rows[-1]["step"], "last": rows[-1], **_peak(args.device)}


def _write_codec(path: Path) -> None:
    """The shipped codec as the export takes it."""
    from longlive_env.engine.config import to_dict
    from longlive_env.training.checkpoint import save_tensors

    world = World.load("tiny")
    about = {"stage": "codec", "describe": {"codec": to_dict(world.config.codec)}}
    save_tensors(path, world.codec.state_dict(), about)


def speed(args: argparse.Namespace) -> dict[str, Any]:
    """`longlive bench` of the large world with random weights: codecs and precisions, until time is up."""
    deadline, done = time.monotonic() + 60 * args.minutes, _known(args.out / "speed.json")
    for name, settings in _speed_settings(args.small):
        if name in done or time.monotonic() > deadline:
            continue
        base = BenchConfig(
            "tiny" if args.small else "1.3b", args.device, random_weights=True, blocks=args.blocks
        )
        done[name] = _attempt(lambda s=settings, b=base: bench(replace(b, **s)))
        _write(args.out / "speed.json", {**provenance(args.device), "runs": done})
    return {"runs": done}


def _speed_settings(small: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    codecs = (None,) if small else ("wan", "light")
    for precision in ("bf16", "fp8", "int8", "int8-weight-only"):
        for codec in codecs:
            yield f"{precision}, {codec or 'own'} codec", {"precision": precision, "codec": codec}


def profile(args: argparse.Namespace) -> dict[str, Any]:
    """Where the time of a steady block goes, by kind of kernel, beside the floor of its matrix products."""
    config = _large(args.small)
    dtype = torch.float32 if args.small else torch.bfloat16
    world = World.from_config(config, device=args.device, dtype=dtype, text_encoder=False)
    rollout = world.start(**Prompts(world, 1).new())
    for _ in range(6):
        rollout.step()
    cuda = torch.device(args.device).type == "cuda"
    activities = [torch.profiler.ProfilerActivity.CPU]
    if cuda:
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    begin = time.perf_counter()
    with torch.profiler.profile(activities=activities) as recorded:
        rollout.step()
    wall_ms = (time.perf_counter() - begin) * 1e3
    events = [(one.key, _own_ms(one, cuda)) for one in recorded.key_averages()]
    kinds = dict.fromkeys((*KINDS, "other"), 0.0)
    for name, ms in events:
        kinds[_kind(name)] += ms
    top = sorted(events, key=lambda event: -event[1])[:25]
    return {
        "wall_ms": round(wall_ms, 2),
        "busy_ms": round(sum(kinds.values()), 2),
        "by_kind_ms": {name: round(ms, 2) for name, ms in kinds.items()},
        "top_ms": {name: round(ms, 3) for name, ms in top},
        "matrix_tflops": _matrix_rate(args.device, dtype),
    }


def _own_ms(event: Any, cuda: bool) -> float:
    return float(event.self_device_time_total if cuda else event.self_cpu_time_total) / 1e3


def _kind(name: str) -> str:
    lowered = name.lower()
    return next((kind for kind in KINDS if any(word in lowered for word in WORDS[kind])), "other")


def _matrix_rate(device: str, dtype: torch.dtype) -> float:
    """Measured TFLOP/s of a large matrix product."""
    size = 8192 if torch.device(device).type == "cuda" else 512
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    for _ in range(3):
        a @ b
    _wait(device)
    begin, rounds = time.perf_counter(), 20
    for _ in range(rounds):
        a @ b
    _wait(device)
    return round(rounds * 2 * size**3 / (time.perf_counter() - begin) / 1e12, 2)


def batch(args: argparse.Namespace) -> dict[str, Any]:
    """Frames a second of the tiny world over the number of worlds in a batch, until it stops growing."""
    deadline, found = time.monotonic() + 60 * args.minutes, {}
    for worlds in (2**power for power in range(11)):
        if time.monotonic() > deadline:
            break
        config = BenchConfig("tiny", args.device, batch=worlds, blocks=args.blocks)
        figures = _attempt(lambda c=config: bench(c))
        found[worlds] = figures.get("end_to_end", figures)
        fps = [one["fps"] for one in found.values() if "fps" in one]
        if len(fps) != len(found) or (len(fps) > 2 and fps[-1] < 1.05 * fps[-2]):
            break
    return {"frames_per_second": found}


def _large(small: bool) -> WorldConfig:
    return PRESETS["tiny" if small else "1.3b"]


def _attempt(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Figures, or why there are none: one failure must not cost the rest of the time."""
    try:
        return measure()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:500]}


def _peak(device: str) -> dict[str, float]:
    if torch.device(device).type != "cuda":
        return {}
    return {"peak_gpu_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2)}


def _wait(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def _known(path: Path) -> dict[str, Any]:
    runs: dict[str, Any] = json.loads(path.read_text())["runs"] if path.exists() else {}
    return {name: figures for name, figures in runs.items() if "error" not in figures}


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


ITEMS = {"check": check, "train": train, "speed": speed, "profile": profile, "batch": batch}


def main(argv: list[str] | None = None) -> int:
    """Run one item and write `ITEM.json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("item", choices=ITEMS)
    parser.add_argument("--out", type=Path, required=True, help="results")
    parser.add_argument("--work", type=Path, help="checkpoints and encoded takes; OUT by default")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--small", action="store_true", help="the tiny world's sizes throughout")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    args.work = args.work or args.out
    args.work.mkdir(parents=True, exist_ok=True)
    result = ITEMS[args.item](args)
    _write(args.out / f"{args.item}.json", {**provenance(args.device), **result})
    print(json.dumps(result, indent=2, default=str)[:6000])
    errors = result.get("relative_error_bf16", 0.0)
    return 0 if result.get("finite", True) and not math.isnan(errors) and errors < CLOSE else 1


if __name__ == "__main__":
    raise SystemExit(main())
