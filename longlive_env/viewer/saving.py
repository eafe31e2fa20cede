"""New files that are either whole or not there, with one wording for what keeps them from being saved."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from longlive_env.engine.whole_files import in_one_step
from longlive_env.errors import RecordingError


@contextmanager
def saving(path: Path, *beside: Path) -> Iterator[Path]:
    """Yield a file to write, which becomes `path` at the end; if writing fails, nothing is left.

    Args:
        path: file to save, whose folder is created.
        beside: new files that are written along with it.

    Raises:
        RecordingError: something cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with in_one_step(path) as aside:
            yield aside
    except OSError as error:
        for file in beside:
            with contextlib.suppress(OSError):
                file.unlink()
        raise RecordingError(f"Not saved: {_reason(error, path)}") from error


def _reason(error: OSError, path: Path) -> str:
    """Return what is in the way; errors of a half-written file, or of no file, are about `path`."""
    named = str(error.filename or path)
    return f"{path if named.startswith(str(path)) else named}: {error.strerror or error}"
