"""Keep weights on the host and copy them to the device layer by layer: slow, but needs the least memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from longlive_env.engine.weights import is_quantized
from longlive_env.errors import ConfigError

_ON_HOST = "longlive_on_host"  # marks parameters that a `_Visitor` manages


def is_offloaded(model: nn.Module) -> bool:
    """Whether weights of a model stay on the host."""
    return any(getattr(parameter, _ON_HOST, False) for parameter in model.parameters())


def offload(model: nn.Module, device: torch.device | str) -> None:
    """Keep the weights of the linear layers in a transformer's blocks on the host, in place.

    Each is copied to the device when its layer runs, and dropped afterwards; the rest of the model moves
    there permanently. The results do not change.

    Args:
        model: model with the layout of `CausalWanTransformer`.
        device: device the layers run on.

    Raises:
        ConfigError: the model is quantized.
    """
    if is_quantized(model):
        raise ConfigError("a quantized model cannot be offloaded; choose one of precision and offload")
    place = torch.device(device)
    for name, module in model.named_modules():
        if name.startswith("blocks.") and isinstance(module, nn.Linear):
            _Visitor(module, place)
    for parameter in model.parameters():
        if not getattr(parameter, _ON_HOST, False):
            parameter.data = parameter.data.to(place)
    for buffer in model.buffers():
        buffer.data = buffer.data.to(place)


class _Visitor:
    """Copies the weights of one layer to the device before it runs, and drops them afterwards."""

    def __init__(self, layer: nn.Linear, device: torch.device) -> None:
        self.device = device
        self.home: dict[str, Tensor] = {}
        for name, parameter in layer.named_parameters():
            host = parameter.data.cpu()
            self.home[name] = host.pin_memory() if device.type == "cuda" else host
            parameter.data = self.home[name]
            setattr(parameter, _ON_HOST, True)
        layer.register_forward_pre_hook(self._arrive)
        layer.register_forward_hook(self._leave, always_call=True)

    def _arrive(self, layer: nn.Module, args: Any) -> None:
        for name, parameter in layer.named_parameters():
            parameter.data = self.home[name].to(self.device, non_blocking=True, copy=True)

    def _leave(self, layer: nn.Module, args: Any, out: Any) -> None:
        for name, parameter in layer.named_parameters():
            parameter.data = self.home[name]
