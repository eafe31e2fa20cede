"""Digests that identify weights, the latents of a codec, and the world that a generator starts from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from longlive_env.engine import published
from longlive_env.engine.weights import read_state
from longlive_env.engine.world_files import CODEC_FILE, TEXT_ENCODER_FILE, TOKENIZER_FILE
from longlive_env.engine.world_places import find
from longlive_env.errors import WeightsError

_ENDS = 1 << 26  # bytes read at each end of a file; other versions differ everywhere


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """A digest of weights by name, rounded to half precision."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(f"{name} {list(value.shape)}".encode())
        digest.update(value.half().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def codec_fingerprint(codec: nn.Module | Mapping[str, Tensor]) -> str:
    """A digest of a codec without its decoder, which identifies its latents.

    Weights are rounded to half precision, in which worlds are saved, so that saving changes no fingerprint.

    Args:
        codec: the network, or its weights by name.
    """
    weights = codec.state_dict() if isinstance(codec, nn.Module) else codec
    return fingerprint({name: value for name, value in weights.items() if not name.startswith("decoder.")})


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
        parts, files = [], [*published.text_files(folder), published.codec_file(folder, "wan")]
    else:
        parts = [codec_fingerprint(read_state(folder / CODEC_FILE)).encode()]
        files = [folder / TEXT_ENCODER_FILE, folder / TOKENIZER_FILE]
    parts += map(_of_file, files)
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _of_file(file: Path) -> bytes:
    """A digest of a file's size and ends."""
    if not file.is_file():
        raise WeightsError(f"{file} does not exist; expected a world: give the folder of a whole one")
    size = file.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(file, "rb") as opened:
        digest.update(opened.read(_ENDS))
        opened.seek(max(0, size - _ENDS))
        digest.update(opened.read())
    return digest.digest()
