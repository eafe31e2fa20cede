"""What a block costs: operations by part, and the least number of bytes to move.

Both are computed from a configuration, not measured. A multiplication and an addition count as two
operations. Matrix products, attention and convolutions are counted; norms, rotations and gates are not, as
only their bytes cost time.

Legend: S tokens of a pass, K tokens that they see, L text tokens, E model width, N layers.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from longlive_env.engine.codec import CodecState
from longlive_env.engine.codec.make import make_codec
from longlive_env.engine.config import CodecConfig, WorldConfig
from longlive_env.engine.quantize import weight_bytes
from longlive_env.engine.transformer import Block, CausalWanTransformer
from longlive_env.engine.weights import on_meta


@dataclass(frozen=True)
class Operations:
    """Operations of one pass through the transformer.

    Attributes:
        projections: queries, keys, values and outputs of both attentions.
        self_attention: scores and mixing.
        cross_attention: scores and mixing.
        feed_forward: both matrices.
        ends: patch embedding, time embedding and head.
    """

    projections: int
    self_attention: int
    cross_attention: int
    feed_forward: int
    ends: int

    @property
    def total(self) -> int:
        """All operations."""
        return self.linear + self.self_attention + self.cross_attention

    @property
    def linear(self) -> int:
        """Operations of linear layers, which 8-bit precisions speed up."""
        return self.projections + self.feed_forward + self.ends


@dataclass(frozen=True)
class BlockCost:
    """What one world's block costs once the context is full.

    Attributes:
        steps: number of denoising passes.
        denoise: operations of one denoising pass.
        remember: operations of the pass that writes the clean keys and values.
        decode: operations of the codec.
        weight_bytes: bytes of the weights that a pass reads, without those used for a new prompt.
        cache_bytes: bytes of keys and values that a pass of one world reads (including the prompt's) and
            writes.
    """

    steps: int
    denoise: Operations
    remember: Operations
    decode: int
    weight_bytes: int
    cache_bytes: int

    @property
    def transformer(self) -> int:
        """Operations of a block without decoding."""
        return self.steps * self.denoise.total + self.remember.total

    @property
    def transformer_bytes(self) -> int:
        """Least number of bytes that the passes of a block move."""
        return (self.steps + 1) * (self.weight_bytes + self.cache_bytes)


def once_a_prompt(transformer: CausalWanTransformer) -> list[nn.Module]:
    """The parts that run only for a new prompt."""
    layers = [block.cross_attn for block in transformer.blocks if isinstance(block, Block)]
    return [transformer.text_embedding, *(part for one in layers for part in (one.k, one.v, one.norm_k))]


def block_cost(
    config: WorldConfig, dtype: torch.dtype = torch.bfloat16, kv_dtype: torch.dtype | None = None
) -> BlockCost:
    """The cost of a block with a full context.

    Args:
        config: the world's configuration.
        dtype: type of weights, keys and values.
        kv_dtype: type of self-attention's cached keys and values, if they have their own.
    """
    block, context = config.frames_per_block, config.context_frames
    shape = config.transformer
    model = on_meta(lambda: CausalWanTransformer(shape)).to(dtype)
    token_values = 2 * shape.layers * shape.dim  # keys and values of all layers
    frame_bytes = token_values * config.frame_tokens * (kv_dtype or dtype).itemsize
    return BlockCost(
        steps=len(config.sampler.steps),
        denoise=denoise_operations(config),
        remember=pass_operations(config, block, context, remember=True),
        decode=decode_operations(config.codec, config.latent_shape, block),
        weight_bytes=weight_bytes(model) - weight_bytes(*once_a_prompt(model)),
        cache_bytes=(context + block) * frame_bytes + token_values * shape.text_len * dtype.itemsize,
    )


def denoise_operations(config: WorldConfig) -> Operations:
    """Operations of one denoising pass with a full context."""
    return pass_operations(config, config.frames_per_block, config.context_frames)


def recache_operations(config: WorldConfig) -> Operations:
    """Operations of the pass after a prompt switch, for a video longer than the context."""
    frames = config.context_frames - (config.sink_frames if config.keep_sink else 0)
    return pass_operations(config, frames, config.context_frames, remember=True)


def pass_operations(config: WorldConfig, frames: int, visible: int, remember: bool = False) -> Operations:
    """Operations of a pass.

    Args:
        config: the world's configuration.
        frames: latent frames in the pass.
        visible: latent frames that they see, themselves included.
        remember: whether the pass only stores keys and values, so that the last layer ends with them.
    """
    shape = config.transformer
    width, tokens = shape.dim, frames * config.frame_tokens
    layers = shape.layers - remember
    matrix = 2 * tokens * width * width  # a projection of all tokens
    patch = shape.patch_size[1] * shape.patch_size[2]
    time = 2 * (shape.freq_dim * width + width * width + 6 * width * width)
    return Operations(
        projections=(6 * layers + 2 * remember) * matrix,
        self_attention=layers * 4 * tokens * visible * config.frame_tokens * width,
        cross_attention=layers * 4 * tokens * shape.text_len * width,
        feed_forward=layers * 4 * tokens * width * shape.ffn_dim,
        ends=2 * tokens * width * patch * (shape.in_channels + (0 if remember else shape.out_channels))
        + time,
    )


@functools.lru_cache(maxsize=16)
def decode_operations(codec: CodecConfig, latent_shape: tuple[int, int, int], frames: int) -> int:
    """Operations of decoding latent frames of a running world, counted on meta tensors."""
    model = on_meta(lambda: make_codec(codec)).requires_grad_(False)
    latents = torch.empty(1, frames, *latent_shape, device="meta")
    state = model.decode(latents, CodecState.fresh(1)).state
    with FlopCounterMode(display=False) as counter:
        model.decode(latents, state)
    return int(counter.get_total_flops())
