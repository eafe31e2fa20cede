"""Codecs: latent frames to pixels and back, block by block, with the streaming state kept by the caller.

Legend: B worlds, F latent frames, T pixel frames, C latent channels, h x w latent size, H x W pixel size
(H = h * spatial_factor), R = temporal_factor pixel frames per latent frame.

In every codec, the first latent frame of a world stands for its first pixel frame alone, and every later one
for R pixel frames. Codecs are causal: a clip decoded in chunks of any size, with the state carried from call
to call, gives the same frames as when decoded whole.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from longlive_env.engine.config import CodecConfig
from longlive_env.engine.transfer import rows_of

CodecMemory = dict[str, Tensor]  # what a codec carries from call to call, by layer; each tensor [B, ...]
Code = Callable[[Tensor, CodecMemory, bool], tuple[Tensor, CodecMemory]]  # `Codec._decode` or `Codec._encode`
Compiler = Callable[[Callable[..., Any]], Callable[..., Any]]  # see `engine.compile`

_AGES = "ages"
_MEMORY = "memory."


@dataclass(frozen=True)
class CodecState:
    """Streaming state of a batch of worlds; a value that only `overwrite` and `decode_graph` change in place.

    An absent memory means zeros, which is what a fresh world remembers.

    Attributes:
        ages: number of latent frames that each world has decoded (or encoded) so far; host integers.
        memory: what the layers remember, by layer name, each [B, ...].
    """

    ages: tuple[int, ...]
    memory: CodecMemory = field(default_factory=dict)

    @classmethod
    def fresh(cls, batch: int) -> CodecState:
        """The state of `batch` worlds that have seen nothing yet."""
        return cls((0,) * batch)

    @property
    def batch(self) -> int:
        """Number of worlds."""
        return len(self.ages)

    def select(self, worlds: Sequence[int]) -> CodecState:
        """Copy the state of some worlds, in the order given, into a batch of its own.

        Args:
            worlds: indices into the batch; negative ones and repeats are allowed.

        Returns:
            A state of `len(worlds)` worlds.
        """
        ages = tuple(self.ages[world] for world in worlds)
        if list(worlds) == list(range(self.batch)):  # quicker, and layouts stay as they are
            return CodecState(ages, {name: value.clone() for name, value in self.memory.items()})
        if not self.memory:
            return CodecState(ages)
        device = next(iter(self.memory.values())).device
        return CodecState(ages, _selected(self.memory, rows_of(worlds, self.batch, device)))

    def assign(self, worlds: Sequence[int], source: CodecState) -> CodecState:
        """This batch with the given worlds replaced by those of `source`.

        Args:
            worlds: worlds to replace, as many as `source` has.
            source: their new state, in the same order; a fresh one resets them.

        Returns:
            A new state; neither operand changes.

        Raises:
            ValueError: when the number of worlds differs from that of `source`.
        """
        if len(worlds) != source.batch:
            raise ValueError(f"{len(worlds)} worlds to assign, but the given state holds {source.batch}")
        ages = list(self.ages)
        for world, age in zip(worlds, source.ages, strict=True):
            ages[world] = age
        rows: Tensor | None = None
        memory: CodecMemory = {}
        for name in self.memory.keys() | source.memory.keys():
            if name in self.memory:
                whole = self.memory[name].clone()
            else:
                like = source.memory[name]
                whole = like.new_zeros(self.batch, *like.shape[1:])
            rows = rows_of(worlds, self.batch, whole.device) if rows is None else rows
            if name in source.memory:
                whole.index_copy_(0, rows, source.memory[name].to(whole))
            else:
                whole.index_fill_(0, rows, 0)
            memory[name] = whole
        return CodecState(tuple(ages), memory)

    def overwrite(self, source: CodecState) -> CodecState:
        """Replace the whole batch with a copy of `source`, reusing the memory of this state if it fits.

        `source` may be on another device, where its copy stays if it does not fit.

        This works in place because captured graphs hold the addresses, and because a second copy of a large
        state would not fit. This state must not be used afterwards: its memory is now the source's.
        """
        if _sizes(self.memory) != _sizes(source.memory):
            return source.select(range(source.batch))
        with torch.inference_mode():  # a codec may have made the tensors in it
            for name, mine in self.memory.items():
                mine.copy_(source.memory[name])
        return CodecState(source.ages, self.memory)

    def reset(self, worlds: Sequence[int]) -> CodecState:
        """This batch with the given worlds fresh again."""
        return self.assign(worlds, CodecState.fresh(len(worlds)))

    def to(self, device: torch.device | str) -> CodecState:
        """The same state on another device."""
        return CodecState(self.ages, {name: value.to(device) for name, value in self.memory.items()})

    def to_tensors(self) -> dict[str, Tensor]:
        """The state as a flat dictionary of tensors, for snapshots; `from_tensors` reads it back."""
        tensors = {_MEMORY + name: value for name, value in self.memory.items()}
        return {_AGES: torch.tensor(self.ages, dtype=torch.int64, device="cpu"), **tensors}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> CodecState:
        """The state that `to_tensors` wrote, on the device of the tensors."""
        memory = {name.removeprefix(_MEMORY): value for name, value in tensors.items() if name != _AGES}
        return cls(tuple(int(age) for age in tensors[_AGES].tolist()), memory)


def _selected(memory: CodecMemory, rows: Tensor) -> CodecMemory:
    """Copy some rows of a memory."""
    return {name: value.index_select(0, rows) for name, value in memory.items()}


def _joined(parts: Sequence[tuple[Tensor, CodecMemory]], batch: int) -> CodecMemory:
    """Join the memories of parts, each with its rows in the batch; zeros where a part has none.

    Unlike `CodecState.assign`, this does not copy the batch for each part.
    """
    joined: CodecMemory = {}
    for rows, memory in parts:
        for name, value in memory.items():
            if name not in joined:
                joined[name] = value.new_zeros(batch, *value.shape[1:])
            joined[name].index_copy_(0, rows, value)
    return joined


def _sizes(memory: CodecMemory) -> dict[str, tuple[object, ...]]:
    return {name: (value.shape, value.dtype) for name, value in memory.items()}


class Decoded(NamedTuple):
    """What `Codec.decode` returns."""

    pixels: Tensor  # [B, T, 3, H, W], about -1 .. 1, not clamped
    state: CodecState


class Encoded(NamedTuple):
    """What `Codec.encode` returns."""

    latents: Tensor  # [B, F, C, h, w]
    state: CodecState


class Codec(nn.Module, ABC):
    """Base of all codecs: `decode` and `encode` for any mixture of world ages.

    A subclass implements `_decode` and `_encode` for a batch of worlds that are all fresh or all running.

    Args:
        config: sizes.

    Attributes:
        latent_channels: C.
        spatial_factor: pixels per latent position along each side.
        temporal_factor: R, pixel frames per latent frame after the first.
        memory_frames: number of earlier latent frames that decoding a frame depends on; None for all.
    """

    memory_frames: int | None = None

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.latent_channels = config.latent_channels
        self.spatial_factor = config.spatial_factor
        self.temporal_factor = config.temporal_factor
        self._is_compiled = False

    @abstractmethod
    def _decode(self, latents: Tensor, memory: CodecMemory, fresh: bool) -> tuple[Tensor, CodecMemory]:
        """Decode worlds that are all fresh or all running.

        Args:
            latents: [B, F, C, h, w].
            memory: what the last call returned; empty when `fresh`. Must not be changed in place.
            fresh: whether `latents` begins with the first latent frame of each world.

        Returns:
            Pixels [B, R * F, 3, H, W], or R - 1 fewer frames when `fresh`, and the new memory.
        """

    @abstractmethod
    def _encode(self, pixels: Tensor, memory: CodecMemory, fresh: bool) -> tuple[Tensor, CodecMemory]:
        """Encode worlds that are all fresh or all running; shapes and conventions mirror `_decode`."""

    def _arranged(self, memory: CodecMemory) -> CodecMemory:
        """Lay out a memory as `_decode` and `_encode` return it; one from a snapshot may differ."""
        return memory

    def compile_decoding(self, compiler: Compiler) -> None:
        """Make decoding run compiled, in place, in parts that each become one graph.

        Worlds of mixed ages then run one by one, because each number of fresh ones would be compiled anew.
        """
        self._is_compiled = True
        self._compile_decoding(compiler)

    def _compile_decoding(self, compiler: Compiler) -> None:
        compiled = compiler(self._decode)

        def decode(latents: Tensor, memory: CodecMemory, fresh: bool) -> tuple[Tensor, CodecMemory]:
            dense = latents.clone(memory_format=torch.contiguous_format)  # compiled code checks strides
            alike: tuple[Tensor, CodecMemory] = compiled(dense, memory, fresh)
            return alike

        object.__setattr__(self, "_decode", decode)

    def decode(self, latents: Tensor, state: CodecState) -> Decoded:
        """Decode the next latent frames of each world.

        Args:
            latents: [B, F, C, h, w], floating point.
            state: `CodecState.fresh`, or that of the last call.

        Returns:
            Pixels [B, T, 3, H, W] in the dtype of `latents`, about -1 .. 1 and not clamped, and the new
            state. T = R * F; when every world is fresh, T = R * (F - 1) + 1. A fresh world among running ones
            also gives R * F frames, of which the first R repeat its first frame.

        Raises:
            ValueError: when the shape of `latents` does not fit the codec or the state.
        """
        self._check(latents, "latents", "[B, F, C, h, w]", self.latent_channels, state)
        repeats = self.temporal_factor - 1
        return Decoded(*self._by_age(self._decode, latents, state, latents.shape[1], repeats=repeats))

    def encode(self, pixels: Tensor, state: CodecState) -> Encoded:
        """Encode the next pixel frames of each world, shaped as `decode` returns them.

        Args:
            pixels: [B, T, 3, H, W] in -1 .. 1. T = R * F, or R * (F - 1) + 1 when every world is fresh. For a
                fresh world among running ones, the first R - 1 frames are ignored.
            state: `CodecState.fresh`, or that of the last call.

        Returns:
            Latents [B, F, C, h, w] and the new state.

        Raises:
            ValueError: when the shape of `pixels` does not fit the codec or the state.
        """
        self._check(pixels, "pixels", "[B, T, 3, H, W]", 3, state)
        lead = 0 if any(state.ages) else self.temporal_factor - 1
        frames, rest = divmod(pixels.shape[1] + lead, self.temporal_factor)
        if rest or not frames:
            want = f"{self.temporal_factor} * n" + (" + 1" if lead else "")
            raise ValueError(f"{pixels.shape[1]} pixel frames cannot be encoded here; give {want} frames")
        height, width = pixels.shape[-2:]
        if height % self.spatial_factor or width % self.spatial_factor:
            unit = self.spatial_factor
            raise ValueError(f"pixels of {height} x {width}; both sides must be multiples of {unit}")
        return Encoded(*self._by_age(self._encode, pixels, state, frames, unseen=self.temporal_factor - 1))

    def _by_age(
        self, code: Code, clip: Tensor, state: CodecState, frames: int, *, unseen: int = 0, repeats: int = 0
    ) -> tuple[Tensor, CodecState]:
        """Run `_decode` or `_encode`, separately on fresh and running worlds if there are both.

        Args:
            code: `_decode` or `_encode`.
            clip: input of `code`.
            state: state of all worlds.
            frames: number of latent frames in the clip.
            unseen: number of frames that fresh worlds among running ones skip at the start of the clip.
            repeats: number of copies of their first output frame that are put before it.
        """
        fresh = [world for world, age in enumerate(state.ages) if age == 0]
        running = [world for world, age in enumerate(state.ages) if age > 0]
        ages = tuple(age + frames for age in state.ages)
        if not fresh or not running:
            # Worlds that were reset have zeros, but compiled code for fresh worlds expects no memory.
            memory = {} if fresh else self._arranged(state.memory)
            out, memory = code(clip, memory, bool(fresh))
            return out, CodecState(ages, memory)
        parts: list[tuple[Tensor, Tensor, CodecMemory]] = []
        for worlds in self._apart(running):
            rows = rows_of(worlds, state.batch, clip.device)
            memory = self._arranged(_selected(state.memory, rows))
            parts.append((rows, *code(clip.index_select(0, rows), memory, False)))
        for worlds in self._apart(fresh):
            rows = rows_of(worlds, state.batch, clip.device)
            young, memory = code(clip.index_select(0, rows)[:, unseen:], {}, True)
            lead = young[:, :1].expand(-1, repeats, -1, -1, -1)
            parts.append((rows, torch.cat([lead, young], 1), memory))
        first = parts[0][1]
        out = first.new_empty(state.batch, *first.shape[1:])
        for rows, part, _ in parts:
            out.index_copy_(0, rows, part)
        return out, CodecState(ages, _joined([(rows, memory) for rows, _, memory in parts], state.batch))

    def _apart(self, worlds: list[int]) -> list[list[int]]:
        """Split worlds of one kind into the batches they run in."""
        return [[world] for world in worlds] if self._is_compiled else [worlds]

    def _check(self, clip: Tensor, what: str, layout: str, channels: int, state: CodecState) -> None:
        shape = tuple(clip.shape)
        if len(shape) != 5 or not shape[1] or shape[2] != channels:
            raise ValueError(f"{what} of shape {list(shape)}; expected {layout} with {channels} channels")
        if shape[0] != state.batch:
            raise ValueError(f"{what} of {shape[0]} worlds, but the codec state holds {state.batch}")


def put_channels_last(codec: nn.Module) -> None:
    """Lay out the weights of convolutions channels-last; names, shapes and values stay the same.

    cuDNN computes channels-last, and otherwise converts the input and output of every convolution. A
    convolution's output takes the layout of its weights.
    """
    for module in codec.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            last = torch.channels_last if isinstance(module, nn.Conv2d) else torch.channels_last_3d
            module.weight.data = module.weight.data.contiguous(memory_format=last)


def layout_of(tensor: Tensor) -> torch.memory_format:
    """Memory format of a tensor [N, D, h, w] or [N, D, T, h, w]: channels last, or contiguous."""
    last = torch.channels_last if tensor.dim() == 4 else torch.channels_last_3d
    return last if tensor.is_contiguous(memory_format=last) else torch.contiguous_format
