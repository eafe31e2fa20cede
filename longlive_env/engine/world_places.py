"""Where worlds are stored: those of the package, downloaded ones, and what is kept beside these."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from longlive_env.engine.config import PRESETS, SHIPPED
from longlive_env.engine.weights import read_json
from longlive_env.errors import ConfigError, WeightsError, did_you_mean

HOME_VARIABLE = "LONGLIVE_HOME"
DOWNLOAD_REMEDY = "get the published weights with: longlive download 1.3b"


def worlds_home() -> Path:
    """Where downloaded worlds are kept: the folder that LONGLIVE_HOME names, else one in the user's cache."""
    if named := os.environ.get(HOME_VARIABLE):
        return Path(named).expanduser().absolute()
    try:
        return Path.home() / ".cache" / "longlive_env"
    except RuntimeError:  # the user has no home folder
        return Path(tempfile.gettempdir()) / "longlive_env"


def writable(folder: Path) -> Path | None:
    """The folder, made if need be; None if it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def find(name_or_path: str | os.PathLike[str]) -> Path:
    """The folder of a world.

    Args:
        name_or_path: preset, which comes with the package if in `SHIPPED` and is downloaded otherwise;
            anything else is a path.

    Raises:
        ConfigError: there is no such preset or folder.
        WeightsError: the preset's folder is missing.
    """
    name = os.fspath(name_or_path)
    if name not in PRESETS:
        if Path(name).is_dir():
            return Path(name)
        remedy = did_you_mean(name, PRESETS, f"worlds are {', '.join(PRESETS)}, or a folder's path")
        raise ConfigError(f"there is no world or folder {name!r}; {remedy}")
    shipped = Path(__file__).parent.parent / "assets" / name
    folder = shipped if name in SHIPPED else downloaded(name)
    if not folder.is_dir():
        remedy = "install longlive_env again" if folder == shipped else DOWNLOAD_REMEDY
        raise WeightsError(f"the world {name!r} is not in {folder}; {remedy}")
    return folder


def downloaded(name: str) -> Path:
    """The folder of a downloaded world, present or not: where its record says, else in `worlds_home`.

    Raises:
        WeightsError: the record is damaged.
    """
    record = record_file(name)
    if not record.is_file():
        return worlds_home() / name
    content = read_json(record)
    folder = content.get("folder") if isinstance(content, dict) else None
    if not isinstance(folder, str):
        raise WeightsError(f"{record} names no folder; delete it, then {DOWNLOAD_REMEDY}")
    return Path(folder)


def record_file(name: str) -> Path:
    """The file that records where a world's weights are, and which of them have been verified."""
    return worlds_home() / f"{name}.json"
