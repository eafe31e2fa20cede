"""Frames that a world goes on from, as files: any picture or video is read, and a TIFF keeps them exactly.

Shapes: T pixel frames, H rows, W columns.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from longlive_env.errors import RecordingError

if TYPE_CHECKING:
    from longlive_env.engine.config import WorldConfig

START = "start.tiff"  # in the folder of a recording
ROUNDED = 0.1  # frames, by which times in files may be too early
Timed = tuple[float, Image.Image]  # seconds, picture


def read_frames(path: Path, config: WorldConfig) -> npt.NDArray[np.uint8]:
    """A picture or a video as a world takes it: cut to its shape, in its size and at its rate.

    Args:
        path: a file that Pillow or FFmpeg can read.
        config: of the world; of more frames than its context holds, the newest are taken.

    Returns:
        uint8 [T, H, W, 3]; T is 1 for a picture.

    Raises:
        RecordingError: there is no such file, or neither pictures nor a video in it.
    """
    most = config.context_frames * config.codec.temporal_factor
    try:
        newest = deque(_steady(_timed(path, config.fps), config.fps, most), maxlen=most)
        return np.stack([_fitted(picture, config) for picture in newest])
    except (OSError, ValueError, Image.DecompressionBombError, av.FFmpegError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RecordingError(
            f"cannot read frames from {path}: {reason}; expected a picture or a video"
        ) from error


def write_frames(path: Path, frames: npt.NDArray[np.uint8]) -> None:
    """Keep frames, uint8 [T, H, W, 3], as the pages of a TIFF; `read_frames` brings back the same numbers.

    Raises:
        OSError: the file cannot be written.
    """
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=others, compression="tiff_adobe_deflate")


def _timed(path: Path, fps: int) -> Iterator[Timed]:
    """What a file shows, and when; pages that do not say how long they stay are frames of the world."""
    try:
        with Image.open(path) as image:
            seconds = 0.0
            for page in ImageSequence.Iterator(image):
                yield seconds, ImageOps.exif_transpose(page).convert("RGB")
                seconds += page.info.get("duration", 0) / 1000 or 1 / fps
    except UnidentifiedImageError:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError("it holds no pictures") from None
            for frame in container.decode(video=0):
                yield frame.time or 0.0, Image.fromarray(frame.to_ndarray(format="rgb24"))


def _steady(timed: Iterator[Timed], fps: int, most: int) -> Iterator[Image.Image]:
    """A picture for each frame of the world: those that come too fast are left out, slow ones stay."""
    begin, last, previous = None, -1, None
    for seconds, picture in timed:
        begin = seconds if begin is None else begin
        index = math.floor((seconds - begin) * fps + ROUNDED)
        if index <= last:
            continue
        if previous is not None:
            yield from [previous] * min(index - last - 1, most)
        yield picture
        last, previous = index, picture


def _fitted(picture: Image.Image, config: WorldConfig) -> npt.NDArray[np.uint8]:
    """uint8 [H, W, 3]: the middle of the picture; one of the world's own size stays as it is."""
    return np.asarray(ImageOps.fit(picture, (config.width, config.height), Image.Resampling.LANCZOS))
