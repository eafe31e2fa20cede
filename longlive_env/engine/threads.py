"""Check of the number of CPU threads."""

from __future__ import annotations

from longlive_env.errors import ConfigError

MOST_THREADS = 1024  # on any machine; asking torch for some ten thousand kills the process


def checked_threads(threads: int) -> int:
    """Return a number of threads, after checking that torch accepts it.

    Raises:
        ConfigError: the number is less than 1, or more than any machine needs.
    """
    if not 1 <= threads <= MOST_THREADS:
        raise ConfigError(f"threads is {threads}; expected 1 to {MOST_THREADS}")
    return threads
