"""`longlive eval`: measure how well a world obeys its prompts."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from longlive_env.cli import precisions
from longlive_env.cli.parser import Parser

if TYPE_CHECKING:
    from torch import Tensor

    from longlive_env.ablation import Result
    from longlive_env.engine.rollout import World
    from longlive_env.evaluate import Episode, EvalConfig, Report
    from longlive_env.long_take import LongTake

BELOW_A_BAR = 1
PICTURED = 10  # rollouts on the contact sheet
HEADINGS = {
    "prompt": "blocks that show the prompt, before the switch",
    "after": "third block after the switch shows the prompt",
    "switch": "third block after the switch, attributes that",
    "probe": "probe on rendered held-out scenes",
}


def main(argv: Sequence[str]) -> int:
    """Parse the arguments, evaluate, print the table; status 1 when a bar is missed."""
    args = _parser().parse_args(argv)
    from longlive_env.engine.rollout import World
    from longlive_env.evaluate import EvalConfig, evaluate
    from longlive_env.long_take import check_length
    from longlive_env.provenance import provenance

    config = EvalConfig(args.rollouts, args.blocks, args.batch, args.seed, args.rendered)
    if args.long:
        check_length(args.long)  # before anything is measured
    if args.precision:
        return precisions.run(args, config)
    world = World.load(args.world, device=args.device)
    if args.ablation:
        return _ablation(world, config, args)
    pictures = _Pictures(f"{args.world}: prompts and what became of them")
    batches = -(-config.rollouts // config.batch)
    with tqdm(total=batches * config.blocks, desc="eval", unit="block", disable=None) as bar:

        def on_block(batch: list[Episode], block: int, frames: Tensor) -> None:
            pictures.add(batch, block, block >= config.switch, frames)
            bar.update()

        report = evaluate(world, config, on_block=on_block)
    written = {"world": args.world, **provenance(args.device), "seed": args.seed, **report.to_json()}
    _write(args.out / "report.json", written)
    pictures.save(args.out / "sheet.png", world.config.block_seconds)
    print(table(report))
    if args.long:
        written["long_take"] = _long_take(world, config, args.long).to_json()
        _write(args.out / "report.json", written)
    print(f"report: {args.out / 'report.json'}\nsheet:  {args.out / 'sheet.png'}")
    return 0 if report.passed else BELOW_A_BAR


def _long_take(world: World, config: EvalConfig, seconds: float) -> LongTake:
    """Measure long takes and print what became of them."""
    from longlive_env.long_take import long_take

    with tqdm(desc="long takes", unit="block", disable=None) as bar:
        result = long_take(
            world,
            seconds,
            rollouts=config.rollouts,
            batch=config.batch,
            seed=config.seed,
            on_block=lambda block, frames: bar.update() and None,
        )
    print(long_table(result))
    return result


def _ablation(world: World, config: EvalConfig, args: argparse.Namespace) -> int:
    """Measure every variant, and write what is known after each."""
    from longlive_env.ablation import VARIANTS, ablation
    from longlive_env.provenance import provenance

    written = {"world": args.world, **provenance(args.device), "seed": args.seed, "variants": []}
    found: list[Result] = []
    with tqdm(total=len(VARIANTS), desc="ablation", unit="variant", disable=None) as bar:

        def on_variant(result: Result) -> None:
            found.append(result)
            written["variants"] = [one.to_json() for one in found]
            _write(args.out / "ablation.json", written)
            bar.update()

        ablation(world, config, seconds=args.long, on_variant=on_variant)
    print(ablation_table(found))
    print(f"report: {args.out / 'ablation.json'}")
    return 0


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def long_table(result: LongTake) -> str:
    """Long takes as text."""
    lines = [f"takes of {result.seconds:.0f} s, one prompt each: first ten seconds, last ten, fall in points"]
    for name, first in result.first.items():
        last, fall = result.last[name], result.fall[name]
        lines.append(f"  {name:<12} {first.share:6.1%} {last.share:6.1%} {fall:+6.1f}")
    for name in ("saturation", "contrast", "sharpness", "motion"):
        values = [getattr(picture, name) for picture in (result.start, result.end, result.rendered)]
        lines.append("  {:<12} {:.3f}  {:.3f}  rendered {:.3f}".format(name, *values))
    return "\n".join(lines)


def ablation_table(results: Sequence[Result]) -> str:
    """Variants as a Markdown table."""
    lines = [
        "| variant | new prompt obeyed | others kept | pixel jump | feature jump | last 10 s | drift |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in results:
        low, high = one.switch.obeyed.interval
        obeyed = f"{one.switch.obeyed.share:.0%} ({low:.0%}-{high:.0%})"
        jumps = f"{one.switch.pixel_jump:.2f} | {one.switch.feature_jump:.2f}"
        long = "- | -"
        if one.long:
            last = sum(share.share for share in one.long.last.values()) / len(one.long.last)
            long = f"{last:.0%} | {one.long.drift:.0%}"
        name = f"{one.variant.group}: {one.variant.name}"
        lines.append(f"| {name} | {obeyed} | {one.switch.kept.share:.0%} | {jumps} | {long} |")
    return "\n".join(lines)


def table(report: Report) -> str:
    """The report as text: shares with their 95 % intervals, bars and verdicts."""
    lines, group = [], None
    for one in report.measures:
        if one.group != group:
            group = one.group
            lines += ["", f"{HEADINGS[group]:<50} {'share':>6}  {'95 % interval':<17} {'bar':>6}"]
        low, high = one.value.interval
        bar = "" if one.bar is None else f"{one.bar:6.0%}  {'reached' if one.passed else 'MISSED'}"
        lines.append(f"  {one.name:<48} {one.value.share:6.1%}  {low:6.1%} to {high:6.1%}  {bar}".rstrip())
    curve = " ".join(f"{share:.0%}" for share in report.after_switch)
    return "\n".join([*lines[1:], "", f"changed attribute shown, block by block after the switch: {curve}"])


class _Pictures:
    """The last frame of each block of the first rollouts."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._frames: dict[
            int, list[tuple[str, Tensor]]
        ] = {}  # seed of the rollout -> prompt, frame of each block

    def add(self, batch: list[Episode], block: int, switched: bool, frames: Tensor) -> None:
        for row, one in enumerate(batch):
            if one.seed in self._frames or len(self._frames) < PICTURED:
                kept = self._frames.setdefault(one.seed, [])
                kept.append((one.prompts[switched], frames[row, -1:].clone()))

    def save(self, path: Path, block_seconds: float) -> None:
        from longlive_env.recording import ContactSheet

        sheet = ContactSheet(self._title)
        for blocks in self._frames.values():
            for block, (prompt, frame) in enumerate(blocks):
                sheet.add(frame.numpy(), prompt, (block + 1) * block_seconds)
        sheet.draw().save(path)


def _parser() -> Parser:
    parser = Parser(
        "longlive eval",
        "Generate videos of held-out scenes in held-out wordings, change one attribute half-way, and read\n"
        "with the probe what the frames show. Writes report.json and sheet.png; status 1 below a bar.",
        (
            "longlive eval",
            "longlive eval --world runs/mine --rollouts 16 --out out/quick",
            "longlive eval --ablation --long 60 --rollouts 16",
        ),
    )
    parser.add_argument(
        "--world", default="tiny", help="a world of the tiny scenes: a name or a folder (tiny)"
    )
    parser.add_argument("--rollouts", type=int, default=64, metavar="N", help="how many videos (64)")
    parser.add_argument("--blocks", type=int, default=20, metavar="N", help="blocks of each (20)")
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="videos generated together (16)")
    parser.add_argument(
        "--rendered", type=int, default=512, metavar="N", help="blocks to test the probe on (512)"
    )
    parser.add_argument(
        "--long",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="also measure takes of one prompt as long as this (0: none; the published claim is 240)",
    )
    parser.add_argument(
        "--ablation",
        action="store_true",
        help="instead, compare the world with itself without recache, sink, steps; writes ablation.json",
    )
    parser.add_argument("--seed", type=int, default=0, help="of scenes, wordings and noise (0)")
    parser.add_argument("--device", default="cpu", help="where the world runs (cpu)")
    parser.add_argument(
        "--precision",
        nargs="+",
        default=[],
        metavar="NAME",
        help="compare precisions instead: bf16, fp8, int8, int8-weight-only (writes precisions.json)",
    )
    parser.add_argument("--out", type=Path, default=Path("out/eval"), metavar="DIR", help="out/eval")
    return parser
