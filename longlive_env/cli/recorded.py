"""A recorded run that a command replays: its log, its options, and its plan."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from longlive_env.cli.parser import Parser
from longlive_env.cli.world_device import chosen_device
from longlive_env.errors import RecordingError
from longlive_env.recording import ActionLog, LogHeader, log_file, read_frames, read_log
from longlive_env.scenario import Moment, Plan, Scenario, replay_plan

if TYPE_CHECKING:
    from longlive_env.engine.config import WorldConfig

TAKEN_OVER = ("precision", "kv_precision", "memory", "codec", "compile", "rope")


def refuse(args: argparse.Namespace, parser: Parser, *names: str) -> None:
    """Exit with an error if an argument was given that a replay cannot follow."""
    for name in names:
        if getattr(args, name) is not None:
            parser.error(f"--{name.replace('_', '-')} would change the run; --replay repeats it")


@dataclass(frozen=True)
class Recorded:
    """A recorded run.

    Attributes:
        log: log of the run.
        folder: folder of the log, with the frames that the run continued.
    """

    log: ActionLog
    folder: Path

    @classmethod
    def read(cls, path: Path) -> Recorded:
        """Read a run from its log, or from the folder of the log.

        Raises:
            RecordingError: the log cannot be read, or lacks something that its frames depend on.
        """
        from longlive_env.envs.wrappers.recording import EMBEDDED, RESTORED

        path = log_file(path)
        log = read_log(path)
        for block in log.blocks:
            for note in block.notes:
                if note in (EMBEDDED, RESTORED):
                    raise RecordingError(f"block {block.block} cannot be repeated: {note}")
        return cls(log, path.resolve().parent)

    def take_over(self, args: argparse.Namespace) -> None:
        """Take world, device and options from the run, unless the arguments give others."""
        header = self.log.header
        args.world = args.world or header.world
        args.device = chosen_device(args.world, args.device or header.device)
        for option in TAKEN_OVER:
            if getattr(args, option) is None:
                setattr(args, option, header.options.get(option))
        if args.steps is None and (steps := header.options.get("steps")) is not None:
            args.steps = int(steps) if steps.isdecimal() else steps  # the world rejects anything but a number

    def scenario(self, world: str) -> Scenario:
        """Create a scenario of the same name, start and length; the run needs at least one block."""
        header, blocks = self.log.header, self.log.blocks
        length = Moment(len(blocks), "blocks")
        return Scenario(header.name, blocks[0].prompt, length, world=world, seed=header.seed)

    def plan(self, config: WorldConfig) -> Plan:
        """Create the plan that replays it in a world.

        Raises:
            RecordingError: the frames that it continued cannot be read, or the log is empty, or is not that
                of a run.
        """
        name = Path(self.log.header.frames).name
        return replay_plan(self.log, config, read_frames(self.folder / name, config) if name else None)

    def warn(self, header: LogHeader) -> None:
        """Warn on stderr about differences between the replay and the original run."""
        for difference in self.log.header.differences(header):
            sys.stderr.write(f"warning: {difference}; frames may differ\n")
