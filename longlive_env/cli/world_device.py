"""The default device of commands that run a world."""

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
    """Return the requested device; by default a GPU, if any, for published worlds and a CPU for others.

    For a published world on a CPU, a warning is printed on stderr.

    Args:
        world: name of a world or folder of weights.
        asked: device requested on the command line, or in a log.
        random_weights: whether the world's weights are not read, and need not exist.

    Raises:
        ConfigError: there is no such world.
        WeightsError: its weights are missing.
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
