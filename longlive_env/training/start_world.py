"""Which world a distilled generator belongs to, as it has neither codec nor text encoder of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from longlive_env.engine import published
from longlive_env.engine.weights import read_json, read_state
from longlive_env.engine.whole_files import write_whole
from longlive_env.engine.world_files import CODEC_FILE, TEXT_ENCODER_FILE, TOKENIZER_FILE
from longlive_env.engine.world_places import find
from longlive_env.errors import WeightsError
from longlive_env.training.latents import codec_fingerprint

ORIGIN_FILE = "origin.json"  # in the folder of a distilled world
_TEXT_FILES = (TEXT_ENCODER_FILE, TOKENIZER_FILE)  # in the order of fingerprints
_ENDS = 1 << 26  # bytes read at each end of a file; other versions differ everywhere


def start_fingerprint(start: str) -> str:
    """A digest that identifies the latents, text encoder and tokenizer of a world.

    A world in our own layout keeps its fingerprint when it gets a better decoder of the same latents.

    Args:
        start: name or folder of the world.

    Raises:
        ConfigError: there is no such world.
        WeightsError: files are missing or damaged.
    """
    folder = find(start)
    if published.is_published(folder):
        return file_fingerprint(start)
    codec = codec_fingerprint(read_state(folder / CODEC_FILE))
    return _digest(codec.encode(), *(_of_file(folder / name) for name in _TEXT_FILES))


def file_fingerprint(start: str) -> str:
    """A digest of the files as they are, decoder included, as recorded by runs of earlier versions.

    Args:
        start: name or folder of the world.

    Raises:
        ConfigError: there is no such world.
        WeightsError: files are missing.
    """
    folder = find(start)
    if published.is_published(folder):
        files = [*published.text_files(folder), published.codec_file(folder, "wan")]
    else:
        files = [folder / name for name in (CODEC_FILE, *_TEXT_FILES)]
    return _digest(*map(_of_file, files))


def own_fingerprints(start: str) -> set[str]:
    """What runs of this and of earlier versions record of a world; see `start_fingerprint`."""
    return {start_fingerprint(start), file_fingerprint(start)}


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
    own, file = own_fingerprints(start), find(start) / ORIGIN_FILE
    if not file.is_file():
        return own
    noted = read_json(file)
    origins = noted.get("origins") if isinstance(noted, dict) else None
    if not isinstance(origins, list) or not all(isinstance(origin, str) for origin in origins):
        raise WeightsError(
            f"{file} holds no list of origins; expected what the export writes: export the world again"
        )
    return own | set(origins) if noted.get("own") in own else own  # else other files were saved there


def note_origins(folder: Path, fingerprints: Iterable[str]) -> None:
    """Save with a distilled world the `known_fingerprints` of the world that it started from."""
    noted = {"own": start_fingerprint(str(folder)), "origins": sorted(fingerprints)}
    write_whole(folder / ORIGIN_FILE, json.dumps(noted, indent=2) + "\n")


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _of_file(file: Path) -> bytes:
    if not file.is_file():
        raise WeightsError(f"{file} does not exist; expected a world: give the folder of a whole one")
    size = file.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(file, "rb") as opened:
        digest.update(opened.read(_ENDS))
        opened.seek(max(0, size - _ENDS))
        digest.update(opened.read())
    return digest.digest()
