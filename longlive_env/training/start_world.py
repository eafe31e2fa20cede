"""Which world a distilled generator belongs to: it brings neither codec nor text encoder of its own."""

from __future__ import annotations

import hashlib
from pathlib import Path

from longlive_env.engine import published, world_files

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


def _of_file(file: Path) -> bytes:
    size = file.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(file, "rb") as opened:
        digest.update(opened.read(_ENDS))
        opened.seek(max(0, size - _ENDS))
        digest.update(opened.read())
    return digest.digest()
