"""The command line of training; `longlive train` calls the same function."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from longlive_env.errors import ConfigError
from longlive_env.training import parallel
from longlive_env.training.config_file import StageSettings, load_settings
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
    out.add_argument("--out", type=Path, help="folder of checkpoint, weights, log and sample sheets")
    out.add_argument(
        "--config", help="settings of the stage: tiny, 1.3b, or a YAML file; the options here go before it"
    )
    out.add_argument(
        "--dry-run", action="store_true", help="print shapes, parameters, memory and cost, and train nothing"
    )
    out.add_argument("--minutes", type=float, help="wall-clock limit, over all resumed runs together")
    out.add_argument("--steps", type=int, help="limit of steps (repeatable bit for bit)")
    out.add_argument("--seed", type=int, default=0)
    out.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
    out.add_argument("--autocast", choices=("bf16", "none"), help="mixed precision; bf16 by default")
    out.add_argument("--lr", type=float, help="peak learning rate, instead of the stage's own")
    out.add_argument("--checkpoint-seconds", type=float, default=60.0)
    out.add_argument("--evaluate-seconds", type=float, default=120.0)
    out.add_argument("--threads", type=int, help="parts of a batch side by side, on a CPU")
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
    settings = load_settings(args.config, args.stage) if args.config else StageSettings()
    options = settings.options | dict(_option(text) for text in args.set)
    if args.dry_run:
        from longlive_env.training.plan import plan

        print(*plan(args.stage, options).lines(), sep="\n")
        return 0
    if args.out is None:
        raise ConfigError("training needs a folder to write to; give --out DIR")
    rate = {} if args.lr is None else {"lr": args.lr}
    autocast = args.autocast or settings.run.autocast
    limited = args.minutes is not None or args.steps is not None  # on the command line
    with parallel.process_group(args.device) as device:
        _check_device(device)
        on_cpu = torch.device(device).type == "cpu"
        config = TrainConfig(
            out=args.out,
            minutes=args.minutes if limited else settings.run.minutes or None,
            steps=args.steps if limited else settings.run.steps or None,
            seed=args.seed,
            device=device,
            autocast=None if autocast == "none" else autocast,
            checkpoint_s=args.checkpoint_seconds,
            evaluate_s=args.evaluate_seconds,
            bar=not args.no_bar,
            threads=(settings.run.threads if on_cpu else 1) if args.threads is None else args.threads,
        )
        with parallel.first_process_first():  # a stage may fill a bank of clips on disk
            stage = make_stage(args.stage, seed=args.seed, **options)
        stage.optimisation = dataclasses.replace(stage.optimisation, **settings.optimisation | rate)
        train(stage, config)
    return 0


def _check_device(device: str) -> None:
    """Raise before anything is made for a device that cannot be used."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = str(error).splitlines()[0]
        raise ConfigError(f"cannot train on {device!r}: {reason}; try --device cpu") from error


def _option(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign:
        raise ConfigError(f"--set got {text!r}; expected NAME=VALUE")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
