"""The cache of self-attention keys and values: a ring of latent frames behind a pinned sink.

Shapes: N layers, B worlds, F frames of a pass, T tokens a frame, H heads, D head width.

A slot holds one latent frame. The first `sink_frames` frames of a world stay in the first slots for good;
later ones take the other slots in turn, so a new block overwrites the oldest frames. Attention does not
depend on the order of keys, so nothing is ever moved: keys are stored rotated, and attention reads the buffer
as it is.

With cache-relative positions, the time between two frames of the window is the same whether counted from the
start of the cache or of the video, so the window keeps its absolute rotation. Only the sink, which must stay
right before the moving window, is rotated again once per block, from keys stored unrotated.

Keys and values can be stored as float8 e4m3, in half the bytes of bfloat16. They need no scales: keys are
normalised, values have a similar magnitude, and the relative error of a float does not depend on magnitude.
Attention computes in the type of its queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from longlive_env.engine.cache_pass import LayerBuffers, Pass, Slots
from longlive_env.engine.config import WorldConfig
from longlive_env.engine.rope import Rope, Rotation
from longlive_env.engine.transfer import to_device


@dataclass(frozen=True)
class Timeline:
    """Counters of what the cache of one world holds; host integers.

    Attributes:
        position: latent frames of the world so far; the next frame has this position in time.
        stored: frames stored since the cache was last empty or rebuilt; they determine the slots.
    """

    position: int = 0
    stored: int = 0


class KVCache:
    """Self-attention keys and values of a batch of worlds, preallocated once.

    Args:
        config: the world's configuration.
        batch: B.
        device: device of keys and values.
        dtype: type of keys and values.

    Attributes:
        keys: rotated keys ``[N, B, context * T, H, D]``.
        values: ``[N, B, context * T, H, D]``.
        sink_keys: unrotated keys of the sink ``[N, B, sink * T, H, D]``; empty unless positions are relative.
        timelines: counters of each world.
    """

    def __init__(
        self,
        config: WorldConfig,
        batch: int,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        shape = config.transformer
        self.config = config
        self.context_frames = config.context_frames
        self.sink_frames = config.sink_frames
        self.frame_tokens = config.frame_tokens
        self.relative = config.rope == "relative"
        self.rope = Rope(shape.head_dim, config.grid, device)
        self.timelines = [Timeline()] * batch

        def buffer(frames: int) -> Tensor:
            size = (shape.layers, batch, frames * self.frame_tokens, shape.heads, shape.head_dim)
            return torch.zeros(size, device=device, dtype=dtype)

        with torch.inference_mode(False):  # buffers made in inference mode could not be written outside of it
            self.keys, self.values = buffer(self.context_frames), buffer(self.context_frames)
            self.sink_keys = buffer(self.sink_frames if self.relative else 0)

    def append(self, frames: int) -> Pass:
        """Open the passes of the next block, whose frames take the slots of the oldest ones.

        Args:
            frames: number of latent frames in the block, the same for all worlds.

        Returns:
            The memory shared by all passes of this block; give it to `commit` after the last one.
        """
        rows = slice(0, len(self.timelines))
        first = [timeline.stored for timeline in self.timelines]
        after = [Timeline(t.position + frames, t.stored + frames) for t in self.timelines]
        return self._open(rows, first, frames, after, self._sink_rotation(after))

    def rewrite(self, rows: slice, frames: int, *, keep_sink: bool) -> Pass:
        """Open one pass that rewrites the newest frames, for neighbouring worlds with equal timelines.

        Args:
            rows: rows of these worlds.
            frames: number of newest frames in the pass.
            keep_sink: whether to leave the sink as it is and rewrite frames in their slots; otherwise the
                frames fill the cache from its first slot, and the oldest of them become the sink.

        Returns:
            The memory of the pass; give it to `commit` afterwards.
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
        """Forget the frames of a world, but keep its position in time."""
        self.timelines[world] = replace(self.timelines[world], stored=0)

    def reset(self, world: int) -> None:
        """Reset a world to its start."""
        self.timelines[world] = Timeline()

    @property
    def visible_frames(self) -> int:
        """Number of slots in use, in the world that uses the most."""
        return max(map(self._filled, self.timelines))

    def frames_held(self, world: int) -> list[int | None]:
        """Latent frames in a world's slots: those of the sink, then the window by time; None where empty.

        The sink holds the first frames stored since the cache was last empty or rebuilt, the window the
        newest ones.
        """
        now = self.timelines[world]
        filled, first = self._filled(now), now.position - now.stored
        sink = min(self.sink_frames, filled)
        window = range(now.position - (filled - sink), now.position)
        return [*range(first, first + sink), *window, *[None] * (self.context_frames - filled)]

    def select(self, worlds: Sequence[int]) -> KVCache:
        """Copy some worlds, in the order given, into a cache of their own."""
        new = KVCache(self.config, len(worlds), device=self.keys.device, dtype=self.keys.dtype)
        new.assign(range(len(worlds)), self, worlds)
        return new

    def assign(self, worlds: Sequence[int], source: KVCache, source_worlds: Sequence[int]) -> None:
        """Overwrite worlds of this cache with copies of worlds of another."""
        for world, other in zip(worlds, source_worlds, strict=True):
            self.timelines[world] = source.timelines[other]
            for mine, theirs in zip(self._tensors, source._tensors, strict=True):
                mine[:, world].copy_(theirs[:, other])

    @property
    def _tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.keys, self.values, self.sink_keys

    def _filled(self, timeline: Timeline) -> int:
        """Number of slots in use in a world."""
        return min(timeline.stored, self.context_frames)

    def _slot(self, index: int) -> int:
        """Slot of the frame that is the `index`-th one stored."""
        if index < self.context_frames:
            return index
        return self.sink_frames + (index - self.sink_frames) % (self.context_frames - self.sink_frames)

    def _open(
        self,
        rows: slice,
        first: list[int],
        frames: int,
        after: list[Timeline],
        sink_rotation: Rotation | None = None,
    ) -> Pass:
        """A pass of `frames` frames; world i stores the first of them as its `first[i]`-th frame."""
        visible = [self._filled(timeline) for timeline in after]
        return Pass(
            buffers=self._buffers(rows),
            rows=rows,
            after=after,
            frame_tokens=self.frame_tokens,
            slots=self._slots(first, frames),
            rotation=self._rotation([timeline.position - frames for timeline in after], frames),
            sink_rotation=sink_rotation,
            visible_frames=max(visible),
            mask=self._mask(visible),
        )

    def _buffers(self, rows: slice) -> list[LayerBuffers]:
        """Views of each layer's buffers for some worlds."""
        views = []
        for tokens in self._tensors:
            by_frame = (tokens.shape[2] // self.frame_tokens, self.frame_tokens)
            views.append(tokens[:, rows].unflatten(2, by_frame).flatten(1, 2))
        return [LayerBuffers(*layer) for layer in zip(*views, strict=True)]

    def _slots(self, first: list[int], frames: int) -> Slots:
        """Places of the frames in the buffers, and in the unrotated sink if it takes any of them."""
        places = [[self._slot(index + frame) for frame in range(frames)] for index in first]
        flat = [world * self.context_frames + place for world, row in enumerate(places) for place in row]
        if not self.relative or all(place >= self.sink_frames for row in places for place in row):
            return Slots(self._on_device(torch.tensor(flat)))
        into = [[place in row for place in range(self.sink_frames)] for row in places]
        taken = [
            world * frames + (row.index(place) if place in row else 0)
            for world, row in enumerate(places)
            for place in range(self.sink_frames)
        ]
        return Slots(
            self._on_device(torch.tensor(flat)),
            self._on_device(torch.tensor(taken)),
            self._on_device(torch.tensor(into).view(-1, 1, 1, 1)),
        )

    def _rotation(self, starts: list[int], frames: int) -> Rotation:
        """Rotation of consecutive frames from each world's start, or one for all if the starts agree."""
        starts = starts[:1] if len(set(starts)) == 1 else starts
        return self.rope.frames([range(start, start + frames) for start in starts])

    def _mask(self, visible: list[int]) -> Tensor | None:
        """Mask bool [B, 1, 1, tokens], True at the tokens each world has; None if all have equally many."""
        if len(set(visible)) == 1:
            return None
        slots = torch.arange(max(visible)).repeat_interleave(self.frame_tokens)
        mask = slots < torch.tensor(visible)[:, None]
        return self._on_device(mask[:, None, None])

    def _sink_rotation(self, after: list[Timeline]) -> Rotation | None:
        """Rotation of each world's sink to its place right before the window; None until a window moves."""
        moved = any(timeline.stored > self.context_frames for timeline in after)
        if not self.relative or not self.sink_frames or not moved:
            return None
        starts = [timeline.position - self._filled(timeline) for timeline in after]
        return self._rotation(starts, self.sink_frames)

    def _on_device(self, tensor: Tensor) -> Tensor:
        return to_device(tensor, self.keys.device)
