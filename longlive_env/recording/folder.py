"""A run on disk: the video, its subtitles, the action log and the contact sheet, side by side.

Shapes: T pixel frames, H rows, W columns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from longlive_env.errors import RecordingError
from longlive_env.frames import Frames
from longlive_env.recording.lock import locked
from longlive_env.recording.log import LOG, LogBlock, LogGoal, LogHeader, LogWriter, digest, is_log
from longlive_env.recording.sheet import ContactSheet
from longlive_env.recording.start import START, write_frames
from longlive_env.recording.subtitles import SubtitleWriter
from longlive_env.recording.video import VideoWriter, check_encoder, check_size

VIDEO, SUBTITLES, SHEET = "video.mp4", "video.srt", "sheet.png"
REPLACED = (LOG, VIDEO, SUBTITLES, SHEET, START)  # files of an earlier run that a new one replaces


@dataclass(frozen=True)
class _Files:
    """The files that grow with every block."""

    video: VideoWriter
    subtitles: SubtitleWriter
    log: LogWriter


class Recording:
    """Records the blocks of one world into a folder; use it in a `with` statement.

    Whatever ends the run, the mp4 plays, and the log and the subtitles cover every block that it holds. If
    the process is killed, the sheet is missing, and the mp4 may hold one block more than they cover. Until
    it is closed, no other recording, of this process or another, can use the folder.

    Args:
        folder: folder for the files, made if need be. The first block replaces files of an earlier run.
        header: description of the run.
        scale: whole factor by which the video is enlarged.
        earlier: blocks of the same run that were played before the recording begins. The log lists them, so
            that it still holds all that a replay needs, and times count from the start of the run.
        start: frames that the run continued from, uint8 [T, H, W, 3], kept beside the log for replays.

    Raises:
        RecordingError: the pictures cannot be encoded at this scale or at all, the folder cannot be written,
            another recording uses it, it would replace files that no earlier run has left, or the video or
            the log of the earlier run cannot be replaced.
    """

    def __init__(
        self,
        folder: Path,
        header: LogHeader,
        *,
        scale: int = 1,
        earlier: Sequence[LogBlock] = (),
        start: Frames | None = None,
    ) -> None:
        check_size(header.height, header.width, scale)
        check_encoder()
        _make(folder)
        with ExitStack() as stack:
            stack.enter_context(locked(folder))
            _check_replaceable(folder)
            _check_free(folder)
            self._held = stack.pop_all()
        self.folder = folder
        self.seconds = earlier[-1].seconds if earlier else 0.0
        self.complete = False
        self._start = start
        self._header = self._described(header)
        self._scale = scale
        self._earlier = earlier
        self._blocks = len(earlier)
        self._seconds_before = self.seconds
        self._files: _Files | None = None  # made for the first block
        self._sheet = ContactSheet(f"{header.name} · world {header.world} · seed {header.seed}", header.fps)

    def add(
        self,
        frames: Frames,
        prompt: str,
        *,
        mix: Mapping[str, float] | None = None,
        notes: Sequence[str] = (),
        remarks: Sequence[str] = (),
        reached: Sequence[LogGoal] = (),
    ) -> LogBlock:
        """Record a block; it is safe when this returns.

        Args:
            frames: uint8 [T, H, W, 3].
            prompt: prompt that the block was generated under.
            mix: weights of prompts in the text embedding, if it was made of more than `prompt`.
            notes: decisions made before the block and goals that it reached, for the log.
            remarks: the notes that are for whoever watches; they appear in the subtitles.
            reached: goals that the block reached.

        Raises:
            RecordingError: the frames have another shape or dtype than the header says, the encoder fails, or
                files of an earlier run cannot be replaced.
        """
        files = self._opened()
        files.video.add(frames)
        self.seconds = self._seconds_before + files.video.frames / self._header.fps
        block = LogBlock(
            self._blocks,
            prompt,
            len(frames),
            self.seconds,
            digest(frames),
            mix or {},
            tuple(notes),
            tuple(remarks),
            tuple(reached),
        )
        files.log.add(block)
        files.subtitles.add(len(frames), prompt, remarks)
        self._sheet.add(frames, prompt, self.seconds)
        self._blocks += 1
        return block

    def replace_header(self, header: LogHeader) -> None:
        """Replace the description of the run in the log; what was recorded stays.

        Raises:
            OSError: the log cannot be written; it is left unchanged.
        """
        header = self._described(header)
        if self._files is not None:
            self._files.log.replace_header(header)
        self._header = header

    def close(self) -> None:
        """Finish the files. Set `complete` first if the run came to its planned end.

        Raises:
            RecordingError: FFmpeg cannot finish the video, which plays as it is.
            OSError: a file cannot be written; the video is finished even if the log is not.
        """
        files = self._files
        with ExitStack() as stack:  # each step is taken, whatever goes wrong in those before it
            stack.callback(self._held.close)
            if files is None:
                return
            stack.callback(self._finish_video, files.video)
            stack.callback(files.subtitles.close)
            files.log.close(complete=self.complete)

    def _finish_video(self, video: VideoWriter) -> None:
        try:
            video.close()
        finally:
            if video.frames:
                self._sheet.draw().save(self.folder / SHEET)

    def _opened(self) -> _Files:
        """The files, made for the first block, so that a run without blocks replaces no earlier run."""
        if self._files is None:
            header = self._header
            _check_free(self.folder)  # before anything of an earlier run is gone
            for name in (SUBTITLES, SHEET, START):
                (self.folder / name).unlink(missing_ok=True)  # it would be mistaken for this run's
            log = LogWriter(self.folder / LOG, header)  # first: by it a later run knows whose files these are
            if self._start is not None:
                write_frames(self.folder / START, self._start)
            video = VideoWriter(self.folder / VIDEO, header.height, header.width, header.fps, self._scale)
            for block in self._earlier:
                log.add(block)
            subtitles = SubtitleWriter(self.folder / SUBTITLES, header.fps)
            self._files = _Files(video, subtitles, log)
        return self._files

    def _described(self, header: LogHeader) -> LogHeader:
        return header if self._start is None else dataclasses.replace(header, frames=START)

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _make(folder: Path) -> None:
    """Create the folder if need be, and check now that files can be written to it."""
    if folder.is_file():
        raise RecordingError(f"{folder} is a file; give a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except UnicodeEncodeError as error:
        raise RecordingError(
            f"file names of this system hold no {str(folder)[error.start]!r}, which {str(folder)!r} has; "
            "choose another folder, or set a locale such as C.UTF-8"
        ) from error
    except OSError as error:
        raise RecordingError(
            f"{folder} cannot be written ({error.strerror or error}); choose another place"
        ) from error


def _check_replaceable(folder: Path) -> None:
    """Pass if every file to be replaced belongs to an earlier run, which has left its log."""
    there = [name for name in REPLACED if (folder / name).exists()]
    if there and not (there[0] == LOG and is_log(folder / LOG)):
        raise RecordingError(
            f"{folder} holds {' and '.join(there)}, and no log of an earlier run; choose another folder, so "
            "that nothing is overwritten"
        )


def _check_free(folder: Path) -> None:
    """Pass if the video and the log of an earlier run can be written over; neither is changed."""
    for file in (folder / VIDEO, folder / LOG):
        if not file.exists():
            continue
        try:
            with file.open("r+b"):
                pass
        except OSError as error:
            raise RecordingError(
                f"{file} of an earlier run cannot be replaced ({error.strerror or error}); close it where it "
                "is open, make it writable, or choose another folder"
            ) from error
