"""Decoding as CUDA graphs, captured and replayed on a stream beside the transformer's.

The graphs of all rollouts share memory (see `compile.graph_pool`), but not with the transformer's graphs,
which run at the same time.

Shapes: B worlds, F latent frames of a block.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from longlive_env.engine.codec import CodecState
from longlive_env.engine.compile import graph_pool

Decode = Callable[[Tensor, CodecState], tuple[Tensor, CodecState]]  # latents to frames


class DecodeGraphs:
    """Decodes the blocks of some worlds; recurring kinds are captured, then replayed.

    First blocks, which do not recur, are not captured, nor is a batch in which some worlds are new. The state
    that a captured decoding returns is at fixed addresses, and the next one overwrites it: copy it to keep it
    (`CodecState.select`).
    """

    def __init__(self) -> None:
        self._captured: dict[tuple[object, ...], CapturedDecode | None] = {}

    def run(self, decode: Decode, latents: Tensor, state: CodecState) -> tuple[Tensor, CodecState]:
        """Return the frames of a block and the state after it.

        Args:
            decode: decoding function, the same each time, which never waits for the device. It is not kept,
                so that no reference cycle keeps its owner and these graphs in memory. On CUDA it is captured
                on the current stream, which must not be the default one.
            latents: latents of the block.
            state: state before the block.
        """
        kind = _kind(latents, state)
        if kind not in self._captured:
            frames, after = decode(latents, state)
            if all(state.ages) and _kind(latents, after) == kind:  # so it can recur
                self._captured[kind] = None
            return frames, after
        captured = self._captured[kind]
        if captured is None:
            captured = self._captured[kind] = CapturedDecode(decode, latents, state)
        return captured(latents, state)


class CapturedDecode:
    """A captured decoding of one shape.

    Attributes:
        latents: latents to decode, at a fixed address.
        memory: the codec's memory, which each decoding overwrites: the tensors of the state at capture,
            since nothing else uses what a codec keeps.
    """

    def __init__(self, decode: Decode, latents: Tensor, state: CodecState) -> None:
        self.latents, self.memory = latents.clone(), dict(state.memory)
        self._ages = state.ages  # all are running; their exact ages do not matter
        self._capture(decode)

    def __call__(self, latents: Tensor, state: CodecState) -> tuple[Tensor, CodecState]:
        """Return frames, valid until the next captured decoding on this stream, and the state after."""
        self.latents.copy_(latents, non_blocking=True)
        for name, mine in self.memory.items():
            if mine is not state.memory[name]:
                mine.copy_(state.memory[name], non_blocking=True)
        frames = self._replay()
        ages = tuple(age + latents.shape[1] for age in state.ages)
        return frames, CodecState(ages, dict(self.memory))

    def _step(self, decode: Decode) -> Tensor:
        frames, after = decode(self.latents, CodecState(self._ages, self.memory))
        for name, mine in self.memory.items():
            mine.copy_(after.memory[name])
        return frames

    def _capture(self, decode: Decode) -> None:
        # On the stream where it replays (see also `captures`): libraries keep a workspace per stream, and the
        # transformer's graphs, which run at the same time, use another.
        device = self.latents.device
        self._pool = graph_pool(device)
        self._graph = torch.cuda.CUDAGraph()
        with (
            torch.cuda.device(device),
            torch.cuda.graph(self._graph, self._pool.handle, torch.cuda.current_stream(device)),
        ):
            self._frames = self._step(decode)

    def _replay(self) -> Tensor:
        self._graph.replay()
        return self._frames


def _kind(latents: Tensor, state: CodecState) -> tuple[object, ...]:
    """Decodings of one kind run the same operations and the same compiled code, which checks strides."""
    parts = sorted(
        (name, tuple(value.shape), value.stride(), str(value.dtype), value.is_inference())
        for name, value in state.memory.items()
    )
    return (tuple(latents.shape), tuple(age > 0 for age in state.ages), *parts)
