"""The device of commands that run a world, where none is named."""

from __future__ import annotations

import argparse
import sys

SLOW = "the 1.3B world needs minutes a block on a CPU; it is made for a GPU (--device cuda)"


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """Add --device, whose default `chosen_device` fills in."""
    parser.add_argument(
        "--device",
        help="where the world runs, such as cpu or cuda (default: cpu; for the 1.3B world a GPU, if there is "
        "one)",
    )


def chosen_device(world: str, asked: str | None, *, random_weights: bool = False) -> str:
    """The device asked for; else a GPU, where there is one, for a published world and a CPU for others.

    A published world on a CPU is warned of on stderr.

    Args:
        world: name of a world or folder of weights.
        asked: on the command line, or in a log.
        random_weights: the weights of the world are not read, and need not be there.

    Raises:
        ConfigError: there is no such world.
        WeightsError: its weights are not there.
    """
    import torch

    from longlive_env.engine import published, world_places
    from longlive_env.hub.sources import SOURCES

    if not (world in SOURCES if random_weights else published.is_published(world_places.find(world))):
        return asked or "cpu"
    device = asked or ("cuda" if torch.cuda.is_available() else "cpu")
    if device.partition(":")[0] == "cpu":
        sys.stderr.write(f"warning: {SLOW}\n")
    return device
