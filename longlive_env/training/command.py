"""The command line of training; `longlive train` calls the same function."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from longlive_env.errors import ConfigError
from longlive_env.training.stages import STAGES, make_stage
from longlive_env.training.trainer import TrainConfig, train


def parser() -> argparse.ArgumentParser:
    """The arguments of one training run."""
    out = argparse.ArgumentParser(
        prog="longlive train",
        description="Train one stage of a world; a folder that holds a checkpoint is resumed.",
        epilog="example: longlive train codec --out runs/codec --minutes 30",
    )
    out.add_argument("stage", choices=tuple(STAGES), help="what to train")
    out.add_argument(
        "--out", type=Path, required=True, help="folder of checkpoint, weights, log and sample sheets"
    )
    out.add_argument("--minutes", type=float, help="wall-clock limit, over all resumed runs together")
    out.add_argument("--steps", type=int, help="limit of steps (repeatable bit for bit)")
    out.add_argument("--seed", type=int, default=0)
    out.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
    out.add_argument("--autocast", choices=("bf16", "fp16", "none"), default="bf16", help="mixed precision")
    out.add_argument("--lr", type=float, help="peak learning rate, instead of the stage's own")
    out.add_argument("--checkpoint-seconds", type=float, default=60.0)
    out.add_argument("--evaluate-seconds", type=float, default=120.0)
    out.add_argument("--threads", type=int, default=1, help="parts of a batch side by side, on a CPU")
    out.add_argument("--no-bar", action="store_true", help="show no progress bar")
    out.add_argument(
        "--set",
        nargs="*",
        default=[],
        metavar="NAME=VALUE",
        help="options of the stage, values in JSON or text",
    )
    return out


def run_stage(argv: Sequence[str]) -> int:
    """Parse the arguments, train, and return an exit status."""
    args = parser().parse_args(argv)
    stage = make_stage(args.stage, seed=args.seed, **dict(_option(text) for text in args.set))
    if args.lr is not None:
        stage.optimisation = dataclasses.replace(stage.optimisation, lr=args.lr)
    config = TrainConfig(
        out=args.out,
        minutes=args.minutes,
        steps=args.steps,
        seed=args.seed,
        device=args.device,
        autocast=None if args.autocast == "none" else args.autocast,
        checkpoint_s=args.checkpoint_seconds,
        evaluate_s=args.evaluate_seconds,
        bar=not args.no_bar,
        threads=args.threads,
    )
    train(stage, config)
    return 0


def _option(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign:
        raise ConfigError(f"--set got {text!r}; expected NAME=VALUE")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
