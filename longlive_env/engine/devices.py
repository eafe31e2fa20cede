"""Which devices torch can use here, checked before anything is loaded onto them, and how they compute."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager, nullcontext

import torch

from longlive_env.engine.stopwatch import fastest
from longlive_env.errors import BackendError, ConfigError

WORTHWHILE = 1.5  # gain of bfloat16 in matrix products that makes a world faster
_SIDE, _ROUNDS = 512, 6  # of the matrices to time, and how often


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 matrix products are fast on a device.

    PyTorch leaves them to oneDNN on processors with AVX-512; on others it uses a plain loop, which takes many
    times as long as a product in float32.
    """
    if device.type != "cpu":
        return True
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)  # internal to PyTorch
    return bool(supported and supported())


@functools.cache
def bfloat16_gain() -> float:
    """How many times as fast as in float32 matrix products in bfloat16 are on this processor.

    Instructions do not tell: a processor with AVX-512 may emulate them. So it is measured, once a process, in
    some ten milliseconds. 0 stands for slow where PyTorch would use its plain loop.
    """
    cpu = torch.device("cpu")
    if not multiplies_bfloat16(cpu):
        return 0.0
    times = list[float]()
    for dtype in (torch.float32, torch.bfloat16):
        factor = torch.ones(_SIDE, _SIDE, dtype=dtype)
        times.append(fastest(functools.partial(torch.mm, factor, factor), cpu, _ROUNDS))
    return times[0] / times[1]


def usable(device: torch.device | str) -> torch.device:
    """Return a device, with its index as tensors name it, after putting something there as a test.

    Raises:
        ConfigError: torch knows no device of that name.
        BackendError: this machine, or this build of torch, has none.
    """
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"there is no device {device!r}; expected cpu, cuda, cuda:1 or the like") from error
    if place.type == "mps":
        raise BackendError("the device 'mps' has no float64, which positions are computed in; take cpu")
    try:
        return torch.empty(1, device=place).device
    except (AssertionError, NotImplementedError, RuntimeError) as error:  # depends on the kind of device
        reason = (str(error).strip().splitlines() or ["no reason given"])[0].rstrip(".")
        raise BackendError(
            f"the device {str(place)!r} cannot be used here: {reason}; take cpu, or a PyTorch built for it"
        ) from error


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Compute in the tensors' own types; meta tensors do not support autocast anyway."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)
