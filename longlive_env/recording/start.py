"""Files of frames that a world continues from: any picture or video can be read; a TIFF keeps them exactly.

Shapes: T pixel frames, H rows, W columns.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from longlive_env.errors import RecordingError
from longlive_env.frames import Frames

if TYPE_CHECKING:
    from longlive_env.engine.config import WorldConfig

START = "start.tiff"  # in the folder of a recording
MOVING = ("GIF", "WEBP", "PNG", "AVIF", "TIFF")  # formats whose pages follow one another in time
ROUNDED = 0.1  # frames, by which times in files may be off
Frame = Frames  # uint8 [H, W, 3]
# Seconds, and what draws the picture, as not all are shown; None ends the last one.
Timed = tuple[float, Callable[[], Frame] | None]


def read_frames(path: Path, config: WorldConfig) -> Frames:
    """A picture or a video as a world takes it: cropped to its shape, in its size and at its frame rate.

    Args:
        path: file that Pillow or FFmpeg can read.
        config: configuration of the world; of more frames than its context holds, the newest are taken.

    Returns:
        uint8 [T, H, W, 3]; T is 1 for a picture.

    Raises:
        RecordingError: there is no such file, or it holds neither pictures nor a video.
    """
    most = config.context_frames * config.codec.temporal_factor
    try:
        newest = deque(_steady(_timed(path, config), config.fps, most), maxlen=most)
        return np.stack(newest)
    except MemoryError:
        raise
    except Exception as error:  # decoders raise all kinds of errors about damaged files
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise RecordingError(
            f"cannot read frames from {path}: {reason}; expected a picture or a video"
        ) from error


def write_frames(path: Path, frames: Frames) -> None:
    """Write frames, uint8 [T, H, W, 3], as pages of a TIFF; `read_frames` returns the same numbers.

    Raises:
        OSError: the file cannot be written.
    """
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=others, compression="tiff_adobe_deflate")


def _timed(path: Path, config: WorldConfig) -> Iterator[Timed]:
    """What a file shows, and when."""
    try:
        image = Image.open(path)
    except UnidentifiedImageError:
        yield from _video(path, config)
        return
    with image:
        yield from _video(path, config) if image.format == "MPEG" else _pages(image, config)


def _pages(image: Image.Image, config: WorldConfig) -> Iterator[Timed]:
    """The pages of an animated picture; one that does not say how long it lasts is one frame of the world.

    So is a still picture, whatever it says.
    """
    seconds, size, moves = 0.0, image.size, getattr(image, "is_animated", False)
    for page in ImageSequence.Iterator(image):
        if page.size == size:  # and no thumbnail
            upright = _rgb(ImageOps.exif_transpose(page))  # now: a page lasts until the next one
            yield seconds, partial(_fitted, upright, config)
            seconds += (moves and page.info.get("duration", 0) / 1000) or 1 / config.fps
        if image.format not in MOVING:  # what follows is a preview, a layer or a map of depths
            break
    yield seconds, None


def _video(path: Path, config: WorldConfig) -> Iterator[Timed]:
    """The frames of a video; one without a time, or whose time is not later, follows the frame before."""
    with av.open(str(path.absolute())) as container:  # a name with a colon would be taken for an address
        if not container.streams.video:
            raise ValueError("it holds no pictures")
        stream = container.streams.video[0]
        step = float(1 / (stream.guessed_rate or config.fps))
        seconds, due = -math.inf, 0.0
        for frame in container.decode(stream):
            told = frame.time
            seconds = due if told is None or told <= seconds else told
            due = seconds + step
            yield seconds, partial(_of_video, frame, config)
        yield due, None


def _of_video(frame: av.VideoFrame, config: WorldConfig) -> Frame:
    picture = Image.fromarray(frame.to_ndarray(format="rgb24"))
    turned = getattr(frame, "rotation", 0)  # degrees, counter-clockwise like Pillow's
    return _fitted(picture.rotate(turned, expand=True) if turned else picture, config)


def _steady(timed: Iterator[Timed], fps: int, most: int) -> Iterator[Frame]:
    """A picture for each frame of the world: fast pictures are left out, slow ones are repeated."""
    begin, done, shown = None, 0, None
    for seconds, draw in timed:
        begin = seconds if begin is None else begin
        until = math.ceil((seconds - begin) * fps - ROUNDED)
        if shown is not None and until > done:
            yield from [shown()] * min(until - done, most)
            done = until
        shown = draw


def _rgb(picture: Image.Image) -> Image.Image:
    """The picture in 8 bits a channel, on white where it is transparent."""
    if picture.mode == "F":
        raise ValueError("its numbers are floating-point; save it with 8 bits a channel")
    if picture.mode.startswith("I"):
        grey = np.asarray(picture)
        if grey.min() < 0 or grey.max() > 65535:
            raise ValueError("its numbers need more than 16 bits; save it with 8 bits a channel")
        return Image.fromarray((grey / 257).round().astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        clear = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
    return picture.convert("RGB")


def _fitted(picture: Image.Image, config: WorldConfig) -> Frame:
    """uint8 [H, W, 3]: the middle of the picture; one of the world's own size is left unchanged."""
    return np.asarray(ImageOps.fit(picture, (config.width, config.height), Image.Resampling.LANCZOS))
