"""An mp4 that holds every frame and can be played at any moment, even if the process is killed.

Each call appends one complete fragment (ISO 14496-12 movie fragments: an index box `moof` and its data
`mdat`), encoded on its own and so beginning with a key frame. Closing rewrites the file, without re-encoding
anything, as a plain mp4 that every player can seek in.

Shapes: T pixel frames, H rows, W columns.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.codec.codec import UnknownCodecError

from longlive_env.engine.whole_files import in_one_step
from longlive_env.errors import RecordingError
from longlive_env.frames import Frames

ENCODER: Final = "libx264"
TICKS_PER_FRAME = 512
LARGEST_SIDE = 16384  # pixels that the encoder takes
ENCODER_OPTIONS = {"preset": "veryfast", "crf": "18", "bf": "0"}  # bf 0: no frame refers to a later one


def check_size(height: int, width: int, scale: int) -> None:
    """Pass if pictures of `height` x `width` pixels, enlarged `scale` times, can be encoded.

    Raises:
        RecordingError: a side or the scale is invalid.
    """
    if scale < 1 or height * scale % 2 or width * scale % 2:
        raise RecordingError(
            f"a picture of {width}x{height} at scale {scale} cannot be encoded; its sides must be even, "
            "so try scale 2"
        )
    most = LARGEST_SIDE // max(height, width)
    if scale > most:
        raise RecordingError(
            f"a picture of {width}x{height} at scale {scale} cannot be encoded; its sides must be of "
            f"{LARGEST_SIDE} pixels at most, so try scale {most} or less"
        )


def check_encoder() -> None:
    """Pass if there is an encoder for the video.

    Raises:
        RecordingError: the FFmpeg of this Python has none.
    """
    try:
        av.Codec(ENCODER, "w")
    except UnknownCodecError:
        raise RecordingError(
            f"no video can be recorded: the FFmpeg that PyAV {av.__version__} uses has no encoder {ENCODER}; "
            "install PyAV from PyPI, whose FFmpeg has it: pip install --force-reinstall --only-binary av av"
        ) from None


class VideoWriter:
    """Writes frames to an mp4, fragment by fragment.

    Args:
        path: file to write; an existing one is replaced.
        height: pixel rows of a frame, even.
        width: pixel columns of a frame, even.
        fps: frames per second.
        scale: whole factor by which each pixel is enlarged; this keeps the colours of small pictures better.

    Raises:
        RecordingError: a side or the scale is invalid, or there is no encoder.
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, height: int, width: int, fps: int, scale: int = 1) -> None:
        check_size(height, width, scale)
        check_encoder()
        self.path = path
        self.frames = 0
        self._shape = (height, width, 3)
        self._fps = fps
        self._scale = scale
        self._fragments = 0
        self._file = path.open("wb", buffering=0)  # so that no rest of a failed write comes later

    def add(self, frames: Frames) -> None:
        """Append frames, uint8 [T, H, W, 3]; when this returns they are in the file.

        Raises:
            RecordingError: the frames have another shape or dtype, or the encoder fails.
            OSError: they cannot be written, such as on a full disk; the file keeps the earlier frames.
        """
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != self._shape or not len(frames):
            raise RecordingError(
                f"got frames {frames.dtype} {list(frames.shape)}; expected uint8 [T, {self._shape[0]}, "
                f"{self._shape[1]}, 3] with T of 1 or more"
            )
        with _ffmpeg("the video cannot be encoded"):
            encoded = self._encode(frames)
        start = struct.pack(">Q", self.frames * TICKS_PER_FRAME)
        fragment = b""
        for kind, box in _boxes(encoded):
            if kind == b"moof":  # times within a fragment count from 0; `tfdt` says when the fragment begins
                at = box.index(b"tfdt") + 8
                fragment += box[:at] + start + box[at + 8 :]
            elif kind == b"mdat" or (self._fragments == 0 and kind in (b"ftyp", b"moov")):
                fragment += box
        self._append(fragment)  # past this point a killed process no longer loses it
        self.frames += len(frames)
        self._fragments += 1

    def close(self) -> None:
        """Finish the file; closing twice is harmless.

        Raises:
            RecordingError: FFmpeg cannot make a plain mp4 of it; the file plays as it is.
            OSError: there is no room for a plain mp4; the file plays as it is.
        """
        if self._file.closed:
            return
        self._file.close()
        if self._fragments:
            with _ffmpeg("the video cannot be made a plain mp4 and stays in fragments"):
                _rewrite_plain(self.path)

    def _append(self, fragment: bytes) -> None:
        """Write a whole fragment or nothing: players stop with an error at an incomplete one."""
        begin, rest = self._file.tell(), memoryview(fragment)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except BaseException:
            self._file.truncate(begin)
            self._file.seek(begin)
            raise

    def _encode(self, frames: Frames) -> bytes:
        buffer = io.BytesIO()
        height, width = self._shape[0] * self._scale, self._shape[1] * self._scale
        options = {
            "movflags": "empty_moov+default_base_moof+frag_custom",
            "fragment_index": str(self._fragments + 1),
            "video_track_timescale": str(self._fps * TICKS_PER_FRAME),
        }
        with av.open(buffer, "w", format="mp4", options=options) as container:
            stream = container.add_stream(ENCODER, rate=self._fps, options=dict(ENCODER_OPTIONS))
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            for index, frame in enumerate(frames):
                large = frame.repeat(self._scale, axis=0).repeat(self._scale, axis=1)
                picture = av.VideoFrame.from_ndarray(large, format="rgb24")
                picture.pts = index
                container.mux(stream.encode(picture))
            container.mux(stream.encode())
        return buffer.getvalue()


@contextmanager
def _ffmpeg(problem: str) -> Iterator[None]:
    """Turn FFmpeg's errors within a `with` statement into a `RecordingError` about the problem."""
    try:
        yield
    except OSError:  # which PyAV raises where the disk is the matter
        raise
    except av.error.FFmpegError as error:
        raise RecordingError(f"{problem}: {error}") from error


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The top-level boxes of an mp4: the kind and all bytes of each."""
    offset = 0
    while offset < len(data):
        (size,) = struct.unpack_from(">I", data, offset)
        yield data[offset + 4 : offset + 8], data[offset : offset + size]
        offset += size


def _rewrite_plain(path: Path) -> None:
    """Turn the fragmented mp4 at `path` into a plain one with its index in front."""
    path = path.absolute()  # FFmpeg takes what stands before a colon for a protocol, but not behind a slash
    with in_one_step(path) as plain:
        _copy_plain(path, plain)


def _copy_plain(path: Path, plain: Path) -> None:
    with (
        av.open(str(path)) as source,
        av.open(str(plain), "w", format="mp4", options={"movflags": "faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
