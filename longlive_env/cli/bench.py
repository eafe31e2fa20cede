"""`longlive bench`: measure a world's speed and memory."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from tqdm import tqdm

from longlive_env.cli.parser import Parser
from longlive_env.cli.world_device import add_device_option, chosen_device
from longlive_env.cli.world_options import add_world_options, asked_codec
from longlive_env.cli.writable import check_writable
from longlive_env.engine.config import Backend
from longlive_env.provenance import hardware, provenance

if TYPE_CHECKING:
    from longlive_env.bench import BenchConfig

Figures = dict[str, Any]


def main(argv: Sequence[str]) -> int:
    """Parse the arguments, measure, print the table."""
    parser = _parser()
    args = parser.parse_args(argv)
    if not args.env and (args.batches is not None or args.task is not None):
        parser.error("--batches and --task belong to --env")
    if args.env + args.viewer + args.kernels > 1:
        parser.error("--env, --viewer and --kernels are measurements of their own; run them one by one")
    if args.env and args.batch != 1:
        parser.error("with --env the numbers of worlds are --batches")
    from longlive_env.bench import BenchConfig

    args.device = _device(args)
    config = BenchConfig(
        world=args.world,
        device=args.device,
        dtype=args.dtype,
        codec=asked_codec(args),
        random_weights=args.random_weights,
        batch=args.batch,
        blocks=args.blocks,
        threads=args.threads,
        precision=args.precision,
        kv_precision=args.kv_precision,
        memory=args.memory,
        compile=args.compile or "off",
        steps=args.steps,
        rope=args.rope,
        attention=args.attention,
        size=args.size,
        layers=args.layers,
    )
    if args.out is not None:
        if args.out.is_dir():
            parser.error(f"{args.out} is a folder; --out takes a file")
        check_writable(args.out)
    measured, formatted = _measure(args, config)
    figures = {**provenance(args.device), **measured}
    print(formatted(figures))
    if args.out is not None:
        _write(figures, args.out)
    return 0


def _measure(args: argparse.Namespace, config: BenchConfig) -> tuple[Figures, Callable[[Figures], str]]:
    """Measure what the arguments ask for; returns the figures, and the function that formats them."""
    from longlive_env.bench import bench
    from longlive_env.bench.env import EnvBenchConfig, bench_env
    from longlive_env.bench.kernels import bench_kernels
    from longlive_env.bench.viewer import bench_viewer

    if args.env:
        batches = {} if args.batches is None else {"batches": tuple(args.batches)}
        env_config = EnvBenchConfig(config, task=args.task, **batches)
        with _bar("step", env_config.steps) as bar:
            return bench_env(env_config, on_step=bar.update), env_table
    if args.kernels:
        with _bar("call") as bar:
            return bench_kernels(config, on_call=lambda done, total: _show(bar, done, total)), kernel_table
    if args.viewer:
        with _bar("key", config.blocks) as bar:
            return bench_viewer(config, on_change=bar.update), viewer_table
    with _bar("block", config.blocks) as bar:
        return bench(config, on_block=bar.update), table


def _bar(unit: str, total: int | None = None) -> tqdm[NoReturn]:
    return tqdm(total=total, desc="bench", unit=unit, disable=None)


def _write(figures: Figures, path: Path) -> None:
    """Write figures as JSON, and their roofline beside it as a picture."""
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(f"report: {path}")
    if figures.get("roofline"):
        from longlive_env.roofline import draw

        picture = path.with_suffix(".png")
        draw(figures["roofline"], title(figures), picture)
        print(f"roofline: {picture}")


def table(figures: Figures) -> str:
    """Format the figures as text."""
    config, fresh, switch = figures["config"], figures["fresh_process"], figures["prompt_switch"]
    memory = figures["memory_mb"]
    text = "" if figures["text_encoder"] else ", text encoding not included"

    def rate(name: str) -> str:
        fps, block = figures[name]["fps"], figures[name]["block_ms"]
        return f"{fps:8.1f} FPS   block {block['median']:.1f} ms, p95 {block['p95']:.1f}"

    rows = [
        (f"end to end, with {figures['codec']}", rate("end_to_end")),
        *([("the same, a block ahead", rate("stream"))] if "stream" in figures else []),
        ("transformer only", rate("transformer")),
        ("decode only", rate("decode")),
        ("first block after start", f"{figures['first_block_ms']:8.1f} ms"),
        (
            "prompt switch to frames",
            f"{switch['to_frames_ms']:8.1f} ms    recache {switch['recache_ms']:.1f}{text}",
        ),
        ("snapshot in a viewer", f"{figures['keep_ms']:8.1f} ms"),
        ("import (fresh process)", f"{fresh['import_s']:8.2f} s"),
        (
            "load (fresh process)",
            f"{fresh['load_s']:8.2f} s     then first block {fresh['first_block_ms']:.0f} ms",
        ),
    ]
    if fresh["peak_rss_mb"] is not None:
        rows.append(("peak memory (fresh process)", f"{fresh['peak_rss_mb']:8.0f} MB"))
    if figures["memory_plan"]:
        rows.append(("memory", figures["memory_plan"]))
    for name, what in (
        ("default_precision", f"precision {config['precision']}"),
        ("uncompiled", f"compile {config['compile']}"),
    ):
        if name in figures:
            whole, transformer = (figures[name][part]["speedup"] for part in ("end_to_end", "transformer"))
            verdict = "SLOWER than the default here" if whole < 1 else "faster than the default"
            rows.append((what, f"{whole:8.2f} x    {verdict}, transformer alone {transformer:.2f} x"))
    if config["compile"] != "off":
        rows.append(("warm-up", f"{figures['warm_up_s']:8.1f} s"))
    if "measured" in memory:
        error = memory["predicted"] / memory["measured"] - 1
        predicted = f"predicted {memory['predicted']:.0f} ({error:+.0%})"
        rows.append(("peak GPU memory", f"{memory['measured']:8.0f} MB    {predicted}"))
    if figures["roofline"]:
        ceiling = f"of the {figures['roofline']['matrix_tflops']:.3g} TOP/s of large matrix products"
        for name, part in figures["roofline"]["parts"].items():
            rows.append((f"{name}, operations", f"{part['of_matrix_ceiling']:8.1%}       {ceiling}"))
    return "\n".join([title(figures), *(f"  {name:<28} {value}" for name, value in rows)])


def title(figures: Figures) -> str:
    """Say what was measured, and where."""
    config, on = figures["config"], hardware(figures["machine"])
    weights = "random weights" if config["random_weights"] else "its weights"
    worlds = "1 world" if config["batch"] == 1 else f"{config['batch']} worlds in a batch"
    return f"{config['world']} with {weights}, {worlds}, {figures['device']} ({on}), torch {figures['torch']}"


def env_table(figures: Figures) -> str:
    """Format the figures of envs as text."""
    config, on = figures["config"]["base"], hardware(figures["machine"])
    task = figures["config"]["task"]
    title = (
        f"envs of {config['world']}{f', task {task}' if task else ''}, {figures['device']} ({on}), "
        f"torch {figures['torch']}; rates are those of all worlds"
    )
    head = f"  {'env':<16}{'worlds':>7}{'steps/s':>9}{'frames/s':>10}{'ms/world':>10}"
    head += f"{'outside':>9}{'switch':>10}{'clone':>10}{'restore':>10}{'state':>11}"
    lines = [
        f"  {row['env']:<16}{row['worlds']:>7}{row['steps_per_s']:>9.2f}{row['frames_per_s']:>10.1f}"
        f"{row['ms_a_world']:>10.1f}{row['outside_engine']:>9.1%}{row['switch_step_ms']:>7.0f} ms"
        f"{row['clone_ms']:>7.0f} ms{row['restore_ms']:>7.0f} ms{row['state_mb']:>8.1f} MB"
        for row in figures["envs"]
    ]
    return "\n".join([title, head, *lines])


def viewer_table(figures: Figures) -> str:
    """Format the figures of the viewer as text."""
    config, on = figures["config"]["base"], hardware(figures["machine"])
    rows = [
        ("key to first new frame", "latency_ms"),
        ("  the picture stands still", "still_ms"),
        ("  generating its block", "block_ms"),
        ("  of it, recache", "recache_ms"),
    ]
    width, height = figures["config"]["size"]
    title = (
        f"{config['world']} in the viewer, {width}x{height}, {figures['device']} ({on}), "
        f"torch {figures['torch']}; {config['blocks']} prompt switches at random moments"
    )
    lines = [
        f"  {name:<28} median {figures[key]['median']:7.1f} ms   worst {figures[key]['worst']:7.1f} ms"
        for name, key in rows
    ]
    return "\n".join([title, *lines, f"  {'picture':<28} {figures['picture_fps']:14.1f} FPS"])


def kernel_table(figures: Figures) -> str:
    """Format the times of kernels as text, with the fastest marked."""
    found = figures["table"]
    names = list(dict.fromkeys(name for row in found["calls"] for name in row["us"]))
    lines = [
        f"us a call on {found['device']}, torch {found['torch']}; * is the fastest",
        f"  {'call':<52}" + "".join(f"{name:>13}" for name in names),
    ]
    for row in found["calls"]:
        sizes = " x ".join(map(str, row["sizes"]))
        call = f"{row['operation']} {sizes} {row['dtype']}{' masked' if row['masked'] else ''}"
        best = min(row["us"], key=row["us"].__getitem__, default=None)
        times = (
            f"{row['us'][name]:>12.1f}{'*' if name == best else ' '}" if name in row["us"] else f"{'-':>12} "
            for name in names
        )
        lines.append(f"  {call:<52}" + "".join(times))
    return "\n".join([*lines, f"kept in {figures['file']}"] if figures["file"] else lines)


def _show(bar: Any, done: int, total: int) -> None:
    bar.total = total
    bar.update(done - bar.n)


def _parser() -> Parser:
    parser = Parser(
        "longlive bench",
        "Measure FPS end to end and by part, latencies, loading time and memory.",
        (
            "longlive bench --world tiny --out benchmarks/results/tiny-cpu.json",
            "longlive bench --world 1.3b --random-weights --device cuda --compile graphs --blocks 100",
            "longlive bench --world 1.3b --random-weights --size 96x64 --layers 2 --codec light --blocks 2",
            "longlive bench --env --batches 1 4 16",
            "longlive bench --viewer",
            "longlive bench --kernels --world 1.3b --random-weights --device cuda",
        ),
    )
    parser.add_argument("--world", default="tiny", help="name of a world or folder of weights (tiny)")
    parser.add_argument("--random-weights", action="store_true", help="a preset's sizes with random weights")
    parser.add_argument(
        "--size",
        type=_rows_and_columns,
        metavar="WxH",
        help="pixels of the --random-weights world, such as 96x64 (default: the preset's)",
    )
    parser.add_argument(
        "--layers", type=int, metavar="N", help="layers of the --random-weights world (default: the preset's)"
    )
    add_device_option(parser)
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help="type of the weights")
    add_world_options(parser)
    parser.add_argument(
        "--attention",
        choices=get_args(Backend),
        default="auto",
        help="kernel of the transformer's attention (auto)",
    )
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="worlds that run together (1)")
    parser.add_argument(
        "--blocks",
        type=int,
        default=20,
        metavar="N",
        help="blocks, or keys with --viewer, that are timed (20)",
    )
    parser.add_argument(
        "--env", action="store_true", help="time envs, single and batched, instead of the engine"
    )
    parser.add_argument(
        "--viewer", action="store_true", help="time the viewer: from a key to the first frame that obeys it"
    )
    parser.add_argument(
        "--kernels",
        action="store_true",
        help="time every kernel for this world's calls and keep the table that kernels are chosen by",
    )
    parser.add_argument(
        "--batches", type=int, nargs="+", metavar="N", help="worlds of the vector envs (1 2 4 8 16 32)"
    )
    parser.add_argument("--task", help="task of the envs, such as goal (none)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: torch's choice)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="write the figures as JSON, and their roofline as PNG beside it",
    )
    return parser


def _device(args: argparse.Namespace) -> str:
    """Return the device; a reduced world runs on a CPU by default."""
    if args.size is not None or args.layers is not None:
        return args.device or "cpu"
    return chosen_device(args.world, args.device, random_weights=args.random_weights)


def _rows_and_columns(text: str) -> tuple[int, int]:
    """Parse rows and columns of "96x64"."""
    width, cross, height = text.partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; give width and height, such as 96x64")
    return int(height), int(width)
