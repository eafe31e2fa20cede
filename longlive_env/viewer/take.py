"""What was played, as files: a recording of what was shown, and a scenario that plays the same take again.

Shapes: T pixel frames of a block, H rows, W columns.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from longlive_env.engine.config import RecacheMode
from longlive_env.errors import RecordingError
from longlive_env.frames import Frames
from longlive_env.recording import LogBlock
from longlive_env.scenario import Mix, Plan, Script, parse_scenario
from longlive_env.viewer.history import Beat
from longlive_env.viewer.session import Session

if TYPE_CHECKING:
    from longlive_env.engine.world import World

LONGEST_BLEND = 1000  # blocks


@dataclass(frozen=True)
class Take:
    """A video from its first block on: its seed, its blocks, and the world that played them.

    Attributes:
        start: what it went on from, uint8 [T, H, W, 3]; None for nothing but a prompt.
    """

    seed: int
    beats: tuple[Beat, ...]
    world: World
    start: Frames | None = None

    @classmethod
    def of(cls, session: Session, position: int) -> Take:
        """The first `position` blocks of what a session plays."""
        return cls(session.seed, tuple(session.history.beats[:position]), session.world, session.start)

    @property
    def switches(self) -> tuple[Beat, ...]:
        """The blocks that brought a new prompt, or began to."""
        return tuple(beat for before, beat in self._pairs() if beat.prompt != before.prompt)

    @property
    def recache(self) -> RecacheMode:
        """What all of its switches did to the memory of earlier frames, or what one would do now.

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
        """Its blocks as an action log holds them."""
        blocks, frames = [], 0
        for beat in self.beats:
            frames += beat.frames
            mix = mix_of(beat)
            blocks.append(
                LogBlock(beat.block, beat.prompt, beat.frames, frames / fps, beat.digest, mix, beat.notes)
            )
        return tuple(blocks)

    def cue(self, beat: Beat) -> dict[str, str]:
        """The entry of a scenario's timeline that does what this switch did."""
        entry = {"at": f"block {beat.block}", "prompt": beat.prompt}
        if not beat.mix.is_pure:
            entry["blend"] = f"{_blend_blocks(self.beats[beat.block - 1].mix, beat.mix)} blocks"
        return entry

    def _pairs(self) -> Iterator[tuple[Beat, Beat]]:
        return zip(self.beats, self.beats[1:], strict=False)


def mix_of(beat: Beat) -> dict[str, float]:
    """The weights of prompts as an action log holds them: none where a prompt stands alone."""
    return {} if beat.mix.is_pure else dict(beat.mix.weights)


def _blend_blocks(before: Mix, first: Mix) -> int:
    """How many blocks a blend takes that begins with these two."""

    def miss(length: int) -> float:
        return _distance(before.towards(first.prompt, 1 / length), first)

    return min(range(2, LONGEST_BLEND), key=miss)


def _distance(one: Mix, other: Mix) -> float:
    weights, others = dict(one.weights), dict(other.weights)
    return sum(abs(weights.get(text, 0.0) - others.get(text, 0.0)) for text in weights | others)


def scenario_text(take: Take, name: str, world: str, frames: str = "") -> str:
    """The YAML of a scenario that replays a take to the same frames.

    Args:
        take: what was played.
        name: of the scenario.
        world: name of the world or folder of its weights.
        frames: the file beside it with what the take went on from, if any.

    Raises:
        RecordingError: nothing was played, its switches did not all recache alike, or no timeline leads to
            what was in force.
    """
    if not take.beats:
        raise RecordingError("nothing has been shown yet; wait for the first block")
    table = {
        "name": name,
        "description": "Played by hand.",
        "world": world,
        "seed": take.seed,
        "duration": f"{len(take.beats)} blocks",
        "prompt": take.beats[0].prompt,
        "frames": frames,
        "recache": take.recache,
        "timeline": [take.cue(beat) for beat in take.switches],
    }
    if table["recache"] == "full" or not table["timeline"]:
        del table["recache"]
    for key in ("frames", "timeline"):
        if not table[key]:
            del table[key]
    text = yaml.safe_dump(table, sort_keys=False, allow_unicode=True, width=110)
    scenario = dataclasses.replace(parse_scenario(text, f"{name}.yaml"), frames="")  # they change no prompt
    _check(take, scenario.plan(take.world.config))
    return text


def _check(take: Take, plan: Plan) -> None:
    """Pass if `plan` brings what was in force in each block of the take."""
    script = Script(plan)
    for beat in take.beats:
        if script.before(beat.block).mix != beat.mix:
            raise RecordingError(
                f"no scenario leads to what was in force in block {beat.block}; record the take instead, as "
                "its log tells that of every block"
            )


def command(take: Take, path: Path) -> str:
    """The command that plays the scenario of a take, in a world that is loaded as the take's was."""
    options = dict(take.world.options)
    if take.world.device.type != "cpu":
        options["device"] = f"{take.world.device}"
    words = [f"--{name.replace('_', '-')} {value}" for name, value in options.items()]
    return " ".join([f"longlive run {shlex.quote(str(path))}", *words])


def unused(path: Path) -> Path:
    """`path`, or the first of `name-2`, `name-3`, ... that does not exist."""
    number, free = 1, path
    while os.path.lexists(free):  # which raises nothing where the folder cannot be looked into
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free
