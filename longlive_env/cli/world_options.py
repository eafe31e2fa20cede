"""Options of commands that load a world: precision, memory, compilation, denoising, positions."""

from __future__ import annotations

import argparse
import math
import sys
from typing import TYPE_CHECKING, get_args

from longlive_env.engine.config import CodecKind, CompileMode, KvPrecision, Positions, Precision

if TYPE_CHECKING:
    from longlive_env.engine.config import WorldConfig
    from longlive_env.engine.load_options import LoadOptions
    from longlive_env.engine.world import World

OWN_CODEC = "full"  # the world's own; for replays of runs with another codec


def add_world_options(parser: argparse.ArgumentParser, *, compiles: bool = False) -> None:
    """Add --precision, --kv-precision, --memory, --codec, --compile, --steps and --rope.

    Args:
        parser: parser of the command.
        compiles: whether the command is meant to compile, so that --compile is never "off".
    """
    parser.add_argument(
        "--precision",
        choices=get_args(Precision),
        help="precision of the transformer's linear layers (default: as stored)",
    )
    parser.add_argument(
        "--kv-precision",
        choices=get_args(KvPrecision),
        help="precision of cached keys and values (default: as stored)",
    )
    parser.add_argument(
        "--memory",
        type=_memory,
        metavar="GIB",
        help="memory that the world may take, or auto for what is free; decides where text encoder, codec "
        "and cache go, and says why (default: auto for the 1.3B world on a GPU)",
    )
    parser.add_argument(
        "--codec",
        choices=(OWN_CODEC, *get_args(CodecKind)),
        help="light decodes faster. Published worlds: a softer codec instead of wan. The tiny world, or your "
        "own with a detail decoder: pictures of half the size (default: full)",
    )
    if compiles:
        parser.add_argument(
            "--compile",
            choices=get_args(CompileMode)[1:],
            default="default",
            help="how to compile; graphs and max also capture the passes on CUDA (default: default)",
        )
    else:
        parser.add_argument(
            "--compile",
            choices=get_args(CompileMode),
            help="compile the passes before the first block; graphs and max also capture them on CUDA (off)",
        )
    parser.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="denoising steps per block; fewer are faster (default: as trained)",
    )
    parser.add_argument(
        "--rope",
        choices=get_args(Positions),
        help="positions in time; relative ones never run out, for takes of the 1.3B world beyond 4 minutes "
        "(default: as trained)",
    )


def _memory(text: str) -> str:
    """Parse `--memory` for World.load."""
    try:
        size = math.inf if text == "auto" else float(text)
    except ValueError:
        size = 0.0
    if not size > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; give GiB, such as 24, or auto")
    return text


def checked_config(name: str, device: str, args: argparse.Namespace) -> WorldConfig:
    """Return the configuration that `load_world` would give, unless that finds no room for the codec.

    For commands that show something before a world is loaded, so that errors in options are reported first.

    Args:
        name: name of a world, or its folder.
        device: device on which it would run.
        args: options that `add_world_options` adds.

    Raises:
        LongLiveError: as `World.load` would raise.
    """
    from longlive_env.engine import load_options

    return load_options.checked_config(name, device=device, **_asked(args))


def load_world(name: str, device: str, args: argparse.Namespace, batch: int = 1, *, states: int = 1) -> World:
    """Load the world that `args` ask for, shared within the process; prints a memory plan on stderr.

    If it is to be compiled, all compilation happens here, with progress; on CUDA, kernels that have not been
    timed there yet are timed first.

    Args:
        name: name of a world, or its folder.
        device: device on which it runs.
        args: options that `add_world_options` adds.
        batch: number of worlds that run together.
        states: number of states of them kept at the same time, see `World.load`.
    """
    from longlive_env.envs.world_cache import shared_world

    world = shared_world(name, device, batch=batch, states=states, **_asked(args))
    if world.memory_plan is not None:
        sys.stderr.write(f"memory: {world.memory_plan}\n")
    if world.compiled != "off":
        if world.device.type == "cuda":
            time_kernels_shown(world, batch)
        warm_up_shown(world, batch)
    return world


def asked_codec(args: argparse.Namespace) -> CodecKind | None:
    """Return the codec that the options ask for, as `World.load` takes it."""
    return None if args.codec == OWN_CODEC else args.codec


def _asked(args: argparse.Namespace) -> LoadOptions:
    """Return the options as arguments of `World.load`."""
    return {
        "codec": asked_codec(args),
        "precision": args.precision,
        "kv_precision": args.kv_precision,
        "memory": args.memory,
        "compile": args.compile or "off",
        "steps": args.steps,
        "rope": args.rope,
    }


def time_kernels_shown(world: World, batch: int = 1) -> None:
    """Time a world's candidate kernels that the stored table lacks, with a progress bar on stderr."""
    from tqdm import tqdm

    from longlive_env.engine.kernel_files import measure_and_keep
    from longlive_env.engine.kernel_timing import missing_calls

    dtype = world.dtype
    calls = missing_calls(world.config, world.device, dtype, batch)
    if calls:
        with tqdm(total=len(calls), desc="kernels", unit="call", disable=None) as bar:
            measure_and_keep(calls, world.device, lambda done, _: bar.update(done - bar.n))


def warm_up_shown(world: World, batch: int = 1) -> None:
    """Run `warm_up` with a progress bar on stderr."""
    from tqdm import tqdm

    from longlive_env.engine.warmup import warm_up

    with tqdm(desc="warm-up", unit="step", disable=None) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        warm_up(world, batch, show)
