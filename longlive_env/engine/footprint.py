"""How many bytes a world takes, found by running the engine itself on meta tensors.

Weights, caches and codec state are counted as they are made. The temporary tensors of a pass are counted as
they come and go, so the peak is that of eager execution; a compiled pass takes less. Memory that kernels
allocate internally is not seen: attention and norms count as fused kernels that need only their output.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from longlive_env.engine.codec.make import make_codec
from longlive_env.engine.config import LightVAEConfig, TextEncoderConfig, WanVAEConfig, WorldConfig
from longlive_env.engine.kv_cache import Timeline
from longlive_env.engine.noise import WorldNoise
from longlive_env.engine.quantize import weight_bytes
from longlive_env.engine.recache import recache
from longlive_env.engine.rollout import Rollout
from longlive_env.engine.state import RolloutState
from longlive_env.engine.text_encoder import UMT5Encoder
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.engine.weights import on_meta
from longlive_env.engine.world import World


@dataclass(frozen=True)
class Footprint:
    """Bytes that each part of a world takes.

    Attributes:
        transformer: its weights, unquantized.
        largest_layer: the largest linear layer in its blocks.
        layers: all linear layers in its blocks.
        codec: its weights.
        text_encoder: its weights.
        kv_cache: keys and values of self-attention.
        prompt_state: keys and values of cross-attention, embeddings, and latents kept for a recache.
        codec_state: what the codec remembers between blocks.
        denoise_peak: temporary tensors of a denoising or cache pass.
        recache_peak: temporary tensors of a recache.
        decode_peak: temporary tensors of decoding a block.
    """

    transformer: int
    largest_layer: int
    layers: int
    codec: int
    text_encoder: int
    kv_cache: int
    prompt_state: int
    codec_state: int
    denoise_peak: int
    recache_peak: int
    decode_peak: int

    @property
    def state(self) -> int:
        """Bytes that running worlds keep."""
        return self.kv_cache + self.prompt_state + self.codec_state

    @property
    def workspace(self) -> int:
        """The largest peak of temporary tensors, if phases run one after the other."""
        return max(self.denoise_peak, self.recache_peak, self.decode_peak)

    def workspace_on(self, device: torch.device | str, captured: bool = False) -> int:
        """Memory that a device sets aside for temporary tensors.

        On CUDA, a block is decoded on its own stream, in parallel with the pass that remembers it, and memory
        freed on a stream is kept for that stream, so the largest peaks of both add up. Captured graphs keep
        further memory of their own, since recaches and worlds of mixed ages still run without them.

        Args:
            device: device the world runs on.
            captured: whether recurring work is captured, see `compile.captures`.
        """
        if torch.device(device).type != "cuda":
            return self.workspace
        eager = self.decode_peak + max(self.denoise_peak, self.recache_peak)
        return eager + (self.captured_peak if captured else 0)

    @property
    def captured_peak(self) -> int:
        """Bytes that captured graphs keep: for a block's passes, which share a pool, and for its decoding."""
        return self.denoise_peak + self.decode_peak

    def resident_transformer(self, *, offload: bool) -> int:
        """Bytes of transformer weights on the device; offloaded linear layers visit it one at a time."""
        return self.transformer - self.layers + self.largest_layer if offload else self.transformer


def footprint(
    config: WorldConfig,
    dtype: torch.dtype = torch.bfloat16,
    batch: int = 1,
    kv_dtype: torch.dtype | None = None,
) -> Footprint:
    """The bytes of a world with a full context.

    Args:
        config: the world's configuration.
        dtype: type of weights, caches and arithmetic.
        batch: number of worlds that run together.
        kv_dtype: type of cached keys and values; None is `dtype`.
    """
    any_codec = LightVAEConfig() if isinstance(config.codec, WanVAEConfig) else config.codec  # same latents
    return Footprint(
        text_encoder=_text_encoder(config.text_encoder, dtype),
        **_transformer(replace(config, codec=any_codec), dtype, batch, kv_dtype),
        **_codec(config, dtype, batch),
    )


@functools.lru_cache(maxsize=64)
def _text_encoder(config: TextEncoderConfig, dtype: torch.dtype) -> int:
    """Bytes that the text encoder takes."""
    return weight_bytes(on_meta(lambda: UMT5Encoder(config)).to(dtype))


@functools.lru_cache(maxsize=64)
def _transformer(
    config: WorldConfig, dtype: torch.dtype, batch: int, kv_dtype: torch.dtype | None
) -> dict[str, int]:
    """Bytes that the transformer and its caches take."""
    rollout = _rollout(config, dtype, batch, kv_dtype)
    transformer, state = rollout.world.transformer, rollout.state
    full = config.context_frames + config.frames_per_block
    state.cache.timelines = [Timeline(full, full)] * batch
    with torch.inference_mode(), _FusedKernels():
        denoise_peak = peak_bytes(lambda: rollout.step_latents(steps=1))
        recache_peak = peak_bytes(
            lambda: recache(transformer, state, range(batch), keep_sink=config.keep_sink)
        )
    layers = [weight_bytes(one) for one in transformer.blocks.modules() if isinstance(one, nn.Linear)]
    cache = state.cache
    return {
        "transformer": weight_bytes(transformer),
        "largest_layer": max(layers),
        "layers": sum(layers),
        "kv_cache": sum(tensor.nbytes for tensor in (cache.keys, cache.values, cache.sink_keys)),
        "prompt_state": sum(tensor.nbytes for tensor in (state.cross.buffer, state.text, state.history)),
        "denoise_peak": denoise_peak,
        "recache_peak": recache_peak,
    }


@functools.lru_cache(maxsize=64)
def _codec(config: WorldConfig, dtype: torch.dtype, batch: int) -> dict[str, int]:
    """Bytes that the codec and its state take."""
    rollout = _rollout(config, dtype, batch)
    block = torch.empty(batch, *config.block_shape, device="meta")
    with _FusedKernels():
        rollout.decode(block)  # a first block is special
        decode_peak = peak_bytes(lambda: rollout.decode(block))
    return {
        "codec": weight_bytes(rollout.world.codec),
        "codec_state": sum(tensor.nbytes for tensor in rollout.state.codec.memory.values()),
        "decode_peak": decode_peak,
    }


def _rollout(
    config: WorldConfig, dtype: torch.dtype, batch: int, kv_dtype: torch.dtype | None = None
) -> Rollout:
    """A rollout of a world whose weights have no data."""
    transformer = on_meta(lambda: CausalWanTransformer(config.transformer)).to(dtype)
    transformer.kv_dtype = kv_dtype
    codec = on_meta(lambda: make_codec(config.codec)).to(dtype)
    world = World(config, transformer.requires_grad_(False), codec.requires_grad_(False))
    return Rollout(world, RolloutState(config, transformer, WorldNoise(range(batch)), batch))


def peak_bytes(run: Callable[[], object]) -> int:
    """The peak number of bytes in tensors that a function makes while it runs."""
    tracker = _Tracker()
    with tracker:
        run()
    return tracker.peak


class _Tracker(TorchDispatchMode):
    """Counts the storages that operations make, until they are freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.peak = 0
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.ops.aten._to_copy.default and args[0].is_meta:
            kwargs["device"] = torch.device("meta")  # frames on their way to the host have no data to copy
        for tensor in tree_iter((args, kwargs)):
            if isinstance(tensor, Tensor):
                self._known.add(tensor.untyped_storage())  # was there before
        out = func(*args, **kwargs)
        for tensor in tree_iter(out):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return out

    def _count(self, storage: Any) -> None:
        if storage in self._known:
            return
        self._known.add(storage)
        size = storage.nbytes()
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self.live -= size


class _FusedKernels(TorchFunctionMode):
    """Counts attention and norms as the one kernel that a GPU runs, and leaves meta tensors untransferred."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in (F.scaled_dot_product_attention, F.rms_norm):
            return torch.empty_like(args[0])
        if func is Tensor.cpu and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))
