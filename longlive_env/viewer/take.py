"""Takes as files: the log of a recording, and a scenario that replays the same take.

Shapes: T pixel frames per block, H rows, W columns.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from longlive_env.engine.config import RecacheMode
from longlive_env.engine.published import is_published
from longlive_env.engine.world_places import find
from longlive_env.errors import LongLiveError, RecordingError
from longlive_env.frames import Frames
from longlive_env.recording import LogBlock
from longlive_env.scenario import Change, Mix, Plan, Scenario, Script, parse_scenario
from longlive_env.scenario.change import WHOLE
from longlive_env.terminal import as_command
from longlive_env.viewer.history import Beat
from longlive_env.viewer.session import Session

if TYPE_CHECKING:
    from longlive_env.engine.world import World

LONGEST_BLEND = 1000  # blocks


@dataclass(frozen=True)
class Take:
    """A video from its first block on: its seed, its blocks, and the world that played them.

    Attributes:
        start: frames that it continued, uint8 [T, H, W, 3]; None if it began from a prompt alone.
    """

    seed: int
    beats: tuple[Beat, ...]
    world: World
    start: Frames | None = None

    @classmethod
    def of(cls, session: Session, position: int) -> Take:
        """Create a take from the first `position` blocks of a session."""
        return cls(session.seed, tuple(session.history.beats[:position]), session.world, session.start)

    @property
    def events(self) -> tuple[Beat, ...]:
        """The blocks that brought a new prompt, began a transition to one, or brought a remark.

        A remark within a transition is left out, since an entry of a timeline would end the transition.
        """
        return tuple(
            beat
            for before, beat in self._pairs()
            if beat.prompt != before.prompt or (beat.remarks and beat.mix.is_pure)
        )

    @property
    def recache(self) -> RecacheMode:
        """The recache mode of all its switches or, without any, of its newest block.

        Raises:
            RecordingError: they differ.
        """
        modes = sorted({beat.recache for before, beat in self._pairs() if beat.mix != before.mix})
        if len(modes) > 1:
            raise RecordingError(
                f"this take switches prompts with recache {' and '.join(modes)}, and a file knows but one; "
                "rewind to before the change of mode"
            )
        return modes[0] if modes else self.beats[-1].recache

    def log(self, fps: int) -> tuple[LogBlock, ...]:
        """Return its blocks as an action log holds them."""
        blocks, frames = [], 0
        for beat in self.beats:
            frames += beat.frames
            mix = mix_of(beat)
            blocks.append(
                LogBlock(
                    beat.block,
                    beat.prompt,
                    beat.frames,
                    frames / fps,
                    beat.digest,
                    mix,
                    beat.notes,
                    beat.remarks,
                    beat.reached,
                )
            )
        return tuple(blocks)

    def cue(self, beat: Beat) -> dict[str, str]:
        """Return the entry of a scenario's timeline that reproduces this event."""
        entry = {"at": f"block {beat.block}", "prompt": beat.prompt}
        if not beat.mix.is_pure:
            entry["blend"] = f"{_blend_blocks(self.beats[beat.block - 1].mix, beat.mix)} blocks"
        if beat.remarks:
            entry["note"] = " · ".join(beat.remarks)
        return entry

    def _pairs(self) -> Iterator[tuple[Beat, Beat]]:
        return zip(self.beats, self.beats[1:], strict=False)


def mix_of(beat: Beat) -> dict[str, float]:
    """Return the prompt weights as an action log holds them: none for a single prompt."""
    return {} if beat.mix.is_pure else dict(beat.mix.weights)


def _blend_blocks(before: Mix, first: Mix) -> int:
    """Return the number of blocks of a blend that begins with these two."""

    def miss(length: int) -> float:
        return _distance(before.towards(first.prompt, 1 / length), first)

    return min(range(2, LONGEST_BLEND), key=miss)


def _distance(one: Mix, other: Mix) -> float:
    weights, others = dict(one.weights), dict(other.weights)
    return sum(abs(weights.get(text, 0.0) - others.get(text, 0.0)) for text in weights | others)


def scenario_text(take: Take, name: str, world: str, frames: str = "", played: Scenario | None = None) -> str:
    """Return the YAML of a scenario that replays a take to the same frames.

    Args:
        take: take to replay.
        name: name of the scenario.
        world: name of the world or folder of its weights.
        frames: file beside the scenario with the frames that the take continued, if any.
        played: scenario whose keys and quick prompts it gets; None for none.

    Raises:
        RecordingError: nothing was played, its switches differ in recache mode, or no timeline reproduces the
            prompts in force.
    """
    if not take.beats:
        raise RecordingError("nothing has been played yet; play the first block")
    table: dict[str, Any] = {
        "name": name,
        "description": "Played by hand.",
        "world": world,
        "seed": take.seed,
        "duration": f"{len(take.beats)} blocks",
        "prompt": take.beats[0].prompt,
        "frames": frames,
        "recache": take.recache,
        "timeline": [take.cue(beat) for beat in take.events],
        "keys": {key: _written(change) for key, change in played.keys.items()} if played else {},
        "quick": [_written(change) for change in played.quick] if played else [],
    }
    if table["recache"] == "full" or not table["timeline"]:
        del table["recache"]
    for key in ("frames", "timeline", "keys", "quick"):
        if not table[key]:
            del table[key]
    text = yaml.safe_dump(table, sort_keys=False, allow_unicode=True, width=110)
    scenario = dataclasses.replace(parse_scenario(text, f"{name}.yaml"), frames="")  # irrelevant for prompts
    _check(take, scenario.plan(take.world.config))
    return text


def _written(change: Change) -> str | Mapping[str, str]:
    """Return a change as scenario files have it."""
    return change.words if change.part == WHOLE else {one.part: one.words for one in change.each}


def _check(take: Take, plan: Plan) -> None:
    """Check that `plan` reproduces the prompts in force in each block of the take."""
    script = Script(plan)
    for beat in take.beats:
        if script.before(beat.block).mix != beat.mix:
            raise RecordingError(
                f"no scenario leads to what was in force in block {beat.block}; record the take instead, as "
                "its log tells that of every block"
            )


def command(take: Take, path: Path) -> str:
    """Return the command that plays the scenario of a take, with the world loaded as for the take."""
    options = dict(take.world.options)
    if take.world.device.type != "cpu" or _may_run_elsewhere(take.world):
        options["device"] = f"{take.world.device}"
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    return as_command(["longlive", "run", str(path), *words])


def _may_run_elsewhere(world: World) -> bool:
    """Return whether a command that names no device could take a GPU for this world."""
    try:
        return is_published(find(world.source))
    except LongLiveError:  # a world without a folder
        return False


def printable(text: str) -> str:
    """Return a text as one line that a YAML file can hold as a comment, whatever names of files are in it."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def unused(path: Path) -> Path:
    """Return `path`, or the first of `name-2`, `name-3`, ... that does not exist."""
    number, free = 1, path
    while os.path.lexists(free):  # does not raise if the folder is unreadable
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free
