"""Subtitles of a recording in SubRip format, which players load with a video of the same name.

They show the prompt in force. A scenario's remark has an entry of its own in place of the prompt, which would
give away the answer to a question such as "what has changed?". A remark gives way to the next prompt once
there was time to read it, and after a while to the prompt it replaced.

SubRip counts milliseconds, and times are rounded down: an entry appears with its first frame and is gone with
the first frame that it does not belong to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SHORTEST_REMARK_S, LONGEST_REMARK_S = 3, 8
READ_A_SECOND = 15  # characters; a remark stays until it can have been read, however long that is
# What some players take for markup, however it is escaped; "-->" would begin an entry.
_PLAIN = str.maketrans({"<": "‹", ">": "›", "{": "(", "}": ")", "\\": "/"})
_CONTROL = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)))


@dataclass(frozen=True)
class _Remark:
    """A remark that is being shown; its times are pixel frames.

    Attributes:
        text: what it says.
        begin: when it appeared.
        shortest: how long it stays at least.
        longest: how long it stays at most.
        prompt: prompt in force when it appeared.
    """

    text: str
    begin: int
    shortest: float
    longest: float
    prompt: str

    @classmethod
    def of(cls, text: str, begin: int, fps: int, prompt: str) -> _Remark:
        """A remark that appears at frame `begin`."""
        shortest = max(SHORTEST_REMARK_S, len(text) / READ_A_SECOND)
        longest = max(LONGEST_REMARK_S, shortest)
        return cls(text, begin, shortest * fps, longest * fps, prompt)

    def stays(self, frame: int, prompt: str) -> bool:
        """Whether the remark is still shown from this frame on, under this prompt."""
        shown = frame - self.begin
        return shown < (self.longest if prompt == self.prompt else self.shortest)


class SubtitleWriter:
    """Writes subtitles block by block. The file is complete after each, even if the process is killed.

    Args:
        path: file to write; an existing one is replaced.
        fps: frames per second of the video.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, fps: int) -> None:
        self._file = path.open("wb")
        self._fps = fps
        self._frames = 0
        self._remark: _Remark | None = None
        self._entries = 0
        self._text = ""  # of the last entry,
        self._begin = 0  # its first frame,
        self._offset = 0  # and where it stands in the file

    def add(self, frames: int, prompt: str, remarks: Sequence[str] = ()) -> None:
        """Add the next block.

        Args:
            frames: number of pixel frames in the block.
            prompt: prompt that it was generated under.
            remarks: remarks to show with it.

        Raises:
            OSError: the file cannot be written.
        """
        begin = self._frames
        self._frames += frames
        said = _safe("\n".join(remarks))
        if said:
            self._remark = _Remark.of(said, begin, self._fps, prompt)
        elif self._remark is not None and not self._remark.stays(begin, prompt):
            self._remark = None
        text = _safe(" ".join(prompt.split())) if self._remark is None else self._remark.text
        if said or text != self._text:
            self._file.seek(0, 2)
            self._offset = self._file.tell()
            self._begin, self._text = begin, text
            self._entries += bool(text)
        self._write_entry()

    def close(self) -> None:
        """Finish the file; closing twice is harmless."""
        self._file.close()

    def _write_entry(self) -> None:
        """Rewrite the last entry, which has become longer; an entry without a text is not written."""
        if not self._text:
            return
        times = f"{_clock(self._begin, self._fps)} --> {_clock(self._frames, self._fps)}"
        self._file.seek(self._offset)
        self._file.write(f"{self._entries}\n{times}\n{self._text}\n\n".encode())
        self._file.flush()


def _safe(text: str) -> str:
    """`text` without what would end its entry, begin another, or be taken for markup."""
    lines = (" ".join(line.translate(_CONTROL | {0x09: " "}).split()) for line in text.splitlines())
    return "\n".join(line for line in lines if line).translate(_PLAIN)


def _clock(frame: int, fps: int) -> str:
    """When a frame is shown, as SubRip writes it."""
    seconds, milliseconds = divmod(frame * 1000 // fps, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02},{milliseconds:03}"
