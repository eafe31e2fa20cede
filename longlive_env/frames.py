"""Pixel frames as numpy arrays, which envs, recordings and the viewer exchange.

Shapes: T pixel frames, H rows, W columns.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.uint8]  # [T, H, W, 3], or as said


def whole_block(frames: Frames, count: int, axis: int = 0) -> Frames:
    """A block of `count` frames, as agents and probes expect it: the first block of a video is shorter.

    Args:
        frames: uint8 [T, H, W, 3], or with more axes before.
        count: T of the result; if there are fewer frames, the first is repeated.
        axis: position of T.
    """
    missing = count - frames.shape[axis]
    return np.concatenate([frames.take([0] * missing, axis=axis), frames], axis=axis)


def resized(frames: Frames, height: int, width: int) -> Frames:
    """Frames uint8 [..., H, W, C] resized to [..., height, width, C], bilinear and without aliasing."""
    import torch
    import torch.nn.functional as F

    *before, rows, columns, channels = frames.shape
    flat = torch.from_numpy(np.ascontiguousarray(frames).reshape(-1, rows, columns, channels))
    scaled = F.interpolate(flat.movedim(-1, 1).float(), (height, width), mode="bilinear", antialias=True)
    pixels: Frames = scaled.round().clamp(0, 255).to(torch.uint8).movedim(1, -1).numpy()
    return np.ascontiguousarray(pixels).reshape(*before, height, width, channels)
