"""The first block of a video, which is shorter than those after it, as agents and probes see it.

Shapes: T pixel frames, H rows, W columns.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.uint8]


def whole_block(frames: Frames, count: int, axis: int = 0) -> Frames:
    """A block of `count` frames: the first frame is repeated where there are fewer.

    Args:
        frames: uint8 [T, H, W, 3], or with more axes before.
        count: T of the result.
        axis: where T is.
    """
    missing = count - frames.shape[axis]
    return np.concatenate([frames.take([0] * missing, axis=axis), frames], axis=axis)
