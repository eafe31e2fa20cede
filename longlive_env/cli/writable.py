"""Files that commands write: checks to be done before hours of measuring, and new ones."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile

from longlive_env.errors import ConfigError, ScenarioError


def check_writable(*files: Path) -> None:
    """Create the folders of these files, and check that each file can be written; existing files are kept.

    Raises:
        ConfigError: one of them cannot be written.
    """
    for file in files:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.is_file():
                with file.open("ab"):
                    pass
            elif not file.exists():  # anything else, such as a pipe, would notice
                with TemporaryFile(dir=file.parent):  # a folder such as /proc exists but takes no files
                    pass
        except OSError as error:
            raise ConfigError(
                f"{file} cannot be written ({error.strerror or error}); choose another place"
            ) from error


def write_new(path: Path, text: str) -> None:
    """Write a text file, and create its folder.

    Raises:
        ScenarioError: there is something with this name, or the file cannot be written.
    """
    if path.exists():
        raise ScenarioError(f"{path} is there already; choose another name or delete it first")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ScenarioError(
            f"{path} cannot be written ({error.strerror or error}); choose another place"
        ) from error
