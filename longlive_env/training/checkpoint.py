"""Atomic checkpoints: one safetensors file whose header carries the JSON part. Nothing is pickled."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from longlive_env.errors import CheckpointError

_HEADER = "longlive"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    """Write a file that is either the old one or the new one, whenever the process or the machine stops.

    Args:
        path: where; its folder exists.
        tensors: any dtypes and devices.
        info: JSON values.
    """
    partial = path.with_name(path.name + ".partial")
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    save_file(plain, partial, metadata={_HEADER: json.dumps(dict(info))})
    with open(partial, "rb") as written:
        os.fsync(written.fileno())
    os.replace(partial, path)


def load_tensors(path: Path, prefix: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote.

    Args:
        path: the file.
        prefix: only tensors of this prefix are read, and it is taken off their names.

    Returns:
        Tensors on the CPU by name, and the JSON part.

    Raises:
        CheckpointError: the file is absent, damaged or of another kind.
    """
    try:
        with safe_open(path, "pt") as file:
            header = (file.metadata() or {}).get(_HEADER)
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118 - not a mapping
            tensors = {name.removeprefix(prefix): file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {path}: {error}; train again or restore a copy") from error
    if header is None:
        raise CheckpointError(f"{path} is no checkpoint of longlive_env; give a file that training wrote")
    return tensors, json.loads(header)


def load_weights(model: nn.Module, path: Path) -> dict[str, Any]:
    """Load the averaged weights that a training run left in `path` (its `weights.safetensors`) into `model`.

    Returns:
        The JSON part: stage, step, metrics.

    Raises:
        CheckpointError: the file is unreadable, or its names or shapes do not fit `model`.
    """
    tensors, info = load_tensors(path)
    copy_state(model, tensors, str(path))
    return info


def copy_state(model: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Copy tensors into a model strictly, keeping the memory layout of its own.

    Raises:
        CheckpointError: names or shapes differ; the message lists them.
    """
    own = model.state_dict()
    wrong = [f"missing {name}" for name in own if name not in tensors]
    wrong += [f"unexpected {name}" for name in tensors if name not in own]
    wrong += [
        f"{name} is {list(tensors[name].shape)}, expected {list(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    if wrong:
        raise CheckpointError(
            f"{where} does not fit the model: {'; '.join(wrong)}; use the options it was trained with"
        )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(tensors[name])


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimizer as tensors named `<parameter index>.<field>`."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, fields in state.items()
        for name, value in fields.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave; each field takes the memory layout of its parameter."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        like = parameters[int(index)]
        if value.shape == like.shape:
            value = torch.empty_like(like, dtype=value.dtype, requires_grad=False).copy_(value)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
