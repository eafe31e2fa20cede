"""What counts as a seed, for torch's generators and numpy's alike."""

from __future__ import annotations

from longlive_env.errors import ConfigError


def checked_seed(seed: int) -> int:
    """A seed that every generator takes.

    Raises:
        ConfigError: it is less than 0, or too large.
    """
    if not 0 <= seed < 1 << 64:
        raise ConfigError(f"the seed is {seed}; expected a whole number from 0 to 2**64 - 1")
    return seed
