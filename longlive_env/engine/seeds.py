"""Seeds: checks for torch's and numpy's generators alike, and draws of torch's global one by a seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from operator import index
from typing import TYPE_CHECKING, SupportsIndex

from longlive_env.errors import ConfigError

if TYPE_CHECKING:
    import torch


def checked_seed(seed: SupportsIndex) -> int:
    """Return a seed as an int, after checking that every generator accepts it.

    Raises:
        ConfigError: the seed is not a whole number, negative, or too large.
    """
    try:
        whole = index(seed)
    except TypeError:
        whole = -1
    if not 0 <= whole < 1 << 64:
        raise ConfigError(f"the seed is {seed!r}; expected a whole number from 0 to 2**64 - 1")
    return whole


def world_seeds(seed: SupportsIndex | Iterable[SupportsIndex], worlds: int) -> list[int]:
    """A seed for each world of a batch: the given ones, or `seed`, `seed + 1`, ...

    Raises:
        ConfigError: the number of seeds is not that of worlds, or one is not a seed.
    """
    if not isinstance(seed, Iterable) or getattr(seed, "ndim", 1) == 0:  # arrays without an axis are numbers
        first = checked_seed(seed)  # type: ignore[arg-type]
        return [checked_seed(first + world) for world in range(worlds)]
    seeds = [checked_seed(one) for one in seed]
    if len(seeds) != worlds:
        raise ConfigError(f"got {len(seeds)} seeds for {worlds} prompts; give one for each, or a single one")
    return seeds


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Let torch's global CPU generator draw by a seed; afterwards it goes on where the caller was.

    `torch.manual_seed` would seed all of the caller's GPU generators as well, which nothing gives back.

    Args:
        seed: the seed.
        device: a CUDA device whose global generator is treated likewise; any other is left alone.
    """
    import torch

    gpus = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(seed)
        for gpu in gpus:
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(seed)
        yield
