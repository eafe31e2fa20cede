"""Pixel frames as numpy arrays, which envs, recordings and the viewer pass around.

Shapes: T pixel frames, H rows, W columns.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.uint8]  # [T, H, W, 3], or as said


def whole_block(frames: Frames, count: int, axis: int = 0) -> Frames:
    """A block of `count` frames, as agents and probes see it: the first block of a video is shorter.

    Args:
        frames: uint8 [T, H, W, 3], or with more axes before.
        count: T of the result; where there are fewer, the first frame is repeated.
        axis: where T is.
    """
    missing = count - frames.shape[axis]
    return np.concatenate([frames.take([0] * missing, axis=axis), frames], axis=axis)
