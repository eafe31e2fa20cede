"""The action log: JSON lines from which a run can be replayed to identical frames.

The first line describes the run, each further line one block, and the last line says how the run ended. Every
line is flushed before the next block begins, so a killed run leaves the log of all it had recorded.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from longlive_env.engine.config_values import from_dict
from longlive_env.engine.seeds import checked_seed
from longlive_env.engine.threads import checked_threads
from longlive_env.engine.whole_files import in_one_step
from longlive_env.errors import ConfigError, RecordingError
from longlive_env.frames import Frames

if TYPE_CHECKING:
    from longlive_env.engine.world import World

LOG = "actions.jsonl"  # its name in the folder of a recording
FORMAT, VERSION = "longlive-log", 1
SPARSE = ("mix", "notes", "remarks", "reached")  # what a block without any leaves out
T = TypeVar("T")


@dataclass(frozen=True)
class LogGoal:
    """A goal as a log names it.

    Attributes:
        name: name for people to read.
        points: points it adds to the score; a fault has less than 0.
    """

    name: str
    points: int

    @property
    def note(self) -> str:
        """The note of a block that reaches it."""
        return f"goal {self.name}: {self.points:+d}"


@dataclass(frozen=True)
class LogHeader:
    """What a run needs to be repeated.

    Attributes:
        name: name of the scenario.
        world: name of the world, or folder of its weights.
        seed: seed of the world.
        recache: what prompt switches did to the memory of earlier frames.
        height: pixel rows of a frame.
        width: pixel columns of a frame.
        fps: frames per second.
        device: device that it ran on.
        threads: number of CPU threads; another number may round differently.
        versions: versions of the software that ran it, the world's fingerprint as `weights`, and a digest of
            what completes its prompts, if anything does.
        options: non-default options that the world was loaded with, see `World.options`.
        frames: file beside the log with the frames that the run continued from; "" for a prompt alone.
        goals: goals of the scenario.
    """

    name: str
    world: str
    seed: int
    recache: str
    height: int
    width: int
    fps: int
    device: str
    threads: int
    versions: Mapping[str, str]
    options: Mapping[str, str] = field(default_factory=dict)
    frames: str = ""
    goals: Sequence[LogGoal] = ()

    @classmethod
    def of(
        cls, world: World, *, name: str, seed: int, recache: str, goals: Sequence[LogGoal] = ()
    ) -> LogHeader:
        """The header of a run in this process.

        Args:
            world: the world that is played; one from a folder is named by its absolute path.
            name: see the class.
            seed: see the class.
            recache: see the class.
            goals: see the class.
        """
        import torch

        from longlive_env import __version__

        config, source = world.config, world.source
        return cls(
            name=name,
            world=os.path.abspath(source) if os.path.isdir(source) else source,
            seed=seed,
            recache=recache,
            height=config.height,
            width=config.width,
            fps=config.fps,
            device=f"{world.device}",
            threads=torch.get_num_threads(),
            versions={
                "longlive_env": __version__,
                "torch": torch.__version__,
                "weights": world.fingerprint,
                **({"completion": world.completion.digest} if world.completion else {}),
            },
            options=world.options,
            goals=tuple(goals),
        )

    def differences(self, now: LogHeader) -> list[str]:
        """Why a repetition may give other numbers: one line for each thing that differs from the run."""
        was, here = (
            {
                "device": one.device,
                "threads": f"{one.threads}",
                "size": f"{one.width}x{one.height}",
                **one.versions,
                **one.options,
            }
            for one in (self, now)
        )
        return [
            f"{name} was {was.get(name, 'the default')}, here it is {here.get(name, 'the default')}"
            for name in sorted(was.keys() | here.keys())
            if was.get(name) != here.get(name)
        ]


@dataclass(frozen=True)
class LogBlock:
    """One block of a run.

    Attributes:
        block: index of the block, from 0.
        prompt: the prompt in force; one that differs from the block before was switched to.
        frames: pixel frames in the block.
        seconds: length of the video up to the end of this block.
        digest: fingerprint of the frames, see `digest`.
        mix: prompt -> its weight in the text embedding, the present prompt last; empty for a single prompt.
        notes: decisions made before the block, remarks, and goals that it reached.
        remarks: the notes that are for whoever watches.
        reached: goals that it reached.
    """

    block: int
    prompt: str
    frames: int
    seconds: float
    digest: str
    mix: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str] = ()
    remarks: Sequence[str] = ()
    reached: Sequence[LogGoal] = ()


@dataclass(frozen=True)
class ActionLog:
    """A log that was read back; `complete` says whether the run came to its planned end."""

    header: LogHeader
    blocks: tuple[LogBlock, ...]
    complete: bool


def digest(frames: Frames) -> str:
    """Fingerprint of frames, uint8 [T, H, W, 3]: equal only for identical frames."""
    return blake2b(np.ascontiguousarray(frames).tobytes(), digest_size=16).hexdigest()


class LogWriter:
    """Writes an action log line by line.

    Args:
        path: file to write; an existing one is replaced.
        header: first line of the log.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, header: LogHeader) -> None:
        self._path = path
        self._file = path.open("w", encoding="utf-8")
        self._write(_first_entry(header))

    def replace_header(self, header: LogHeader) -> None:
        """Replace the header, and keep the blocks that are there already.

        Raises:
            OSError: the file cannot be written; it is left unchanged.
        """
        _, _, blocks = self._path.read_text(encoding="utf-8").partition("\n")
        try:
            with in_one_step(self._path) as renewed:
                renewed.write_text(_line(_first_entry(header)) + blocks, encoding="utf-8")
                self._file.close()  # Windows replaces no open file
        finally:
            if self._file.closed:
                self._file = self._path.open("a", encoding="utf-8")

    def add(self, block: LogBlock) -> None:
        """Append a block, with what it has of a mix, notes, remarks and goals reached."""
        entry = dataclasses.asdict(block)
        self._write({name: value for name, value in entry.items() if value or name not in SPARSE})

    def close(self, *, complete: bool) -> None:
        """Say how the run ended; closing twice is harmless."""
        if not self._file.closed:
            try:
                self._write({"end": "complete" if complete else "interrupted"})
            finally:
                self._file.close()

    def _write(self, entry: Mapping[str, Any]) -> None:
        self._file.write(_line(entry))
        self._file.flush()


def _first_entry(header: LogHeader) -> dict[str, Any]:
    return {"format": FORMAT, "version": VERSION, **dataclasses.asdict(header)}


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False) + "\n"


def is_log(path: Path) -> bool:
    """Whether a file begins like an action log, or is the start of one that a kill has cut off."""
    begin = json.dumps({"format": FORMAT}).removesuffix("}").encode()
    with path.open("rb") as file:
        return begin.startswith(file.read(len(begin)))


def log_file(path: Path) -> Path:
    """The action log at `path`, which may be the folder of a recording instead."""
    return path / LOG if path.is_dir() else path


def read_log(path: Path) -> ActionLog:
    """Read a log back, even if its run was killed and its last line is cut short.

    Args:
        path: path of the log, or of the recording's folder.

    Raises:
        RecordingError: the file is missing, is not an action log, or is damaged.
    """
    path = log_file(path)
    no_log = RecordingError(
        f"{path} is not an action log; expected the {LOG} of a recorded run, or its folder"
    )
    try:
        whole = path.read_bytes().rpartition(b"\n")[0]  # the last line may be cut within a letter
        lines = whole.decode("utf-8-sig").split("\n") if whole else []
    except OSError as error:
        inside = [one.parent for depth in ("*", "*/*") for one in path.parent.glob(f"{depth}/{LOG}")]
        remedy = f"; {path.parent} holds recorded runs: give one, such as {min(inside)}" if inside else ""
        raise RecordingError(f"cannot read {path}: {error.strerror or error}{remedy}") from error
    except UnicodeDecodeError as error:
        raise no_log from error
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    entries = [_entry(path, number, line) for number, line in numbered]
    if not entries or entries[0].get("format") != FORMAT:
        raise no_log
    if entries[0].get("version") != VERSION:
        raise RecordingError(
            f"{path} is an action log of version {entries[0].get('version')}; this release reads {VERSION}"
        )
    ended = "end" in entries[-1]
    listed = list(zip(numbered, entries, strict=True))[1 : len(entries) - ended]
    blocks = tuple(_read(LogBlock, path, number, entry) for (number, _), entry in listed)
    if [block.block for block in blocks] != list(range(len(blocks))):
        raise RecordingError(f"{path} is damaged: its blocks are not numbered 0, 1, 2, ...")
    return ActionLog(_header(path, entries[0]), blocks, ended and entries[-1]["end"] == "complete")


def _entry(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as error:
        raise RecordingError(f"{path}:{number}: not valid JSON: {error.msg}") from error
    except ValueError as error:
        raise RecordingError(f"{path}:{number}: damaged: a number has too many digits") from error
    except RecursionError as error:
        raise RecordingError(f"{path}:{number}: damaged: it is nested too deeply") from error
    if not isinstance(entry, dict):
        raise RecordingError(f"{path}:{number}: expected an object, got {line.strip()[:40]!r}")
    return entry


def _header(path: Path, entry: dict[str, Any]) -> LogHeader:
    """The first line, if a run can begin with its values."""
    header = _read(LogHeader, path, 1, entry)
    try:
        checked_seed(header.seed)
        checked_threads(header.threads)
    except ConfigError as error:
        raise RecordingError(f"{path}:1: damaged: {error}") from error
    return header


def _read(cls: type[T], path: Path, number: int, entry: dict[str, Any]) -> T:
    """A line as an instance of `cls`; names that it does not know are passed over."""
    known = {item.name for item in dataclasses.fields(cls)}  # type: ignore[arg-type]
    try:
        return from_dict(cls, {name: value for name, value in entry.items() if name in known}, "entry")
    except (ConfigError, OverflowError) as error:
        raise RecordingError(f"{path}:{number}: damaged: {error}") from error
