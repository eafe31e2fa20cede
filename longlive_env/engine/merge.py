"""Compute queries, keys and values of self-attention by one product instead of three.

Transforms apply in this order, as in `World.load`: weights (with a LoRA merged), `merge_projections`,
`quantize`, `compile_world`. State dicts keep the names and shapes of the published layout either way, so
files are read and written as before. Quantized weights have a scale per row, so a merged layer gives the same
products as its parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from longlive_env.engine.compile import CompiledBlock
from longlive_env.engine.linear import Linear
from longlive_env.engine.offload import is_offloaded
from longlive_env.engine.transformer import AttentionLayer, Block, CausalWanTransformer, KeysValues
from longlive_env.engine.weights import is_quantized, on_meta
from longlive_env.errors import ConfigError

PARTS = ("q", "k", "v")


class MergedAttentionLayer(AttentionLayer):
    """Self-attention with its three projections stacked as rows of one; see `merge_projections`."""

    qkv: Linear

    def projections(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `AttentionLayer`; the results are views of one tensor."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return q, k, v

    def queries(self, x: Tensor) -> Tensor:
        """See `AttentionLayer`."""
        return self.queries_keys_values(x)[0]

    def keys_values(self, x: Tensor) -> KeysValues:
        """See `AttentionLayer`; computes queries too, which only the last layer's `store` does not need."""
        return self.queries_keys_values(x)[1:]


def merge_projections(transformer: CausalWanTransformer) -> None:
    """Make every self-attention of a transformer project by one product, in place.

    Cross-attention keeps its layers: a prompt's keys and values are computed only once per prompt.

    Raises:
        ConfigError: the transformer is merged, quantized, offloaded or compiled already.
    """
    if is_merged(transformer):
        raise ConfigError("the projections are merged already; merge them once")
    if is_quantized(transformer):
        raise ConfigError("projections cannot be merged after quantizing; merge them before")
    if is_offloaded(transformer):
        raise ConfigError("projections of an offloaded model cannot be merged; choose one of the two")
    if any(isinstance(block, CompiledBlock) for block in transformer.blocks):
        raise ConfigError("projections cannot be merged after compiling; merge them before")
    for layer in _self_attentions(transformer):
        _merge(layer)


def is_merged(transformer: CausalWanTransformer) -> bool:
    """Whether self-attention projects by one product."""
    return any(isinstance(layer, MergedAttentionLayer) for layer in _self_attentions(transformer))


def _self_attentions(transformer: CausalWanTransformer) -> Iterator[AttentionLayer]:
    return (block.self_attn for block in transformer.blocks if isinstance(block, Block))


def _merge(layer: AttentionLayer) -> None:
    parts = [layer.q, layer.k, layer.v]
    dim_in, dim_out = layer.q.in_features, sum(part.out_features for part in parts)
    qkv = on_meta(lambda: Linear(dim_in, dim_out))
    for name in ("weight", "bias"):
        old = [getattr(part, name) for part in parts]
        setattr(qkv, name, nn.Parameter(torch.cat([one.data for one in old]), old[0].requires_grad))
    del layer.q, layer.k, layer.v
    layer.__class__ = MergedAttentionLayer
    assert isinstance(layer, MergedAttentionLayer)
    layer.qkv = qkv.train(layer.training)
    layer.register_state_dict_post_hook(_split_names)  # type: ignore[no-untyped-call]
    layer.register_load_state_dict_pre_hook(_join_names)  # type: ignore[no-untyped-call]


def _split_names(layer: nn.Module, state: dict[str, Tensor], prefix: str, metadata: Any) -> None:
    """Split a state dict's merged weights by the parts' names; quantized ones, never saved, stay merged."""
    for name in ("weight", "bias"):
        whole = state.get(f"{prefix}qkv.{name}")
        if whole is not None and type(whole.data) is Tensor:
            del state[f"{prefix}qkv.{name}"]
            state.update(
                {f"{prefix}{part}.{name}": rows for part, rows in zip(PARTS, whole.chunk(3), strict=True)}
            )


def _join_names(layer: nn.Module, state: dict[str, Tensor], prefix: str, *rest: Any) -> None:
    """Merge the weights of a state dict that names the parts."""
    for name in ("weight", "bias"):
        names = [f"{prefix}{part}.{name}" for part in PARTS]
        if all(one in state for one in names):
            state[f"{prefix}qkv.{name}"] = torch.cat([state.pop(one) for one in names])
