"""Weights, gradients and optimizer states spread over processes (FSDP2), block by block.

A process keeps a slice of every weight, in float32. A block's weights are gathered right before the block
runs and freed right after it, forward and backward; gradients are averaged over processes as they are
scattered. With bfloat16 the blocks travel and compute in that type, while embeddings, the head and the
residual stream keep float32, as autocast has it; gradients are summed in float32 either way.

Of a block the keys and values of cross-attention are computed apart from the rest, for a prompt; so they are
gathered apart from it.
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
    """Spread every network of a model over the processes, in place, and bring it to the device.

    All processes hold the same weights before; each keeps its slices.

    Args:
        model: made of transformers and text encoders alone.
        device: of this process.
        dtype: in which a transformer's blocks travel and compute; None for that of the weights.
        frozen: keep blocks in that type, too: nobody will update them.

    Raises:
        ConfigError: there is one process only, or the model has weights outside of such networks.
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
    """A layer norm of float32 tokens by the weights of a block in bfloat16, for which a CPU has no kernel."""

    def forward(self, x: Tensor) -> Tensor:
        """Norm ``[..., E]``."""
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
    if mesh.device_type == "cpu":  # gloo sums, but takes no means
        for module in network.modules():
            if isinstance(module, FSDPModule):
                module.set_force_sum_reduction_for_comms(True)
