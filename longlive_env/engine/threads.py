"""How many threads of the CPU can be asked for."""

from __future__ import annotations

from longlive_env.errors import ConfigError

MOST_THREADS = 1024  # of any machine; asking torch for some ten thousand ends the process


def checked_threads(threads: int) -> int:
    """A number of threads that torch takes.

    Raises:
        ConfigError: it is less than 1, or more than any machine needs.
    """
    if not 1 <= threads <= MOST_THREADS:
        raise ConfigError(f"threads is {threads}; expected 1 to {MOST_THREADS}")
    return threads
