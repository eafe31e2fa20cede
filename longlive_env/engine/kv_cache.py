"""The cache of self-attention keys and values: a ring of latent frames behind a pinned sink.

Shapes: N layers, B worlds, T tokens a frame, S = frames * T tokens of a pass, H heads, D head width.

A slot holds one latent frame. The first `sink_frames` frames of a world stay in the first slots for good;
later ones take the other slots in turn, so a new block overwrites the oldest frames. Softmax does not care
for the order of keys, so nothing is ever moved: keys are stored rotated, and attention reads the buffer as it
lies.

Under cache-relative positions the time between two frames of the window is the same whether one counts from
the start of the cache or from the start of the video. So the window keeps its absolute rotation, and only the
sink, which must stay right behind a window that moves on, is turned anew once a block, from keys stored
unrotated.

Keys and values can be stored as float8 e4m3, in half the bytes of bfloat16. They need no scales: keys are
normed, values are of their size, and the relative error of a float does not depend on it. Attention computes
in the type of its queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from longlive_env.engine.attention import Backend, attention
from longlive_env.engine.config import WorldConfig
from longlive_env.engine.rope import Rope, Rotation, rotate


@dataclass(frozen=True)
class Timeline:
    """What the cache of one world holds; host integers.

    Attributes:
        position: latent frames of the world so far; the next frame has this position in time.
        stored: frames that entered the cache since it was last empty or rebuilt; they decide the slots.
    """

    position: int = 0
    stored: int = 0


@dataclass(frozen=True)
class _Write:
    """One contiguous copy from a pass into the buffer."""

    worlds: slice  # of the pass
    tokens: slice  # of the pass
    slots: slice  # tokens of the buffer
    sink: bool  # whether these belong to the sink


class KVCache:
    """Self-attention keys and values of a batch of worlds, preallocated once.

    Args:
        config: of the world.
        batch: B.
        device: of the buffers.
        dtype: of the buffers.
        backend: attention kernel of the passes.

    Attributes:
        keys: rotated keys ``[N, B, context * T, H, D]``.
        values: ``[N, B, context * T, H, D]``.
        sink_keys: unrotated keys of the sink ``[N, B, sink * T, H, D]``; no slots unless positions are
            relative.
        timelines: counters of each world.
    """

    def __init__(
        self,
        config: WorldConfig,
        batch: int,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        backend: Backend = "auto",
    ) -> None:
        shape = config.transformer
        self.config = config
        self.context_frames = config.context_frames
        self.sink_frames = config.sink_frames
        self.frame_tokens = config.frame_tokens
        self.relative = config.rope == "relative"
        self.backend: Backend = backend
        self.rope = Rope(shape.head_dim, config.grid, device)
        self.timelines = [Timeline()] * batch

        def buffer(frames: int) -> Tensor:
            size = (shape.layers, batch, frames * self.frame_tokens, shape.heads, shape.head_dim)
            return torch.zeros(size, device=device, dtype=dtype)

        with torch.inference_mode(False):  # buffers made in inference mode could not be written outside of it
            self.keys, self.values = buffer(self.context_frames), buffer(self.context_frames)
            self.sink_keys = buffer(self.sink_frames if self.relative else 0)

    def append(self, frames: int) -> Pass:
        """Open the passes of the next block: its frames take the slots of the oldest ones.

        Args:
            frames: latent frames of the block, the same for all worlds.

        Returns:
            The memory of every pass of this block; hand it to `commit` after the last.
        """
        rows = slice(0, len(self.timelines))
        first = [timeline.stored for timeline in self.timelines]
        after = [Timeline(t.position + frames, t.stored + frames) for t in self.timelines]
        if self.relative and any(t.stored > self.context_frames for t in after):
            self._turn_sink(after)
        return self._open(rows, first, frames, after)

    def rewrite(self, rows: slice, frames: int, *, keep_sink: bool) -> Pass:
        """Open one pass that writes the newest frames anew, for neighbouring worlds with equal timelines.

        Args:
            rows: the worlds.
            frames: how many of the newest frames pass.
            keep_sink: leave the sink as it is and rewrite frames in their slots; otherwise the passing frames
                fill the cache from its first slot, and the oldest of them become the sink.

        Returns:
            The memory of the pass; hand it to `commit` afterwards.
        """
        now = self.timelines[rows.start]
        assert all(timeline == now for timeline in self.timelines[rows])
        after = now if keep_sink else replace(now, stored=frames)
        count = rows.stop - rows.start
        return self._open(rows, [after.stored - frames] * count, frames, [after] * count)

    def commit(self, passed: Pass) -> None:
        """Count the frames of a pass as stored."""
        self.timelines[passed.rows] = passed.after

    def clear(self, world: int) -> None:
        """Forget the frames of a world, but not how many there were."""
        self.timelines[world] = replace(self.timelines[world], stored=0)

    def reset(self, world: int) -> None:
        """Make a world new."""
        self.timelines[world] = Timeline()

    @property
    def visible_frames(self) -> int:
        """Slots in use by the world that has the most."""
        return min(max(timeline.stored for timeline in self.timelines), self.context_frames)

    def select(self, worlds: Sequence[int]) -> KVCache:
        """A cache of its own that holds copies of some worlds, in the order given."""
        device, dtype = self.keys.device, self.keys.dtype
        new = KVCache(self.config, len(worlds), device=device, dtype=dtype, backend=self.backend)
        new.assign(range(len(worlds)), self, worlds)
        return new

    def assign(self, worlds: Sequence[int], source: KVCache, source_worlds: Sequence[int]) -> None:
        """Copy worlds of another cache over worlds of this one."""
        pairs = ((self.keys, source.keys), (self.values, source.values), (self.sink_keys, source.sink_keys))
        for world, other in zip(worlds, source_worlds, strict=True):
            self.timelines[world] = source.timelines[other]
            for mine, theirs in pairs:
                mine[:, world].copy_(theirs[:, other])

    def _slot(self, index: int) -> int:
        """Slot of the frame that is the `index`-th one stored."""
        if index < self.context_frames:
            return index
        return self.sink_frames + (index - self.sink_frames) % (self.context_frames - self.sink_frames)

    def _open(self, rows: slice, first: list[int], frames: int, after: list[Timeline]) -> Pass:
        """A pass of `frames` frames, of which world i stores the first as its `first[i]`-th."""
        writes: list[_Write] = []
        alike = len(set(first)) == 1
        for world, index in enumerate(first[:1] if alike else first):
            worlds = slice(0, len(first)) if alike else slice(world, world + 1)
            writes += self._writes(worlds, [self._slot(index + frame) for frame in range(frames)])
        visible = [min(timeline.stored, self.context_frames) for timeline in after]
        ends = [timeline.position for timeline in after]
        starts = ends[:1] if len(set(ends)) == 1 else ends
        rotation = self.rope.frames([range(end - frames, end) for end in starts])
        return Pass(self, rows, writes, rotation, max(visible), self._mask(visible), after)

    def _writes(self, worlds: slice, slots: list[int]) -> list[_Write]:
        """Join frames with neighbouring slots into one copy, but not across the end of the sink."""
        writes = []
        begin = 0
        for frame in range(1, len(slots) + 1):
            if (
                frame < len(slots)
                and slots[frame] == slots[frame - 1] + 1
                and slots[frame] != self.sink_frames
            ):
                continue
            tokens = slice(begin * self.frame_tokens, frame * self.frame_tokens)
            start = slots[begin] * self.frame_tokens
            place = slice(start, start + tokens.stop - tokens.start)
            writes.append(_Write(worlds, tokens, place, slots[begin] < self.sink_frames))
            begin = frame
        return writes

    def _mask(self, visible: list[int]) -> Tensor | None:
        """True at the tokens each world has: bool [B, 1, 1, tokens]; None where all worlds have as many."""
        if len(set(visible)) == 1:
            return None
        slots = torch.arange(max(visible)).repeat_interleave(self.frame_tokens)
        mask = slots < torch.tensor(visible)[:, None]
        return mask[:, None, None].to(self.keys.device, non_blocking=True)

    def _turn_sink(self, after: list[Timeline]) -> None:
        """Rotate every world's sink to its place right before the window, once the window has moved on."""
        if not self.sink_frames:
            return
        held = [min(timeline.stored, self.context_frames) for timeline in after]
        starts = [timeline.position - frames for timeline, frames in zip(after, held, strict=True)]
        starts = starts[:1] if len(set(starts)) == 1 else starts
        rotation = self.rope.frames([range(start, start + self.sink_frames) for start in starts])
        tokens = self.sink_frames * self.frame_tokens
        for keys, sink_keys in zip(self.keys, self.sink_keys, strict=True):
            keys[:, :tokens] = _storable(rotate(sink_keys.to(rotation.cos.dtype), rotation), keys.dtype)


def _storable(x: Tensor, dtype: torch.dtype) -> Tensor:
    """What a buffer of `dtype` can hold of a tensor: beyond the range of float8 there may be NaN."""
    if dtype != torch.float8_e4m3fn:
        return x
    limit = torch.finfo(dtype).max
    return x.clamp(-limit, limit)


class Pass:
    """The memory of a transformer pass over some frames: writes their slots, attends to what is visible.

    Attributes:
        rows: worlds of the batch that take part.
        after: their timelines once the pass is committed.
    """

    def __init__(
        self,
        cache: KVCache,
        rows: slice,
        writes: list[_Write],
        rotation: Rotation,
        visible_frames: int,
        mask: Tensor | None,
        after: list[Timeline],
    ) -> None:
        self.rows = rows
        self.after = after
        self._cache = cache
        self._writes = writes
        self._rotation = rotation
        self._mask = mask
        self._tokens = visible_frames * cache.frame_tokens

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Self-attention ``[B, S, H, D]`` of a layer to the visible frames, its own included.

        Where `k` carries gradients the cache is left alone, because later passes overwrite what backward
        still
        needs: attention then runs on a copy, and a pass without gradients has to store the frames.
        """
        rotated = rotate(k, self._rotation)
        cache = self._cache
        keys, values = cache.keys[layer, self.rows], cache.values[layer, self.rows]
        if torch.is_grad_enabled() and (k.requires_grad or v.requires_grad):
            keys, values = keys.clone(), values.clone()
            self._write(keys, values, rotated, v)
        else:
            self._store(layer, keys, values, k, rotated, v)
        keys, values = keys[:, : self._tokens].to(q.dtype), values[:, : self._tokens].to(q.dtype)
        return attention(rotate(q, self._rotation), keys, values, self._mask, backend=cache.backend)

    def store(self, layer: int, k: Tensor, v: Tensor) -> None:
        """Write the keys and values ``[B, S, H, D]`` of a layer."""
        keys, values = self._cache.keys[layer, self.rows], self._cache.values[layer, self.rows]
        self._store(layer, keys, values, k, rotate(k, self._rotation), v)

    def _store(self, layer: int, keys: Tensor, values: Tensor, k: Tensor, rotated: Tensor, v: Tensor) -> None:
        self._write(keys, values, rotated, v)
        if self._cache.relative:
            sink_keys = self._cache.sink_keys[layer, self.rows]
            for write in self._writes:
                if write.sink:
                    sink_keys[write.worlds, write.slots] = _storable(
                        k[write.worlds, write.tokens], sink_keys.dtype
                    )

    def _write(self, keys: Tensor, values: Tensor, k: Tensor, v: Tensor) -> None:
        k, v = _storable(k, keys.dtype), _storable(v, values.dtype)
        for write in self._writes:
            keys[write.worlds, write.slots] = k[write.worlds, write.tokens]
            values[write.worlds, write.slots] = v[write.worlds, write.tokens]
