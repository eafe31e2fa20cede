"""Frames on their way from the device to the host, and the stream on which a CUDA device makes them."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@functools.cache
def _beside(index: int) -> torch.cuda.Stream:
    """One stream for all rollouts of a GPU: memory freed on a stream can only be reused on that stream.

    It goes first where both have work, as somebody waits for the frames: what runs beside it is the pass that
    remembers, whose kernels fill the device by themselves.
    """
    return torch.cuda.Stream(index, priority=-1)


class SideStream:
    """Runs work in parallel with the transformer on CUDA; elsewhere it runs at once, like all else."""

    def __init__(self, device: torch.device) -> None:
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = _beside(torch.cuda.current_device() if device.index is None else device.index)

    @contextmanager
    def after(self, *inputs: Tensor) -> Iterator[None]:
        """Work issued inside reads `inputs`, and starts when all work issued before has ended."""
        if self._stream is None:
            yield
            return
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        for tensor in inputs:
            tensor.record_stream(self._stream)
        with torch.cuda.stream(self._stream):
            yield

    def join(self) -> None:
        """Make work issued from now on start after the side stream's has ended; the host does not wait."""
        if self._stream is not None:
            torch.cuda.current_stream(self._stream.device).wait_stream(self._stream)


class Delivery:
    """Frames that are being copied to the host; `wait` returns them.

    Args:
        frames: uint8 on the device; on CUDA the copy runs on the current stream, through pinned memory.
    """

    def __init__(self, frames: Tensor) -> None:
        self._arrived: torch.cuda.Event | None = None
        if frames.is_cuda:
            with torch.cuda.device(frames.device):  # pinning needs a context, on this device and no other
                self._frames = torch.empty(frames.shape, dtype=frames.dtype, pin_memory=True)
            self._frames.copy_(frames, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record()
        else:
            self._frames = frames.cpu()

    def wait(self) -> Tensor:
        """Return the frames as a plain tensor in ordinary memory, so that keeping them pins no memory."""
        if self._arrived is not None:
            self._arrived.synchronize()
        elif not self._frames.is_inference():
            return self._frames
        with torch.inference_mode(False):
            return self._frames.clone()
