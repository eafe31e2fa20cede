"""One pass of the transformer over some frames: where their keys and values go, and what they attend to.

Whatever changes from block to block (slots, rotations, masks) is a tensor of constant shape, and whatever
determines shapes (frames in view, whether the sink is written) is an attribute with few values. So a pass is
compiled once per `kind`, and a captured one is replayed with new contents in its tensors.

Shapes: N layers, B worlds, F frames of the pass, T tokens a frame, S = F * T, H heads, D head width.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from longlive_env.engine import fused
from longlive_env.engine.attention import attention
from longlive_env.engine.config import Backend
from longlive_env.engine.norms import RMSNorm
from longlive_env.engine.rope import Rotation, rotate

if TYPE_CHECKING:
    from longlive_env.engine.kv_cache import Timeline


class LayerBuffers(NamedTuple):
    """Views of a layer's cached keys and values for some worlds, frame by frame, worlds first.

    A compiled pass writes to these tensors in place. If it had to split them first (a layer out of many, or
    frames out of tokens), it would copy everything there and back.

    Attributes:
        keys: rotated keys ``[B * context, T, H, D]``.
        values: ``[B * context, T, H, D]``.
        sink_keys: unrotated keys of the sink ``[B * sink, T, H, D]``; empty unless positions are relative.
    """

    keys: Tensor
    values: Tensor
    sink_keys: Tensor


@dataclass(frozen=True)
class Slots:
    """Where the frames of a pass go; tensors on the device.

    Attributes:
        frames: place of each frame in a layer's buffer, worlds first; int64 ``[B * F]``.
        from_frame: frame of the pass that each place of the unrotated sink takes; int64 ``[B * sink]``.
        into_sink: whether each place of the sink takes a frame; bool ``[B * sink, 1, 1, 1]``.
    """

    frames: Tensor
    from_frame: Tensor | None = None
    into_sink: Tensor | None = None


@dataclass(eq=False, kw_only=True)
class Pass:
    """The memory of a transformer pass: writes the slots of its frames, and attends to the visible ones.

    Attributes:
        buffers: buffers of each layer, for the worlds that take part.
        rows: rows of these worlds in the batch.
        after: their timelines once the pass is committed.
        frame_tokens: T.
        slots: where the frames go.
        rotation: rotation of the frames.
        sink_rotation: rotation that puts the sink in its place before the first layer runs; None leaves it.
        visible_frames: number of frames in the buffers that the pass sees, its own included.
        mask: bool ``[B, 1, 1, tokens]``, True at the tokens each world has; None if all have equally many.
    """

    buffers: Sequence[LayerBuffers]
    rows: slice
    after: Sequence[Timeline]
    frame_tokens: int
    slots: Slots
    rotation: Rotation
    sink_rotation: Rotation | None
    visible_frames: int
    mask: Tensor | None

    @property
    def kind(self) -> tuple[object, ...]:
        """Everything that determines shapes and branches: passes of one kind run the same operations."""
        shapes = [None if tensor is None else tuple(tensor.shape) for tensor in self._changing()]
        return (self.rows.start, self.rows.stop, self.visible_frames, *shapes)

    def turn_sink(self) -> None:
        """Rotate the sink to its place right before a window that has moved on; once per block."""
        if self.sink_rotation is not None:
            for own in self.buffers:
                turn_into(self._tokens(own.keys), self._tokens(own.sink_keys), self.sink_rotation)

    @functools.cached_property
    def layers(self) -> list[Pass]:
        """A pass for each layer alone, as layer 0; they differ only in their buffers."""
        return [self._of_layer(own) for own in self.buffers]

    def frozen(self, layer: int) -> Pass:
        """This pass for one layer alone, as layer 0, on a copy of what the cache holds now.

        For activation checkpointing: backward runs the forward again when the cache has moved on.
        """
        return self._of_layer(LayerBuffers(*(tensor.clone() for tensor in self.buffers[layer])))

    def at_fixed_addresses(self) -> Pass:
        """This pass with tensors of its own, whose contents `take` replaces."""
        frames, from_frame, into_sink, cos, sin, sink_cos, sink_sin, mask = (
            None if tensor is None else tensor.clone() for tensor in self._changing()
        )
        assert frames is not None and cos is not None and sin is not None
        turning = None if sink_cos is None or sink_sin is None else Rotation(sink_cos, sink_sin)
        slots, rotation = Slots(frames, from_frame, into_sink), Rotation(cos, sin)
        return replace(self, slots=slots, rotation=rotation, sink_rotation=turning, mask=mask)

    def take(self, other: Pass) -> None:
        """Copy the contents of another pass of the same kind into the tensors of this one."""
        for mine, theirs in zip(self._changing(), other._changing(), strict=True):
            if mine is not None and theirs is not None:
                mine.copy_(theirs, non_blocking=True)
        for rotation in (self.rotation, self.sink_rotation):
            if rotation is not None:
                rotation.__dict__.pop("turns", None)  # computed from the old contents

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, backend: Backend) -> Tensor:
        """Self-attention ``[B, S, H, D]`` of a layer to the visible frames, those of the pass included.

        If `k` carries gradients, the cache is left alone, because later passes would overwrite what backward
        still needs: attention then runs on a copy, and a pass without gradients must store the frames.
        """
        rotated = rotate(k, self.rotation)
        keys, values, _ = self.buffers[layer]
        if torch.is_grad_enabled() and (k.requires_grad or v.requires_grad):
            keys, values = keys.clone(), values.clone()
            self._write(keys, rotated)
            self._write(values, v)
        else:
            self._store(layer, k, rotated, v)
        return self._seen(rotate(q, self.rotation), keys, values, backend)

    def fuses(self, x: Tensor, asked: fused.Fused) -> bool:
        """Whether `attend_fused` takes the projections of tokens ``[B, S, E]``.

        That depends on what was asked and measured, see `choose_fused`. It never does if gradients are on,
        the cache has a type of its own, or the sink takes unrotated keys.
        """
        keys = self.buffers[0].keys
        heads, width = keys.shape[-2:]
        if torch.is_grad_enabled() or keys.dtype != x.dtype or self.slots.from_frame is not None:
            return False
        if heads * width > fused.WIDEST:
            return False
        sizes = (x.shape[0] * x.shape[1], heads, width)
        compiled = torch.compiler.is_compiling()
        return fused.choose_fused(asked, x.device, x.dtype, sizes, compiled) == "triton"

    def attend_fused(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, norm_q: RMSNorm, norm_k: RMSNorm, backend: Backend
    ) -> Tensor:
        """Like `attend`, for projections ``[B, S, E]`` not normalised yet, by a kernel of our own."""
        keys, values, _ = self.buffers[layer]
        rotated = fused.norm_rotate_store(
            "triton", q, k, v, norm_q.weight, norm_k.weight, norm_q.eps, self.rotation, self.slots.frames,
            keys, values,
        )  # fmt: skip
        return self._seen(rotated, keys, values, backend)

    def _seen(self, q: Tensor, keys: Tensor, values: Tensor, backend: Backend) -> Tensor:
        """Attention of rotated queries to the visible frames of a layer's buffers."""
        tokens = self.visible_frames * self.frame_tokens
        keys, values = (self._tokens(x)[:, :tokens].to(q.dtype) for x in (keys, values))
        return attention(q, keys, values, self.mask, backend=backend)

    def store(self, layer: int, k: Tensor, v: Tensor) -> None:
        """Write the keys and values ``[B, S, H, D]`` of a layer."""
        self._store(layer, k, rotate(k, self.rotation), v)

    def _store(self, layer: int, k: Tensor, rotated: Tensor, v: Tensor) -> None:
        own, slots = self.buffers[layer], self.slots
        self._write(own.keys, rotated)
        self._write(own.values, v)
        if slots.from_frame is not None and slots.into_sink is not None:
            taken = _storable(self._frames(k)[slots.from_frame], own.sink_keys.dtype)
            own.sink_keys.copy_(torch.where(slots.into_sink, taken, own.sink_keys))

    def _write(self, buffer: Tensor, x: Tensor) -> None:
        buffer[self.slots.frames] = _storable(self._frames(x), buffer.dtype)

    def _frames(self, tokens: Tensor) -> Tensor:
        """Tokens [B, frames * T, H, D] by frame: [B * frames, T, H, D]."""
        return tokens.view(-1, self.frame_tokens, *tokens.shape[2:])

    def _tokens(self, frames: Tensor) -> Tensor:
        """The inverse of `_frames`: a view of [B * frames, T, H, D] as [B, frames * T, H, D]."""
        worlds, (count, tokens, *head) = len(self.after), frames.shape
        return frames.view(worlds, count // worlds * tokens, *head)

    def _of_layer(self, buffers: LayerBuffers) -> Pass:
        return replace(self, buffers=[buffers])

    def _changing(self) -> list[Tensor | None]:
        """The tensors whose contents change from block to block."""
        slots, turn = self.slots, self.sink_rotation
        turning = (None, None) if turn is None else (turn.cos, turn.sin)
        own = (self.rotation.cos, self.rotation.sin)
        return [slots.frames, slots.from_frame, slots.into_sink, *own, *turning, self.mask]


def turn_into(keys: Tensor, sink_keys: Tensor, rotation: Rotation) -> None:
    """Rotate the keys of a layer's sink ``[B, sink * T, H, D]`` and write them to its place in the buffer."""
    turned = rotate(sink_keys.to(rotation.cos.dtype), rotation)
    keys[:, : sink_keys.shape[1]] = _storable(turned, keys.dtype)


def _storable(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Cast a tensor to the type of a buffer, clamped to float8's range, beyond which there may be NaN."""
    if dtype == torch.float8_e4m3fn:
        limit = torch.finfo(dtype).max
        x = x.clamp(-limit, limit)
    return x.to(dtype)
