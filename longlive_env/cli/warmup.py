"""`longlive warmup`: compile a world in advance."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from longlive_env.cli.parser import Parser
from longlive_env.cli.world_device import add_device_option, chosen_device
from longlive_env.cli.world_options import add_world_options, load_world


def main(argv: Sequence[str]) -> int:
    """Parse the arguments, load the world, run every kind of step once."""
    parser = Parser(
        "longlive warmup",
        "Compile every kind of step of a world and keep the result on disk. Later starts with the same\n"
        "options, machine and versions load it instead of compiling. longlive run, play and bench do the\n"
        "same before their first block.",
        (
            "longlive warmup --world 1.3b --device cuda",
            "longlive warmup --world tiny --compile default --batch 16",
        ),
    )
    parser.add_argument("--world", default="tiny", help="name of a world or folder of weights (tiny)")
    add_device_option(parser)
    add_world_options(parser, compiles=True)
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="worlds that run together (1)")
    args = parser.parse_args(argv)
    if args.batch < 1:
        parser.error(f"--batch is {args.batch}; it must be at least 1")
    device = chosen_device(args.world, args.device)
    begin = time.perf_counter()
    world = load_world(args.world, device, args, args.batch)
    seconds = time.perf_counter() - begin
    kept = os.environ.get("TORCHINDUCTOR_CACHE_DIR", "PyTorch's own cache")
    print(f"{world.config.name}, compile {world.compiled}: ready in {seconds:.1f} s, kept in {kept}")
    return 0
