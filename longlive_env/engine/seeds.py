"""What counts as a seed, for torch's generators and numpy's alike."""

from __future__ import annotations

from operator import index
from typing import SupportsIndex

from longlive_env.errors import ConfigError


def checked_seed(seed: SupportsIndex) -> int:
    """A seed that every generator takes.

    Raises:
        ConfigError: it is no whole number, less than 0, or too large.
    """
    if not isinstance(seed, SupportsIndex) or not 0 <= index(seed) < 1 << 64:
        raise ConfigError(f"the seed is {seed!r}; expected a whole number from 0 to 2**64 - 1")
    return index(seed)
