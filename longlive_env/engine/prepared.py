"""Published weights, prepared once: LoRA merged, cast, one safetensors file per model.

A prepared file is memory-mapped and copied directly to the model's device. It records the model's
configuration and the identity (size and modification time) of its source files, and is made again when one of
those changes. Nothing depends on it: without space or permission to write it, a world loads from the
published files.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from longlive_env.engine.config_values import to_dict
from longlive_env.engine.weights import build, read_metadata, read_state, write_state
from longlive_env.errors import WeightsError

VERSION = 1
SPARE_BYTES = 1 << 30  # left free on the disk
ModuleT = TypeVar("ModuleT", bound=nn.Module)

logger = logging.getLogger(__name__)


def folder_key(root: Path) -> str:
    """A short name for the prepared files of a folder of published weights."""
    return hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]


def identity(files: Sequence[Path]) -> str:
    """A key that changes whenever one of the files does, without reading them."""
    stamps = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return json.dumps([VERSION, *stamps])


def model(
    file: Path,
    sources: Sequence[Path],
    from_published: Callable[[], ModuleT],
    from_config: Callable[[dict[str, Any]], ModuleT],
    device: torch.device | str,
) -> ModuleT:
    """Load a model from its prepared file, which is made first if absent or outdated.

    Args:
        file: the prepared file.
        sources: the published files that it depends on.
        from_published: function that loads the model, with a `config`, cast and on the CPU.
        from_config: function that makes an empty model from its configuration as plain values.
        device: device of the model.

    Raises:
        WeightsError: the published files are damaged or do not fit.
    """
    wanted = identity(sources)
    try:
        if file.is_file() and (metadata := read_metadata(file)).get("sources") == wanted:
            config = json.loads(metadata["config"])
            return build(lambda: from_config(config), read_state(file), str(file), device)
    except (WeightsError, ValueError, KeyError) as error:
        logger.warning("%s is made again: %s", file, error)
    made = from_published()
    _write(file, made, {"sources": wanted, "config": json.dumps(to_dict(made.config))})
    return made.to(device)


def _write(file: Path, made: nn.Module, metadata: dict[str, str]) -> None:
    size = sum(value.nbytes for value in made.state_dict().values())
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(file.parent).free
        if free < size + SPARE_BYTES:
            logger.warning(
                "no prepared weights: %.1f GB free in %s, %.1f needed", free / 1e9, file.parent, size / 1e9
            )
            return
        write_state(file, made, metadata=metadata)
    except OSError as error:
        logger.warning("no prepared weights in %s: %s", file.parent, error)
