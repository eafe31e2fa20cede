"""The options of every command that loads a world: its precision and the memory that it has to fit in."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longlive_env.engine.world import World

PRECISIONS = ("bf16", "fp8", "int8", "int8-weight-only")
MEMORY = ("auto", "80", "40", "24", "12", "8")


def add_world_options(parser: argparse.ArgumentParser) -> None:
    """Add --precision, --kv-precision and --memory."""
    parser.add_argument("--precision", choices=PRECISIONS, help="of the transformer's linear layers")
    parser.add_argument("--kv-precision", choices=("fp8",), help="of cached keys and values")
    parser.add_argument(
        "--memory",
        choices=MEMORY,
        help="GiB to fit in: decides on text encoder, codec and cache, and says why",
    )


def load_world(name: str, device: str, args: argparse.Namespace) -> World:
    """The world that `args` ask for, shared within the process; a memory plan is told on stderr."""
    from longlive_env.envs.world_cache import shared_world

    world = shared_world(
        name, device, precision=args.precision, kv_precision=args.kv_precision, memory=args.memory
    )
    if world.memory_plan is not None:
        sys.stderr.write(f"memory: {world.memory_plan}\n")
    return world
