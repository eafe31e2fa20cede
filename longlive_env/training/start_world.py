"""Which worlds a world was distilled from, so that it can go on with their critics."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from longlive_env.engine.weights import read_json
from longlive_env.engine.whole_files import write_whole
from longlive_env.engine.world_places import find
from longlive_env.errors import WeightsError
from longlive_env.training.fingerprints import start_fingerprint

ORIGIN_FILE = "origin.json"  # in the folder of a distilled world


def known_fingerprints(start: str) -> set[str]:
    """The fingerprint of a world, and those of the worlds that it was distilled from.

    They all have the same codec and text encoder, though their files may differ: an export stores them in its
    own format.

    Args:
        start: name or folder of the world.

    Raises:
        ConfigError: there is no such world.
        WeightsError: files are missing or damaged.
    """
    own, file = start_fingerprint(start), find(start) / ORIGIN_FILE
    if not file.is_file():
        return {own}
    noted = read_json(file)
    origins = noted.get("origins") if isinstance(noted, dict) else None
    if not isinstance(origins, list) or not all(isinstance(origin, str) for origin in origins):
        raise WeightsError(
            f"{file} holds no list of origins; expected what the export writes: export the world again"
        )
    return {own, *origins} if noted.get("own") == own else {own}  # else other files were saved there


def note_origins(folder: Path, fingerprints: Iterable[str]) -> None:
    """Save with a distilled world the `known_fingerprints` of the world that it started from."""
    noted = {"own": start_fingerprint(str(folder)), "origins": sorted(fingerprints)}
    write_whole(folder / ORIGIN_FILE, json.dumps(noted, indent=2) + "\n")
