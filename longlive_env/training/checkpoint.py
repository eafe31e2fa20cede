"""Atomic checkpoints: one safetensors file whose header carries the JSON part. Nothing is pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from longlive_env.engine.weights import check_names, shapes
from longlive_env.engine.whole_files import in_one_step
from longlive_env.errors import CheckpointError, WeightsError

_HEADER = "longlive"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    """Write a file atomically: whenever the process or the machine stops, it is the old one or the new one.

    Args:
        path: file to write; its folder exists.
        tensors: tensors by name, of any type and on any device.
        info: JSON values.
    """
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with in_one_step(path, sync=True) as aside:
        save_file(plain, aside, metadata={_HEADER: json.dumps(dict(info))})


def load_tensors(path: Path, prefix: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote.

    Args:
        path: the file.
        prefix: prefix of the tensors to read, which is removed from their names.

    Returns:
        Tensors on the CPU by name, and the JSON part.

    Raises:
        CheckpointError: the file is absent, damaged or of another kind.
    """
    info = read_info(path)
    with safe_open(path, "pt") as file:
        names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118 - not a mapping
        return {name.removeprefix(prefix): file.get_tensor(name) for name in names}, info


def read_info(path: Path) -> dict[str, Any]:
    """The JSON part of what `save_tensors` wrote.

    Raises:
        CheckpointError: the file is absent, damaged or of another kind.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}; give weights.safetensors of a stage")
    try:
        with safe_open(path, "pt") as file:
            header = (file.metadata() or {}).get(_HEADER)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {path}: {error}; train again or restore a copy") from error
    if header is None:
        raise CheckpointError(f"{path} is not a checkpoint of longlive_env; give a file that training wrote")
    info: dict[str, Any] = json.loads(header)
    return info


def copy_state(model: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Copy tensors into a model strictly, keeping the memory layout of the model's own.

    Raises:
        CheckpointError: names or shapes differ; the message lists them.
    """
    own = model.state_dict()
    check_fit(own, shapes(tensors), where)
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(tensors[name])


def check_fit(own: Mapping[str, Tensor], found: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Raise unless a model has the tensors of a file.

    Args:
        own: the model's tensors by name.
        found: shapes in the file by name.
        where: the file, for the message.

    Raises:
        CheckpointError: names or shapes differ; the message lists them.
    """
    try:
        check_names(shapes(own), found, where)
    except WeightsError as error:
        raise CheckpointError(f"{error}; use the options it was trained with") from error
