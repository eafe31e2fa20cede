"""Which world a distilled generator belongs to: it brings neither codec nor text encoder of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from longlive_env.engine import published, world_files
from longlive_env.engine.weights import read_json

ORIGIN_FILE = "origin.json"  # in the folder of a distilled world
_ENDS = 1 << 26  # bytes that are read at each end of a file; those of other versions differ all over


def start_fingerprint(start: str) -> str:
    """What tells the codec, text encoder and tokenizer of a world from those of another.

    Args:
        start: name or folder of the world.

    Raises:
        ConfigError: there is no such world.
        WeightsError: files are missing.
    """
    folder = world_files.find(start)
    if published.is_published(folder):
        files = [*published.text_files(folder), published.codec_file(folder, "wan")]
    else:
        names = ("codec.safetensors", "text_encoder.safetensors", "tokenizer.json")
        files = [folder / name for name in names]
    digest = hashlib.sha256()
    for file in files:
        digest.update(_of_file(file))
    return digest.hexdigest()


def known_fingerprints(start: str) -> set[str]:
    """The fingerprint of a world, and those of the worlds that it was distilled from.

    They all have the same codec and text encoder, though their files may differ: an export stores them as it
    does those of any world.

    Args:
        start: name or folder of the world.

    Raises:
        ConfigError: there is no such world.
        WeightsError: files are missing or damaged.
    """
    own, file = start_fingerprint(start), world_files.find(start) / ORIGIN_FILE
    noted = read_json(file) if file.is_file() else {}
    return {own, *(noted["origins"] if noted.get("own") == own else ())}  # else others were saved there since


def note_origins(folder: Path, fingerprints: Iterable[str]) -> None:
    """Keep with a distilled world what `known_fingerprints` said of the world that it started from."""
    noted = {"own": start_fingerprint(str(folder)), "origins": sorted(fingerprints)}
    (folder / ORIGIN_FILE).write_text(json.dumps(noted, indent=2) + "\n", encoding="utf-8")


def _of_file(file: Path) -> bytes:
    size = file.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(file, "rb") as opened:
        digest.update(opened.read(_ENDS))
        opened.seek(max(0, size - _ENDS))
        digest.update(opened.read())
    return digest.digest()
