"""`longlive eval`: measure how well a world follows its prompts."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from tqdm import tqdm

from longlive_env.cli import ablation, precisions
from longlive_env.cli.parser import Parser, as_seed
from longlive_env.cli.world_device import add_device_option, chosen_device
from longlive_env.cli.writable import check_writable
from longlive_env.engine.config import Precision

if TYPE_CHECKING:
    from torch import Tensor

    from longlive_env.engine.world import World
    from longlive_env.evaluate import EvalConfig, Measure, Report, Trial
    from longlive_env.intervals import Estimate
    from longlive_env.long_take import LongTake

BELOW_A_BAR = 1
PICTURED = 10  # rollouts on the contact sheet
HEADINGS = {
    "prompt": "blocks that show the prompt, before the switch",
    "after": "third block after the switch shows the prompt",
    "soon": "second block after the switch, attributes",
    "switch": "third block after the switch, attributes",
    "probe": "probe on rendered held-out scenes",
    "few": "blocks that show what a prompt of few words means",
    "edit": "third block after a change in few words",
}


def main(argv: Sequence[str]) -> int:
    """Parse the arguments, evaluate, print the table; status 1 if a bar is missed."""
    parser = _parser()
    args = parser.parse_args(argv)
    _check(parser, args)
    import torch

    from longlive_env.engine.world import World
    from longlive_env.evaluate import EvalConfig, evaluate
    from longlive_env.long_take import check_length
    from longlive_env.provenance import files_digest, provenance
    from longlive_env.short_prompts import evaluate_short, short_config

    config = EvalConfig(args.rollouts, args.blocks, args.batch, args.seed, args.rendered)
    if args.long:
        check_length(args.long)  # before anything is measured
    args.device = chosen_device(args.world, args.device)
    if args.ablation:
        return ablation.run(args, config)
    if args.precision:
        return precisions.run(args, config)
    report_file, sheet_file = args.out / "report.json", args.out / "sheet.png"
    check_writable(report_file, sheet_file)
    dtype = args.dtype and getattr(torch, args.dtype)
    world = World.load(args.world, device=args.device, dtype=dtype, steps=args.steps)
    pictures = _Pictures(f"{args.world}: prompts and what became of them")
    few = short_config(config)
    total = -(-config.rollouts // config.batch) * (config.blocks + few.blocks)
    with tqdm(total=total, desc="eval", unit="block", disable=None) as bar:

        def on_block(batch: list[Trial], block: int, frames: Tensor) -> None:
            pictures.add(batch, block, block >= config.switch, frames)
            bar.update()

        report = evaluate(world, config, on_block=on_block)
        short = evaluate_short(world, few, on_block=lambda *_: bar.update())
    written = {
        "world": args.world,
        "files_digest": files_digest(args.world),
        "fingerprint": world.fingerprint,
        "dtype": str(next(world.transformer.parameters()).dtype).removeprefix("torch."),
        "steps": len(world.config.sampler.steps),
        **provenance(args.device),
        "seed": args.seed,
        **report.to_json(),
        "short_prompts": [measure.to_json() for measure in short],
    }
    print(table(report))
    print("\n".join(_rows(short)))
    if args.by_value:
        print(value_table(report))
    _write(report_file, written)
    pictures.save(sheet_file, world.config.block_seconds)
    if args.long:
        rollouts = args.long_rollouts or args.rollouts
        written["long_take"] = _long_take(world, config, args.long, rollouts).to_json()
        _write(report_file, written)
    print(f"report: {report_file}\nsheet:  {sheet_file}")
    return 0 if report.passed else BELOW_A_BAR


def _check(parser: Parser, args: argparse.Namespace) -> None:
    """Check that no option would be ignored."""
    if args.ablation and args.precision:
        parser.error("--ablation and --precision are two measurements; run them one after the other")
    for name in ("docs", "other", "only"):
        if getattr(args, name) and not args.ablation:
            parser.error(f"--{name} belongs to --ablation")
    without = {"precision": ("dtype", "long", "by_value", "steps"), "ablation": ("by_value", "steps")}
    for chosen, ignored in without.items():
        for name in ignored:
            if getattr(args, chosen) and getattr(args, name) != parser.get_default(name):
                parser.error(f"--{name.replace('_', '-')} has no part in --{chosen}; leave it out")
    if args.long_rollouts is not None and not args.long:
        parser.error("--long-rollouts goes with --long SECONDS")
    if args.long_rollouts is not None and args.long_rollouts < 1:
        parser.error(f"--long-rollouts is {args.long_rollouts}; expected at least 1")


def _long_take(world: World, config: EvalConfig, seconds: float, rollouts: int) -> LongTake:
    """Measure long takes and print the results."""
    from longlive_env.long_take import long_take

    with tqdm(desc="long takes", unit="block", disable=None) as bar:
        result = long_take(
            world,
            seconds,
            rollouts=rollouts,
            batch=config.batch,
            seed=config.seed,
            on_block=lambda *_: bar.update(),
        )
    print(long_table(result))
    return result


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def table(report: Report) -> str:
    """Format the report as text, see `_rows`."""
    curve = " ".join(f"{share:.0%}" for share in report.after_switch)
    after = f"changed attribute shown, block by block after the switch: {curve}"
    return "\n".join([*_rows(report.measures)[1:], "", after])


def _rows(measures: Sequence[Measure]) -> list[str]:
    """Format shares with their 95 % intervals, bars and targets; each group begins with a blank line."""
    lines, group = list[str](), None
    for one in measures:
        if one.group != group:
            group = one.group
            heading = f"{HEADINGS[group]:<50} {'share':>6}  {'95 % interval':<17}"
            lines += ["", f"{heading} {'bar':>5} {'':<8} {'target':>6}"]
        low, high = one.value.interval
        row = f"  {one.name:<48} {one.value.share:6.1%}  {low:6.1%} to {high:6.1%} "
        for goal, reached in ((one.bar, one.passed), (one.target, one.on_target)):
            row += " " * 15 if goal is None else f" {goal:5.0%} {'reached' if reached else 'MISSED':<8}"
        lines.append(row.rstrip())
    return lines


def value_table(report: Report) -> str:
    """Format the values of each attribute as text, and what the probe reads instead."""
    lines = []
    for name, values in report.by_value.items():
        lines += [
            "",
            f"{name + ', by value asked for':<24} {'share':>6}  {'95 % interval':<17} {'of':>3}  read as",
        ]
        for one in values:
            if one.value is None:
                lines.append(f"  {one.asked:<22} {'-':>6}  {'':<17} {0:>3}")
                continue
            low, high = one.value.interval
            others = ", ".join(f"{other} {share:.0%}" for other, share in list(one.read_as.items())[:3])
            row = f"  {one.asked:<22} {one.value.share:6.1%}  {low:6.1%} to {high:6.1%} {one.value.count:>3}"
            lines.append(f"{row}  {others}".rstrip())
    return "\n".join(lines)


def long_table(result: LongTake) -> str:
    """Format long takes as text."""
    from longlive_env.long_take import DRIFTING, FALL_TARGET, MOTION_TARGET, STATISTICS
    from longlive_env.tiny.scene import ATTRIBUTES

    lines = [
        f"{result.rollouts} takes of {result.seconds:.0f} s, one prompt each",
        f"  {'':<14} {'first 10 s':>10} {'last 10 s':>10}   fall in points, target at most {FALL_TARGET:g}",
    ]
    for name in ATTRIBUTES:
        shares, fall = (result.share(name, 0).share, result.share(name, -1).share), result.fall(name)
        reached = "reached" if fall.value <= FALL_TARGET else "MISSED"
        lines.append(
            f"  {name:<14} {shares[0]:>10.1%} {shares[1]:>10.1%}   {fall.value:+5.1f}{_ends(fall)}  {reached}"
        )
    lines.append(f"  {'':<14} {'':>10} {'':>10}   relative change")
    for name in STATISTICS:
        ends = [result.statistic(name, window).value for window in (0, -1)]
        change = result.change(name).scaled(100)
        lines.append(
            f"  {name:<14} {ends[0]:>10.3f} {ends[1]:>10.3f}   {change.value:+5.1f} %{_ends(change)}"
        )
    drift, rendered = result.drift.scaled(100), result.rendered_drift.scaled(100)
    lines.append(f"  drift of a take in {', '.join(DRIFTING)}: {drift.value:.1f} %{_ends(drift)}")
    lines.append(f"  drift of the scenes as they would be rendered: {rendered.value:.1f} %{_ends(rendered)}")
    ratio, most = result.motion_ratio, MOTION_TARGET
    reached = "reached" if abs(ratio.value - 1) <= most else "MISSED"
    target = f"target {1 - most:g} to {1 + most:g}"
    lines.append(f"  motion / rendered motion: {ratio.value:.2f}{_ends(ratio)}  {target}  {reached}")
    return "\n".join(lines)


def _ends(value: Estimate) -> str:
    if value.interval is None:
        return ""
    low, high = value.interval
    return f" ({low:.3g} to {high:.3g})"


class _Pictures:
    """A frame of each block of the first rollouts, at places that rotate: motions repeat once a block."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._frames: dict[
            int, list[tuple[str, Tensor, float]]
        ] = {}  # seed of the rollout -> prompt, frame of each block, and where it ends in blocks

    def add(self, batch: list[Trial], block: int, switched: bool, frames: Tensor) -> None:
        from longlive_env.recording.sheet import STRIDE

        place = STRIDE * block % frames.shape[1]
        ends = block + (place + 1) / frames.shape[1]
        for row, one in enumerate(batch):
            if one.seed in self._frames or len(self._frames) < PICTURED:
                kept = self._frames.setdefault(one.seed, [])
                kept.append((one.prompts[switched], frames[row, place : place + 1].clone(), ends))

    def save(self, path: Path, block_seconds: float) -> None:
        from longlive_env.recording import ContactSheet

        sheet = ContactSheet(self._title)
        for blocks in self._frames.values():
            for prompt, frame, ends in blocks:
                sheet.add(frame.numpy(), prompt, ends * block_seconds)
        sheet.draw().save(path)


def _parser() -> Parser:
    parser = Parser(
        "longlive eval",
        "Generate videos of held-out scenes in held-out wordings, change one attribute half-way, and let\n"
        "the probe read what the frames show; then the same with prompts of a few words. Writes\n"
        "report.json and sheet.png; exits with 1 if a bar is missed.",
        (
            "longlive eval",
            "longlive eval --world runs/mine --rollouts 16 --by-value --out out/quick",
            "longlive eval --ablation --seconds 240 --long-rollouts 16 --out out/ablation --docs docs",
        ),
    )
    parser.add_argument(
        "--world", default="tiny", help="a world of the tiny scenes: a name or a folder (tiny)"
    )
    parser.add_argument("--rollouts", type=int, default=64, metavar="N", help="how many videos (64)")
    parser.add_argument("--blocks", type=int, default=20, metavar="N", help="blocks per video (20)")
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="videos generated together (16)")
    parser.add_argument(
        "--rendered", type=int, default=512, metavar="N", help="rendered blocks to test the probe on (512)"
    )
    parser.add_argument(
        "--by-value", action="store_true", help="also print the share of each action, subject, and so on"
    )
    parser.add_argument(
        "--long",
        "--seconds",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="also measure takes of this length under one prompt (0: off; LongLive reports 240 s)",
    )
    parser.add_argument(
        "--long-rollouts", type=int, metavar="N", help="how many such takes (default: as --rollouts)"
    )
    parser.add_argument("--seed", type=as_seed, default=0, help="seed of scenes, wordings and noise (0)")
    add_device_option(parser)
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help="type of the weights")
    parser.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="denoising steps per block; fewer are faster (default: as trained)",
    )
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=get_args(Precision),
        default=[],
        metavar="NAME",
        help=f"compare precisions instead: {', '.join(get_args(Precision))} (writes precisions.json)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out/eval"), metavar="DIR", help="folder for the results (out/eval)"
    )
    group = parser.add_argument_group(
        "ablation", "the same world with parts of the recipe removed; one that was stopped is resumed"
    )
    group.add_argument(
        "--ablation", action="store_true", help="run the ablation instead; writes ablation.json and a page"
    )
    group.add_argument(
        "--docs",
        type=Path,
        metavar="DIR",
        help="folder for world-quality.md and its pictures (default: that of --out)",
    )
    group.add_argument(
        "--other",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="also compare another world, such as one before its last stage of training",
    )
    group.add_argument(
        "--only", nargs="+", default=[], metavar="VARIANT", help="measure only these variants for now (all)"
    )
    return parser
