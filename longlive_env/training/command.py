"""The command line of training; `longlive train` calls the same function."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from longlive_env.engine.config_values import from_dict
from longlive_env.engine.devices import multiplies_bfloat16, usable
from longlive_env.errors import ConfigError, LongLiveError, TrainingError, is_out_of_memory
from longlive_env.terminal import USAGE_ERROR, OneLineParser, fail
from longlive_env.training import parallel
from longlive_env.training.config_file import RunSettings, StageSettings, load_settings
from longlive_env.training.option_list import option_lines
from longlive_env.training.stages import STAGES, Optimisation, make_stage, stage_class
from longlive_env.training.train_config import TrainConfig
from longlive_env.training.trainer import WEIGHTS, Trainer

OUT_OF_MEMORY = (
    "the device has no memory left; give fewer clips (--set clips=N), --recompute, or --shard under torchrun "
    "with more processes; --dry-run tells what each takes"
)


def parser() -> argparse.ArgumentParser:
    """The arguments of one training run."""
    stages = "\n".join(f"  {name:<8} {what}" for name, what in STAGES.items())
    out = OneLineParser(
        prog="longlive train",
        description="Train one stage of a world; a folder that holds a checkpoint is resumed.\n\n"
        f"stages:\n{stages}\n\n"
        "longlive train STAGE --options lists what --set can give to a stage.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: longlive train codec --out runs/codec --minutes 30",
        allow_abbrev=False,
    )
    out.add_argument("stage", choices=tuple(STAGES), help="what to train")
    out.add_argument("--out", type=Path, help="folder of checkpoint, weights, log and sheets (required)")
    out.add_argument(
        "--config", help="settings of the stage: tiny, 1.3b, or a YAML file; options given here override it"
    )
    out.add_argument(
        "--options", action="store_true", help="list the options of the stage for --set, and train nothing"
    )
    out.add_argument(
        "--dry-run",
        action="store_true",
        help="print shapes, memory and cost of base, causal, distill or stream, and train nothing",
    )
    out.add_argument("--minutes", type=float, help="wall-clock limit, over all resumed runs together")
    out.add_argument("--steps", type=int, help="limit of steps (repeatable bit for bit)")
    out.add_argument(
        "--session-minutes", type=float, help="stop with a checkpoint after this; the same command goes on"
    )
    out.add_argument("--seed", type=int, default=0, help="of weights, data and noise (0)")
    out.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
    out.add_argument(
        "--autocast",
        choices=("auto", "bf16", "none"),
        help="mixed precision (auto: bf16, or none on CPUs without fast bfloat16)",
    )
    out.add_argument("--lr", type=float, help="peak learning rate, instead of the stage's own")
    out.add_argument("--checkpoint-seconds", type=float, help="seconds between checkpoints (60)")
    out.add_argument(
        "--evaluate-seconds", type=float, help="seconds between evaluations and sample sheets (120)"
    )
    out.add_argument("--threads", type=int, help="parts of a batch side by side in each process, on a CPU")
    yes_or_no = argparse.BooleanOptionalAction
    out.add_argument("--shard", action=yes_or_no, help="spread the weights over torchrun's processes (FSDP2)")
    out.add_argument("--recompute", action=yes_or_no, help="activation checkpointing of transformer blocks")
    out.add_argument("--no-bar", action="store_true", help="show no progress bar")
    out.add_argument(
        "--set",
        nargs="*",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="options of the stage, values in JSON or text; --options lists them",
    )
    return out


def run_stage(argv: Sequence[str]) -> int:
    """Parse the arguments, train, and return an exit status.

    Raises:
        LongLiveError: something is wrong with the arguments, the files they name, or the run.
    """
    args = parser().parse_args(argv)
    if args.options:
        print(f"options of the {args.stage} stage, for --set NAME=VALUE:")
        print(*option_lines(stage_class(args.stage).options_type), sep="\n")
        return 0
    settings = load_settings(args.config, args.stage) if args.config else StageSettings()
    options = settings.options | dict(_option(text) for text in args.set)
    run = _run_settings(args, settings.run)
    if args.dry_run:
        from longlive_env.training.gpu_memory import table
        from longlive_env.training.plan import plan

        made = plan(args.stage, options)
        print(*made.lines(), *table(made, recompute=run.recompute), sep="\n")
        return 0
    if args.out is None:
        # With a folder, the stage checks its options itself.
        from_dict(stage_class(args.stage).options_type, options, args.stage)
        raise ConfigError("training needs a folder to write to; give --out DIR")
    rate = {} if args.lr is None else {"lr": args.lr}
    Optimisation(**rate)  # fails on bad values before a stage fills its bank
    limited = args.minutes is not None or args.steps is not None  # on the command line
    with parallel.process_group(args.device) as device:
        on_cpu = usable(device).type == "cpu"
        numbers = dataclasses.asdict(run) | {
            "minutes": args.minutes if limited else run.minutes or None,
            "steps": args.steps if limited else run.steps or None,
            "autocast": _autocast(run.autocast, device),
            "threads": _threads(args.threads, run.threads, on_cpu),
        }
        config = TrainConfig(
            out=args.out,
            session_minutes=args.session_minutes,
            seed=args.seed,
            device=device,
            bar=not args.no_bar,
            **numbers,
        )
        begin = time.monotonic()
        with parallel.first_process_first():  # a stage may fill a bank of clips on disk
            stage = make_stage(args.stage, seed=args.seed, **options)
        if config.session_minutes is not None:
            spent = parallel.agree(time.monotonic() - begin) / 60
            config = dataclasses.replace(config, session_minutes=max(config.session_minutes - spent, 1e-3))
        stage.optimisation = dataclasses.replace(stage.optimisation, **settings.optimisation | rate)
        try:
            trainer = Trainer(stage, config)
            trainer.run()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingError(OUT_OF_MEMORY) from error
        if not parallel.rank():
            print(_outcome(trainer))
    return 0


def main(argv: Sequence[str]) -> int:
    """`run_stage` for `python -m longlive_env.training`: user errors print one line and give status 2."""
    try:
        return run_stage(argv)
    except (LongLiveError, OSError) as error:
        shared = isinstance(error, ConfigError) and parallel.environment_rank()
        if not shared:  # wrong settings are wrong in every process: only the first one reports them
            fail("longlive train", error)
        return USAGE_ERROR
    except KeyboardInterrupt:
        sys.stderr.write("longlive train: interrupted\n")
        return 130


def _outcome(trainer: Trainer) -> str:
    """One line on what a run has come to: its last evaluation, or how far the session came."""
    said, weights = [f"{trainer.stage.name}: step {trainer.step}"], trainer.config.out / WEIGHTS
    if trainer.progress < 1:
        said.append(f"{trainer.progress:.0%} of the run")
        return f"{', '.join(said)} -> {weights}; the same command goes on"
    said += [f"{name} {value:.4g}" for name, value in trainer.metrics.items()]
    return f"{', '.join(said)} -> {weights}"


def _run_settings(args: argparse.Namespace, run: RunSettings) -> RunSettings:
    """A file's settings, overridden by the command line."""
    said = {
        "autocast": args.autocast,
        "shard": args.shard,
        "recompute": args.recompute,
        "checkpoint_s": args.checkpoint_seconds,
        "evaluate_s": args.evaluate_seconds,
    }
    return dataclasses.replace(run, **{name: value for name, value in said.items() if value is not None})


def _threads(asked: int | None, of_file: int, on_cpu: bool) -> int:
    """Threads of this process: as requested, or on a CPU its share of those in a file."""
    if asked is not None:
        return asked
    if of_file < 1:
        raise ConfigError(f"threads is {of_file}; expected at least 1")
    return max(1, of_file // parallel.processes()) if on_cpu else 1


def _autocast(asked: str, device: str) -> str | None:
    """The `autocast` value for `TrainConfig`."""
    if asked == "auto":
        return "bf16" if multiplies_bfloat16(torch.device(device)) else None
    return None if asked == "none" else asked


def _option(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign:
        raise ConfigError(f"--set got {text!r}; expected NAME=VALUE")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
