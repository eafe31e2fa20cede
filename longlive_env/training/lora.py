"""Low-rank adaptation: a layer plus the product of two thin matrices, where only these are trained.

Adapted layers compute both paths from their input and add the results. If the matrices were added first, an
update that is small relative to its weight would be rounded away wherever weights are sent in bfloat16.
`merge_lora` leaves a plain model. Source: Hu and others, 2021, "LoRA: Low-Rank Adaptation of Large Language
Models".
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from longlive_env.engine.linear import Linear, linear
from longlive_env.engine.seeds import seeded
from longlive_env.engine.transformer import Block
from longlive_env.errors import ConfigError


class AdaptedLinear(Linear):
    """Adds ``up @ down`` to a linear layer; `up` starts at zero, so nothing changes at first."""

    down: nn.Parameter
    up: nn.Parameter

    def forward(self, x: Tensor, gelu: bool = False) -> Tensor:
        """Map ``[..., in]`` to ``[..., out]``, through GELU (its tanh form) where asked."""
        out = linear(x, self.weight, self.bias) + F.linear(F.linear(x, self.down), self.up)
        return F.gelu(out, approximate="tanh") if gelu else out


def add_lora(model: nn.Module, rank: int) -> None:
    """Adapt the linear layers of a model's blocks in place, as LongLive does, and freeze its own weights.

    Args:
        model: a transformer or a block of one, without adapters.
        rank: rank of the adapters.

    Raises:
        ConfigError: the rank is not positive, or a layer has adapters already.
    """
    if rank < 1:
        raise ConfigError(f"the rank of the adapters is {rank}; it must be at least 1")
    layers = [
        layer
        for block in model.modules()
        if isinstance(block, Block)
        for layer in block.modules()
        if isinstance(layer, Linear)
    ]
    if any(isinstance(layer, AdaptedLinear) for layer in layers):
        raise ConfigError("the model has adapters already; merge them first")
    model.requires_grad_(False)
    for layer in layers:
        layer.__class__ = AdaptedLinear
        assert isinstance(layer, AdaptedLinear)
        layer.down = nn.Parameter(layer.weight.new_empty(rank, layer.in_features))
        layer.up = nn.Parameter(layer.weight.new_zeros(layer.out_features, rank))
        nn.init.kaiming_uniform_(layer.down, a=5**0.5)


def adapt(networks: Iterable[tuple[nn.Module, int]], seed: int) -> None:
    """Add seeded adapters to networks, in place, each of the given rank; 0 adds none."""
    with seeded(seed):
        for network, rank in networks:
            if rank:
                add_lora(network, rank)


def merge_lora(model: nn.Module) -> None:
    """Turn adapted layers into equivalent plain ones, in place."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, AdaptedLinear):
                module.weight += (module.up @ module.down).to(module.weight.dtype)
                del module.down, module.up
                plain: nn.Module = module
                plain.__class__ = Linear
