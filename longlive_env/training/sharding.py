"""Shard weights, gradients and optimizer states over processes (FSDP2), block by block.

A process keeps a slice of every weight, in float32. A block's weights are gathered right before the block
runs and freed right after it, forward and backward; gradients are averaged over processes as they are
scattered. With bfloat16, blocks are sent and computed in that type, while embeddings, the head and the
residual stream stay in float32, as under autocast; gradients are summed in float32 either way.

A block's layers for cross-attention's keys and values run apart from the rest, once for a prompt, so they are
gathered separately.
"""

from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import (
    FSDPModule,
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)

from longlive_env.engine.text_encoder import UMT5Encoder
from longlive_env.engine.transformer import Block, CausalWanTransformer
from longlive_env.errors import ConfigError
from longlive_env.training import parallel

_VIEWS = "FSDP2-wrapped module .* returned a view tensor"  # nothing here writes into what a network returns


def shard(
    model: nn.Module, device: torch.device | str, dtype: torch.dtype | None = None, *, frozen: bool = False
) -> None:
    """Shard every network of a model over the processes, in place, and move it to the device.

    All processes hold the same weights before; each keeps its slices.

    Args:
        model: model made only of transformers and text encoders.
        device: device of this process.
        dtype: type in which a transformer's blocks are sent and computed; None for that of the weights.
        frozen: whether to also keep blocks in that type, as they will not be updated.

    Raises:
        ConfigError: there is only one process, or the model has weights outside such networks.
    """
    if parallel.processes() == 1:
        raise ConfigError(
            "weights cannot be sharded over one process; start several with torchrun, or leave shard out"
        )
    networks = [one for one in model.modules() if isinstance(one, CausalWanTransformer | UMT5Encoder)]
    covered = {id(p) for network in networks for p in network.parameters()}
    outside = [name for name, p in model.named_parameters() if id(p) not in covered]
    if outside:
        raise ConfigError(
            f"{len(outside)} weights lie outside of transformers and text encoders, first {outside[0]}; "
            "train such a model without shard"
        )
    mesh = init_device_mesh(torch.device(device).type, (parallel.processes(),))
    for network in networks:
        if frozen and dtype is not None:
            network.blocks.to(dtype)
        _shard_network(network, mesh, dtype if isinstance(network, CausalWanTransformer) else None)


class _MixedLayerNorm(nn.LayerNorm):
    """A layer norm of float32 tokens with bfloat16 weights, for which PyTorch has no kernel on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``[..., E]``."""
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return F.layer_norm(x, self.normalized_shape, weight, bias, self.eps)


def _shard_network(
    network: CausalWanTransformer | UMT5Encoder, mesh: DeviceMesh, dtype: torch.dtype | None
) -> None:
    # The networks cast their inputs themselves; timesteps would not survive a cast to bfloat16.
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    ends = MixedPrecisionPolicy(reduce_dtype=torch.float32, cast_forward_inputs=False)
    for block in network.blocks:
        if isinstance(block, Block):
            block.norm3.__class__ = _MixedLayerNorm
            cross = block.cross_attn
            fully_shard([cross.k, cross.norm_k, cross.v], mesh=mesh, mp_policy=policy)
        fully_shard(block, mesh=mesh, mp_policy=policy)
        if isinstance(block, Block):
            register_fsdp_forward_method(block, "store")
    fully_shard(network, mesh=mesh, mp_policy=ends, reshard_after_forward=True)
    if isinstance(network, CausalWanTransformer):
        for method in ("cross_keys_values", "remember"):
            register_fsdp_forward_method(network, method)
        warnings.filterwarnings("ignore", _VIEWS, UserWarning)
    if mesh.device_type == "cpu":  # gloo supports sums, but not means
        for module in network.modules():
            if isinstance(module, FSDPModule):
                module.set_force_sum_reduction_for_comms(True)
