"""Checkpoints of a run: one file of a single process, or a folder to which each process writes its share.

A folder is written by PyTorch's distributed checkpoint (DCP) in its safetensors format, so that each process
reads only the slices it holds, however many processes resume. Nothing is pickled: DCP's own format keeps its
index as a pickle, which could run code from someone else's checkpoint.

Either kind is written beside the old checkpoint and replaces it atomically, whenever a process or the machine
stops. If there are several, the newest counts.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from longlive_env.engine.whole_files import in_one_step, write_whole
from longlive_env.errors import CheckpointError
from longlive_env.training import parallel
from longlive_env.training.checkpoint import read_info, save_tensors

FILE = "checkpoint.safetensors"
_FOLDER = "checkpoint-"  # and the step
_PARTIAL = "checkpoint.partial"
_OLD = "checkpoint.old"
_INFO = "info.json"

logger = logging.getLogger(__name__)


class SavedRun(Mapping[str, Tensor]):
    """A checkpoint on disk; tensors are read on access, whole and to the CPU.

    Attributes:
        path: its file or folder.
        info: its JSON part.
        shapes: shapes of its tensors by name.
    """

    def __init__(self, path: Path) -> None:
        """Open a checkpoint without reading its tensors.

        Raises:
            CheckpointError: the checkpoint is damaged or of another kind.
        """
        self.path = path
        self._files: dict[str, list[tuple[Path, tuple[int, ...]]]] = {}  # name -> files and shapes
        try:
            self.info = read_info(path) if path.is_file() else _read_json(path / _INFO)
            for file in [path] if path.is_file() else sorted(path.glob("*.safetensors")):
                with safe_open(file, "pt") as opened:
                    for name in opened.keys():  # noqa: SIM118 - not a mapping
                        shape = tuple(opened.get_slice(name).get_shape())
                        self._files.setdefault(name, []).append((file, shape))
        except FileNotFoundError as error:
            raise CheckpointError(
                f"cannot read {path}: it holds no {_INFO}; restore a copy, or remove it to train again"
            ) from error
        except (OSError, ValueError, SafetensorError) as error:
            raise CheckpointError(f"cannot read {path}: {error}; train again or restore a copy") from error
        self.shapes = {
            name: (sum(shape[0] for _, shape in pieces), *pieces[0][1][1:]) if pieces[0][1] else ()
            for name, pieces in self._files.items()
        }  # processes hold slices of the first axis

    def __getitem__(self, name: str) -> Tensor:
        target = torch.empty(self.shapes[name], dtype=self._dtype(name))
        self.fill({name: target})
        return target

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def empty_like(self, name: str, like: Tensor) -> Tensor:
        """Memory for a tensor, sharded and laid out as `like` if their shapes are equal."""
        dtype = self._dtype(name)
        if self.shapes[name] == tuple(like.shape):
            return torch.empty_like(like, dtype=dtype, requires_grad=False)
        return torch.empty(self.shapes[name], dtype=dtype)

    def under(self, prefix: str) -> Mapping[str, Tensor]:
        """The tensors whose names begin with `prefix`, by the rest of their names."""
        return _Part(self, prefix)

    @torch.no_grad()
    def fill(self, targets: Mapping[str, Tensor]) -> None:
        """Read tensors into memory of their shapes; for sharded ones, the slices that this process holds."""
        if self.path.is_file():
            with safe_open(self.path, "pt") as file:
                for name, target in targets.items():
                    value = file.get_tensor(name).to(target.device)
                    parallel.local(target).copy_(parallel.local(parallel.sliced_like(value, target)))
            return
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
        from torch.distributed.checkpoint.state_dict_loader import load

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")  # every process reads alone
            load(dict(targets), storage_reader=HuggingFaceStorageReader(str(self.path)), no_dist=True)

    def _dtype(self, name: str) -> torch.dtype:
        file = self._files[name][0][0]
        with safe_open(file, "pt") as opened:
            piece: Tensor = opened.get_slice(name)[:0] if self.shapes[name] else opened.get_tensor(name)
        return piece.dtype


class _Part(Mapping[str, Tensor]):
    """Tensors of a checkpoint under a prefix."""

    def __init__(self, saved: SavedRun, prefix: str) -> None:
        self._saved, self._prefix = saved, prefix

    def __getitem__(self, name: str) -> Tensor:
        return self._saved[self._prefix + name]

    def __iter__(self) -> Iterator[str]:
        return (name.removeprefix(self._prefix) for name in self._saved if name.startswith(self._prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def newest(out: Path) -> SavedRun | None:
    """The checkpoint in a run's folder with the most steps, or None."""
    found = [SavedRun(path) for path in [out / FILE, *_folders(out)] if path.exists()]
    return max(found, key=lambda saved: saved.info["step"], default=None)


def save(out: Path, step: int, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    """Write a checkpoint in place of the previous one; every process has to call this.

    Args:
        out: the run's folder.
        step: step of the run.
        tensors: tensors by name: sharded, equal on every process, or of this process alone.
        info: JSON values.
    """
    if parallel.processes() == 1:
        save_tensors(out / FILE, tensors, info)
        _remove(_folders(out))
        return
    path = out / f"{_FOLDER}{step:09d}"
    if parallel.agree(path.exists()):  # at a run's end: only its metrics are new
        if not parallel.rank():
            write_whole(path / _INFO, json.dumps(dict(info)))
    else:
        _save_together(out / _PARTIAL, tensors, info)
        if not parallel.rank():
            os.rename(out / _PARTIAL, path)
            _sync(out)
            _remove([out / FILE, *(folder for folder in _folders(out) if folder != path)])
    parallel.wait_for_all()


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimizer as tensors named `<parameter index>.<field>`."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, fields in state.items()
        for name, value in fields.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, saved: SavedRun, prefix: str) -> None:
    """Restore what `optimizer_tensors` returned; each field is laid out and sharded as its parameter.

    Args:
        optimizer: optimizer of the same parameters in the same order.
        saved: checkpoint with the state.
        prefix: prefix of the state's names in the checkpoint.

    Raises:
        CheckpointError: the state is of other parameters.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    targets, state = {}, dict[int, dict[str, Tensor]]()
    for name in saved:
        if name.startswith(prefix):
            index, field = name.removeprefix(prefix).split(".", 1)
            number, shape = int(index), saved.shapes[name]
            own = tuple(parameters[number].shape) if number < len(parameters) else None
            if own is None or shape not in ((), own):
                expected = f"one of {len(parameters)} parameters" if own is None else f"shape {list(own)}"
                raise CheckpointError(
                    f"{saved.path} was saved while other parameters were trained: {name} has shape "
                    f"{list(shape)}, expected {expected}; choose another folder, or the options that the run "
                    "began with"
                )
            targets[name] = saved.empty_like(name, parameters[number])
            state.setdefault(number, {})[field] = targets[name]
    saved.fill(targets)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _save_together(partial: Path, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    from torch.distributed.checkpoint import state_dict_saver
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter

    if not parallel.rank():
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
    parallel.wait_for_all()
    plain = {name: value.detach().contiguous() for name, value in tensors.items()}
    writer = HuggingFaceStorageWriter(str(partial), save_distributed=True)
    state_dict_saver.save(plain, storage_writer=writer)
    if not parallel.rank():
        with in_one_step(partial / _INFO, sync=True) as aside:
            aside.write_text(json.dumps(dict(info)), encoding="utf-8")
        _sync(partial)


def _folders(out: Path) -> list[Path]:
    return sorted(path for path in out.glob(f"{_FOLDER}*") if path.name.removeprefix(_FOLDER).isdigit())


def _remove(paths: list[Path]) -> None:
    for path in paths:
        if path.is_dir():  # atomically: half a folder must never be found
            aside = path.with_name(_OLD)
            shutil.rmtree(aside, ignore_errors=True)
            os.rename(path, aside)
            shutil.rmtree(aside)
        else:
            path.unlink(missing_ok=True)


def _read_json(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} holds {type(found).__name__}")
    return found


def _sync(folder: Path) -> None:
    """Make renames in a folder survive a loss of power."""
    if os.name == "nt":  # Windows cannot open folders
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
