"""Which devices torch can use here, checked before anything is loaded onto them."""

from __future__ import annotations

import torch

from longlive_env.errors import BackendError, ConfigError


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 matrix products are fast on a device.

    PyTorch leaves them to oneDNN on processors with AVX-512; on others it uses a plain loop, which takes many
    times as long as a product in float32.
    """
    if device.type != "cpu":
        return True
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)  # internal to PyTorch
    return bool(supported and supported())


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
