"""Low-rank adaptation: a layer's weight plus the product of two thin matrices, which alone are trained.

The adapters are parametrizations of the layers, so a model's code does not know of them, and `merge` leaves a
plain model. Source: Hu and others, 2021, "LoRA: Low-Rank Adaptation of Large Language Models".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from longlive_env.errors import ConfigError


class LowRank(nn.Module):
    """Adds ``alpha / rank * up @ down`` to a weight; `up` starts at zero: nothing changes at first."""

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        out_features, in_features = weight.shape
        self.scale = alpha / rank
        self.down = nn.Parameter(weight.new_empty(rank, in_features))
        self.up = nn.Parameter(weight.new_zeros(out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        """The adapted weight [out, in]."""
        return weight + self.scale * (self.up @ self.down).to(weight.dtype)


def add_lora(model: nn.Module, rank: int, alpha: float | None = None) -> int:
    """Adapt every linear layer of a model in place; all its own weights are frozen.

    Args:
        model: with linear layers that have no adapters yet.
        rank: of the adapters.
        alpha: scale of the adapters times rank; the rank by default, as LongLive has it.

    Returns:
        How many layers were adapted.

    Raises:
        ConfigError: the rank is not positive, or a layer has adapters already.
    """
    if rank < 1:
        raise ConfigError(f"the rank of the adapters is {rank}; it must be at least 1")
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    if any(parametrize.is_parametrized(layer, "weight") for layer in layers):
        raise ConfigError("the model has adapters already; merge them first")
    model.requires_grad_(False)
    for layer in layers:
        adapter = LowRank(layer.weight, rank, float(rank if alpha is None else alpha))
        parametrize.register_parametrization(layer, "weight", adapter)
    return len(layers)


def merge_lora(model: nn.Module) -> None:
    """Turn adapted layers into plain ones that compute the same, in place."""
    with torch.no_grad():
        for layer in list(model.modules()):
            if isinstance(layer, nn.Linear) and parametrize.is_parametrized(layer, "weight"):
                parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
