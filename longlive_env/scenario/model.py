"""What a scenario is, and the plan that plays it in a given world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from longlive_env.engine.config import WorldConfig
from longlive_env.errors import ScenarioError
from longlive_env.scenario.change import Change, Wording
from longlive_env.scenario.moment import Moment

Recache = Literal["full", "none", "clear"]
RECACHE_MODES: tuple[str, ...] = get_args(Recache)


@dataclass(frozen=True)
class Cue:
    """A new prompt at some moment.

    Attributes:
        at: when; the prompt takes effect with the first block that begins then or later.
        prompt: the new prompt.
        line: line of the file, for messages; 0 when there is none.
    """

    at: Moment
    prompt: str
    line: int = 0


@dataclass(frozen=True)
class Plan:
    """What is played, block by block.

    Attributes:
        prompt: the starting prompt.
        seed: seed of the world.
        blocks: how many blocks are generated.
        switches: block index -> prompt that takes effect before that block.
        recache: what a switch does to the memory of earlier frames.
    """

    prompt: str
    seed: int
    blocks: int
    switches: Mapping[int, str]
    recache: Recache = "full"


@dataclass(frozen=True)
class Scenario:
    """A video that is described in advance.

    Attributes:
        name: short name.
        prompt: the starting prompt.
        duration: how long it plays.
        description: one line for lists.
        world: name of a world or a folder of weights.
        seed: seed of the world.
        timeline: prompts to come, in order.
        recache: what a new prompt does to the memory of earlier frames; other than `"full"` is for studies.
        keys: name of a key -> what pressing it changes, for the viewer.
        quick: up to nine changes, for the number keys from 1 on.
        notes: anything else worth knowing.
        file: where it comes from, for messages.
        line: line of the starting prompt in that file.
    """

    name: str
    prompt: str
    duration: Moment
    description: str = ""
    world: str = "tiny"
    seed: int = 0
    timeline: tuple[Cue, ...] = ()
    recache: Recache = "full"
    keys: Mapping[str, Change] = field(default_factory=lambda: MappingProxyType({}))
    quick: tuple[Change, ...] = ()
    notes: str = ""
    file: str = ""
    line: int = 0

    def plan(self, config: WorldConfig, *, cut: bool = False) -> Plan:
        """The scenario in blocks of a world.

        Args:
            config: of the world that plays it.
            cut: leave out what lies beyond the duration, instead of complaining.

        Raises:
            ScenarioError: it lasts no block, or cues are not in order or not before the end.
        """
        blocks = self.duration.block(config)
        if blocks < 1:
            raise ScenarioError(
                f"{self._place(self.line)}: the duration is {self.duration}; play at least one block"
            )
        switches: dict[int, str] = {}
        previous, what = 0, "the starting prompt"
        for cue in self.timeline:
            block = cue.at.block(config)
            if block <= previous:
                raise ScenarioError(
                    f"{self._place(cue.line)}: at {cue.at} is block {block}, and {what} is already in block "
                    f"{previous}; move it to block {previous + 1} or later"
                )
            if block >= blocks:
                if cut:
                    break
                raise ScenarioError(
                    f"{self._place(cue.line)}: at {cue.at} is block {block}, and the last one is "
                    f"block {blocks - 1}; move it forward or make the duration longer"
                )
            switches[block] = cue.prompt
            previous, what = block, f"the prompt at {cue.at}"
        return Plan(self.prompt, self.seed, blocks, MappingProxyType(switches), self.recache)

    def wording(self, world: str) -> Wording:
        """The phrases that its changes of one part of a prompt exchange.

        Args:
            world: name of the world that plays it.
        """
        return Wording.of(world, [*self.keys.values(), *self.quick])

    def _place(self, line: int) -> str:
        file = self.file or self.name
        return f"{file}:{line}" if line else file
