"""Data-parallel training: processes that each take a part of every batch and agree on its gradients.

Without a process group everything here does nothing, so the same loop serves one process or many. Start many
with ``torchrun --nproc-per-node N -m longlive_env.training STAGE ...``. Weights are copied to all processes,
or sharded over them (see `sharding`), so that each holds a slice of every tensor.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

_PATIENCE = timedelta(hours=6)  # how long others wait while the first process makes files or a picture


def rank() -> int:
    """Number of this process; 0 without a group."""
    return dist.get_rank() if _grouped() else 0


def environment_rank() -> int:
    """Number of this process as set by torchrun, also before and after the group; 0 without torchrun."""
    return int(os.environ.get("RANK", "0"))


def processes() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if _grouped() else 1


@contextlib.contextmanager
def process_group(device: str) -> Iterator[str]:
    """Join the group that torchrun describes in the environment, and leave it at the end.

    Args:
        device: requested device; "cuda" becomes the GPU of this process.

    Yields:
        The device of this process.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield device
        return
    kind = torch.device(device).type
    if kind == "cuda":
        device = f"cuda:{int(os.environ.get('LOCAL_RANK', '0'))}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if kind == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield device
    finally:
        dist.destroy_process_group()


def average_gradients(parameters: Sequence[Tensor]) -> None:
    """Replace each gradient by its mean over processes; those that no process has stay absent.

    A process may lack the gradient of a parameter that its part of the batch did not reach; it counts as
    zero.
    """
    if processes() == 1:
        return
    device = parameters[0].device
    present = torch.tensor([float(p.grad is not None) for p in parameters], device=device)
    dist.all_reduce(present)
    for parameter, count in zip(parameters, present.tolist(), strict=True):
        if count:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)
            parameter.grad /= processes()


def average_values(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Means of named scalars over processes, all of which pass the same names."""
    if processes() == 1 or not values:
        return dict(values)
    joined = torch.stack([value.float() for value in values.values()])
    dist.all_reduce(joined)
    return dict(zip(values, (joined / processes()).unbind(), strict=True))


def agree(value: float) -> float:
    """The value of the first process, so that all stop and schedule alike."""
    if processes() == 1:
        return value
    said = torch.tensor([value], dtype=torch.float64)
    if dist.get_backend() == "nccl":
        said = said.cuda()
    dist.broadcast(said, 0)
    return float(said.item())


@contextlib.contextmanager
def host_threads() -> Iterator[None]:
    """Let host operations use a fair share of the processors; torchrun allows each process only one."""
    before, local = torch.get_num_threads(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(max(before, (os.cpu_count() or 1) // local))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def wait_for_all() -> None:
    """Return once every process has got here."""
    if processes() > 1:
        dist.barrier()


@contextlib.contextmanager
def first_process_first() -> Iterator[None]:
    """Run the body in the first process before the others, which then find the files that it wrote."""
    if rank():
        wait_for_all()
    yield
    if not rank():
        wait_for_all()


def is_spread(tensor: Tensor) -> bool:
    """Whether each process holds only a slice of a tensor."""
    return hasattr(tensor, "to_local")  # a DTensor, whose module takes a second to import


def is_sharded(model: nn.Module) -> bool:
    """Whether a model's weights are sharded over processes, even while they are gathered."""
    return any(hasattr(module, "unshard") for module in model.modules())


def local(tensor: Tensor) -> Tensor:
    """The slice of a tensor that this process holds, or all of a plain one; it shares the tensor's memory."""
    sliced: Any = tensor
    return sliced.to_local() if is_spread(tensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor; every process has to call this."""
    sliced: Any = tensor
    return sliced.full_tensor() if is_spread(tensor) else tensor


def sliced_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Shard a tensor that every process holds whole like another one."""
    if not is_spread(like):
        return tensor
    from torch.distributed.tensor import DTensor, Replicate

    assert isinstance(like, DTensor)
    mesh = like.device_mesh
    everywhere = DTensor.from_local(tensor, mesh, [Replicate()] * mesh.ndim, run_check=False)
    return everywhere.redistribute(mesh, like.placements)


@contextlib.contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Keep a sharded model's weights whole while the body runs forward passes; others are left alone.

    A rollout runs dozens of passes but gathers only once. Processes need not run the same passes: inside,
    none waits for another.
    """
    parts: list[Any] = [module for module in model.modules() if hasattr(module, "unshard")]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.set_reshard_after_forward(True, recurse=False)
            part.reshard()


def _grouped() -> bool:
    return dist.is_available() and dist.is_initialized()
