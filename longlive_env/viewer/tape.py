"""Recording of what is shown: which blocks go into which folder, and when recording starts and stops."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from longlive_env.engine.config import RecacheMode
from longlive_env.envs.window import enlargement
from longlive_env.errors import LongLiveError
from longlive_env.recording import LogHeader, Recording
from longlive_env.viewer.exchange import Exchange
from longlive_env.viewer.history import Beat
from longlive_env.viewer.session import Played, Session
from longlive_env.viewer.take import Take, mix_of, unused

logger = logging.getLogger(__name__)

PARTS_TOLD = 6  # most folders of a recording that a message names


class Tape:
    """Records the blocks that a window has taken, when asked to. Errors are reported.

    Args:
        exchange: exchange that knows the taken blocks.
        header: header for a recording of the session; its `name`, `goals`, `seed` and `recache` are filled
            in.
    """

    def __init__(self, exchange: Exchange, header: Callable[[Session], LogHeader]) -> None:
        self._exchange = exchange
        self._header = header
        self._recorder: TakeRecorder | None = None

    @property
    def folder(self) -> Path | None:
        """Folder of the current part; None if nothing is being recorded."""
        return self._recorder.folder if self._recorder is not None else None

    def toggle(self, session: Session, folder: Path) -> None:
        """Start recording into a folder, from the block on show; or stop a running recording."""
        running = self._recorder is not None
        self.add_seen(session)
        if running:
            self.finish()
            return
        self._recorder = TakeRecorder(folder, self._header(session))
        self._exchange.see_again(session.history.beats)

    def add_seen(self, session: Session) -> bool:
        """Record the blocks taken since the last call; returns whether there were any."""
        seen = self._exchange.take_seen()
        if self._recorder is not None:
            try:
                for played in seen:
                    begins = not self._recorder.begun
                    self._recorder.add(session, played)
                    if begins:
                        self._exchange.tell(f"Recording into {self._recorder.folder}")
            except (LongLiveError, OSError) as error:
                where = self._recorder.folder
                self._exchange.tell(f"The recording in {where} has stopped: {error}", wrong=True)
                self._close(self._recorder, complete=False)
            except BaseException:  # ends more than the recording
                self._close(self._recorder, complete=False)
                raise
        return bool(seen)

    def finish(self) -> None:
        """Finish the files, if there are any."""
        if self._recorder is not None:
            self._close(self._recorder, complete=True)

    def _close(self, recorder: TakeRecorder, *, complete: bool) -> None:
        """Finish the files of the recording, and report where its parts are."""
        self._recorder = None
        try:
            recorder.close(complete=complete)
        except (LongLiveError, OSError) as error:
            self._exchange.tell(f"The recording in {recorder.folder} is unfinished: {error}", wrong=True)
            complete = False
        if recorder.parts or complete:
            self._exchange.tell(_summary(recorder.parts))
        if len(recorder.parts) > PARTS_TOLD:
            for folder, seconds in recorder.parts.items():
                logger.warning("recorded %.1f s in %s", seconds, folder)  # whose place is stderr


def _summary(parts: Mapping[Path, float]) -> str:
    """Summarise a recording: the folder of its first part, and the suffixes of the others."""
    if not parts:
        return "Recorded nothing"
    (first, seconds), *others = parts.items()
    if not others:
        return f"Recorded {seconds:.1f} s in {first}"
    told = [f"{first} ({seconds:.1f} s)"]
    for folder, seconds in others:
        end = folder.name.removeprefix(first.name)
        told.append(f"{end if end.startswith('-') else folder.name} ({seconds:.1f} s)")
    if len(told) > PARTS_TOLD:
        told[PARTS_TOLD - 2 : -1] = ["..."]
    return f"Recorded {sum(parts.values()):.1f} s in {len(parts)} folders: {', '.join(told)}"


class TakeRecorder:
    """Records the blocks that are shown.

    A recording is one unbroken take, so that its log replays to the same frames; the log also lists the
    blocks before the recording began. When the picture jumps, the recording continues in a new folder.

    Args:
        folder: folder of the files; later parts get a numbered one.
        header: header of the run, except for its name, goals, seed and recache mode.

    Attributes:
        folder: folder of the current part.
        parts: folder -> seconds of its video, for all finished parts.
    """

    def __init__(self, folder: Path, header: LogHeader) -> None:
        self.folder = unused(folder)
        self.parts: dict[Path, float] = {}
        self._seconds = 0.0  # of the current part
        self._first = self.folder
        self._header = header
        self._recording: Recording | None = None
        self._recache: RecacheMode = "full"  # of the current log
        self._last: Beat | None = None

    @property
    def begun(self) -> bool:
        """Whether there is a folder yet."""
        return self._recording is not None or bool(self.parts)

    def add(self, session: Session, played: Played) -> None:
        """Record a block that belongs to the current take of `session`.

        Raises:
            RecordingError: the frames cannot be encoded, or the take's switches differ in recache mode.
            OSError: the files cannot be written.
        """
        beat = played.beat
        before = Take.of(session, beat.block)
        if self._recording is not None and before.beats[-1:] != (self._last,):
            self.close()
        recache = Take.of(session, beat.block + 1).recache
        if self._recording is None:
            self._header = dataclasses.replace(self._header, name=session.scenario_name, goals=session.goals)
            self._recording = self._open(before, recache)
        elif recache != self._recache:  # it counts from the first switch on
            self._recording.replace_header(self._header_of(before, recache))
        self._recache = recache
        self._recording.add(
            played.frames,
            beat.prompt,
            mix=mix_of(beat),
            notes=beat.notes,
            remarks=beat.remarks,
            reached=beat.reached,
        )
        self._last = beat
        self._seconds += beat.frames / self._header.fps

    def close(self, *, complete: bool = True) -> None:
        """Finish the files; closing twice is harmless.

        Args:
            complete: whether to mark the log as complete.

        Raises:
            RecordingError: the video cannot be finished.
            OSError: the files cannot be written.
        """
        recording, self._recording = self._recording, None
        seconds, self._seconds = self._seconds, 0.0
        if recording is not None:
            recording.complete = complete
            recording.close()
            if seconds:
                self.parts[recording.folder] = seconds

    def _open(self, before: Take, recache: RecacheMode) -> Recording:
        self.folder = unused(self._first)
        header = self._header_of(before, recache)
        scale = enlargement(header.height)
        earlier = before.log(header.fps)
        return Recording(self.folder, header, scale=scale, earlier=earlier, start=before.start)

    def _header_of(self, take: Take, recache: RecacheMode) -> LogHeader:
        return dataclasses.replace(self._header, seed=take.seed, recache=recache)
