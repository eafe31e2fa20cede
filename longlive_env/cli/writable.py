"""Whether results can be written, which is better known before hours of measuring than after."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile

from longlive_env.errors import ConfigError


def check_writable(*files: Path) -> None:
    """Make the folders of these files, and pass if each of them can be written; files there stay as they are.

    Raises:
        ConfigError: one of them cannot be written.
        OSError: a folder cannot be made.
    """
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            if file.is_file():
                with file.open("ab"):
                    pass
            elif not file.exists():  # what is neither, such as a pipe, would notice
                with TemporaryFile(dir=file.parent):  # a folder such as /proc is there, and takes no files
                    pass
        except OSError as error:
            raise ConfigError(
                f"{file} cannot be written ({error.strerror or error}); choose another place"
            ) from error
