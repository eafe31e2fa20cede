"""Devices that torch can use here, asked before anything is loaded onto them."""

from __future__ import annotations

import torch

from longlive_env.errors import BackendError, ConfigError


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether products of bfloat16 matrices are worth having on a device.

    PyTorch leaves them to oneDNN where a processor has AVX-512; elsewhere a plain loop computes them, which
    takes many times as long as a product in float32.
    """
    if device.type != "cpu":
        return True
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)  # internal to PyTorch
    return bool(supported and supported())


def usable(device: torch.device | str) -> torch.device:
    """The device of that name, after something was put there; with its index, as tensors name it.

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
