"""A recorded run that a command repeats: its log, the options that it was made with, and its plan."""

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
    """End the command if one of these arguments was given, which a repetition cannot follow."""
    for name in names:
        if getattr(args, name) is not None:
            parser.error(f"--{name.replace('_', '-')} would change the run; --replay repeats it")


@dataclass(frozen=True)
class Recorded:
    """A recorded run.

    Attributes:
        log: of the run.
        folder: where it lies, with what the run went on from.
    """

    log: ActionLog
    folder: Path

    @classmethod
    def read(cls, path: Path) -> Recorded:
        """From its log, or the folder that holds it.

        Raises:
            RecordingError: the log cannot be read, or does not hold all that its frames came from.
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
        """Let world, device and options be those of the run, where the arguments name no others."""
        header = self.log.header
        args.world = args.world or header.world
        args.device = chosen_device(args.world, args.device or header.device)
        for option in TAKEN_OVER:
            if getattr(args, option) is None:
                setattr(args, option, header.options.get(option))
        if args.steps is None and (steps := header.options.get("steps")) is not None:
            args.steps = int(steps) if steps.isdecimal() else steps  # the world rejects what is not a number

    def scenario(self, world: str) -> Scenario:
        """A scenario of the same name, start and length; there has to be a block."""
        header, blocks = self.log.header, self.log.blocks
        length = Moment(len(blocks), "blocks")
        return Scenario(header.name, blocks[0].prompt, length, world=world, seed=header.seed)

    def plan(self, config: WorldConfig) -> Plan:
        """What repeats it in a world.

        Raises:
            RecordingError: what it went on from cannot be read, or the log holds nothing, or no run's words.
        """
        name = Path(self.log.header.frames).name
        return replay_plan(self.log, config, read_frames(self.folder / name, config) if name else None)

    def warn(self, header: LogHeader) -> None:
        """Tell on stderr what of the repetition is not as it was."""
        for difference in self.log.header.differences(header):
            sys.stderr.write(f"warning: {difference}; frames may differ\n")
