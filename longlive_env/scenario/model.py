"""What a scenario is, and the plan that plays it in a given world."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from longlive_env.engine.config import RecacheMode, WorldConfig
from longlive_env.engine.seeds import checked_seed
from longlive_env.errors import ConfigError, PromptError, RecordingError, ScenarioError
from longlive_env.frames import Frames
from longlive_env.recording.log import ActionLog, LogGoal
from longlive_env.recording.start import read_frames
from longlive_env.scenario.change import WHOLE, Change, Wording
from longlive_env.scenario.goals import Goal
from longlive_env.scenario.moment import Moment, Pace
from longlive_env.scenario.script import Script
from longlive_env.scenario.timeline import Branch, Cue, Entry, Loop, every_change, every_entry, nested


@dataclass(frozen=True)
class Plan:
    """What a world of some configuration plays; a `Script` walks it block by block.

    Attributes:
        prompt: the starting prompt.
        seed: seed of the world and of random choices.
        blocks: number of blocks to generate.
        timeline: what happens when; its times are checked.
        pace: when blocks begin.
        recache: what a switch does to the memory of earlier frames.
        wording: finds the parts of prompts that changes replace.
        goals: what earns points.
        live: whether the timeline continues while somebody steers.
        start: frames that the world continues from, uint8 [T, H, W, 3]; None for the prompt alone.
        recorded: log of the run that it repeats; None if it decides for itself.
        name: name of the scenario, or of the recorded run.
        file: file that it comes from, for messages.
        place: where the starting prompt comes from, for messages; "" is left out of them.
    """

    prompt: str
    seed: int
    blocks: int
    timeline: tuple[Entry, ...]
    pace: Pace
    recache: RecacheMode = "full"
    wording: Wording = field(default_factory=lambda: Wording.of(""))
    goals: tuple[Goal, ...] = ()
    live: bool = False
    start: Frames | None = field(default=None, compare=False)
    recorded: ActionLog | None = field(default=None, compare=False)
    name: str = ""
    file: str = ""
    place: str = ""

    @property
    def frames(self) -> int:
        """Total number of pixel frames."""
        return self.pace.first_frame(self.blocks)

    @property
    def looks(self) -> bool:
        """Whether the plan depends on what the pictures show."""
        return bool(self.goals) or any(isinstance(entry, Branch) for entry in every_entry(self.timeline))

    @property
    def logged_goals(self) -> tuple[LogGoal, ...]:
        """What earns points, as a log names it; a run that is repeated has earned them already."""
        return tuple(self.recorded.header.goals if self.recorded else (goal.logged for goal in self.goals))

    @property
    def changes(self) -> Iterator[Change]:
        """Every change that the plan may make, in the order of the file."""
        return every_change(self.timeline)

    def check(self, check: Callable[[str], str]) -> None:
        """Pass if a world can read every prompt that is known in advance.

        Args:
            check: turns a text into a valid prompt, or raises.

        Raises:
            PromptError: it cannot read one; the message names file and line, if they are known.
        """
        _check_text(self.prompt, check, self.place)
        check_words(self.changes, check, self.file)
        lines: dict[str, int] = {}  # of each prompt, which loops make again and again
        for _, prompt, line in self._switched():
            lines.setdefault(prompt, line)
        check_words((Change(prompt, line=line) for prompt, line in lines.items()), check, self.file)

    @cached_property
    def switches(self) -> Mapping[int, str]:
        """Block index -> prompt that takes effect before it, as far as is known before anything is seen.

        Random choices are included, since the seed decides them; what follows from branches is left out.
        """
        return MappingProxyType({block: prompt for block, prompt, _ in self._switched()})

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompts in their order, as far as is known before anything is seen."""
        return self.prompt, *self.switches.values()

    def _switched(self) -> Iterator[tuple[int, str, int]]:
        """Block, prompt and line of each of the `switches`."""
        script, prompt = Script(self), self.prompt
        block: int | None = 0
        while block is not None and block < self.blocks:
            step = script.before(block)
            if step.mix.prompt != prompt:
                prompt = step.mix.prompt
                yield block, prompt, step.cues[-1].line
            block = script.next_after(block)


@dataclass(frozen=True)
class Scenario:
    """A video that is described in advance.

    Attributes:
        name: short name.
        prompt: the starting prompt.
        duration: how long it plays.
        description: one line for lists.
        pack: the group of scenarios that it belongs to.
        world: name of a world or a folder of weights.
        seed: seed of the world and of random choices.
        frames: file of a picture or a video to continue from; "" for none.
        timeline: what happens when, in order.
        recache: what a new prompt does to the memory of earlier frames; other than `"full"` is for studies.
        goals: what earns points.
        live: whether the timeline continues while a person or an agent steers, instead of giving way to them.
        keys: name of a key -> what pressing it changes, for the viewer.
        quick: up to nine changes, for the number keys from 1 on.
        notes: anything else worth knowing.
        file: file that it comes from, for messages.
        line: line of the starting prompt in that file.
        places: key -> file and line of its value, or the option that gave it, for messages.
    """

    name: str
    prompt: str
    duration: Moment
    description: str = ""
    pack: str = ""
    world: str = "tiny"
    seed: int = 0
    frames: str = ""
    timeline: tuple[Entry, ...] = ()
    recache: RecacheMode = "full"
    goals: tuple[Goal, ...] = ()
    live: bool = False
    keys: Mapping[str, Change] = field(default_factory=lambda: MappingProxyType({}))
    quick: tuple[Change, ...] = ()
    notes: str = ""
    file: str = ""
    line: int = 0
    places: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), compare=False)

    def plan(self, config: WorldConfig, *, cut: bool = False) -> Plan:
        """The scenario in blocks of a world.

        Args:
            config: configuration of the world that plays it.
            cut: leave out what lies beyond the duration, instead of raising an error.

        Raises:
            ScenarioError: the scenario is shorter than a block, entries are out of order or not before the
                end, the file of its frames cannot be read, or the seed is less than 0 or too large.
        """
        pace = self.pace(config)
        blocks = self.duration.block(pace)
        if blocks < 1:
            raise ScenarioError(
                f"{self.place_of('duration')}: the duration is {self.duration.length}; play at least one "
                "block"
            )
        timeline = []
        for entry in self.timeline:
            block = entry.at.block(pace)
            if block >= blocks and not cut:
                raise ScenarioError(
                    f"{self.place(entry.line)}: at {entry.at} is block {block}, and the last one is "
                    f"block {blocks - 1}; give it an earlier time or make the duration longer"
                )
            if block < blocks:
                timeline.append(entry)
        self._check_order(timeline, pace, 0)
        return Plan(
            prompt=self.prompt,
            seed=self._seed(),
            blocks=blocks,
            timeline=tuple(timeline),
            pace=pace,
            recache=self.recache,
            wording=self.wording(config.vocabulary),
            goals=self.goals,
            live=self.live,
            start=self._start(config),
            name=self.name,
            file=self.file,
            place=self.opening_place if self.file or "prompt" in self.places else "",
        )

    @property
    def bound(self) -> tuple[Change, ...]:
        """What keys change."""
        return *self.keys.values(), *self.quick

    @property
    def changes(self) -> tuple[Change, ...]:
        """Every change that the timeline or a key may make."""
        return *every_change(self.timeline), *self.bound

    def pace(self, config: WorldConfig) -> Pace:
        """When the scenario's blocks begin in a world."""
        return Pace.of(config, continues=bool(self.frames))

    def wording(self, vocabulary: str) -> Wording:
        """The phrases that the scenario's one-part changes replace.

        Args:
            vocabulary: name of the vocabulary of the world that plays it.
        """
        return Wording.of(vocabulary, self.changes)

    def place(self, line: int) -> str:
        """File and line, as far as they are known, for messages."""
        return _place(self.file or self.name, line)

    def place_of(self, key: str) -> str:
        """The place of a key's value."""
        return self.places.get(key, self.place(0))

    @property
    def opening_place(self) -> str:
        """The place of the starting prompt."""
        return self.places.get("prompt", self.place(self.line))

    def _seed(self) -> int:
        try:
            return checked_seed(self.seed)
        except ConfigError as error:
            raise ScenarioError(f"{self.place_of('seed')}: {error}") from error

    def _start(self, config: WorldConfig) -> Frames | None:
        if not self.frames:
            return None
        try:
            return read_frames(Path(self.frames), config)
        except RecordingError as error:
            raise ScenarioError(f"{self.place_of('frames')}: {error}") from error

    def _check_order(self, timeline: Sequence[Entry], pace: Pace, since: int) -> None:
        """Pass if entries come one after the other; nested times are checked from the second block on."""
        previous, what = -1, ""
        before: Entry | None = None
        for entry in timeline:
            block = entry.at.block(pace, since) - since
            if since == 0 and block == 0 and isinstance(entry, Cue | Branch):
                previous, what = 0, "the starting prompt"  # which a cue would replace, and no branch can see
            if block <= previous:
                joined = block == previous and _fit_together(before, entry)
                raise ScenarioError(
                    f"{self.place(entry.line)}: at {entry.at} is block {block}, and {what} is already "
                    f"in block {previous}; move it to block {previous + 1} or later"
                    f"{', or make one entry of both' if joined else ''}"
                )
            what = f"the prompt at {entry.at}" if isinstance(entry, Cue) else f"line {entry.line}"
            previous, before = block, entry
            if isinstance(entry, Loop) and entry.every.frames(pace) < pace.block_frames:
                place = self.place(entry.every_line or entry.line)
                raise ScenarioError(f"{place}: every {entry.every} is shorter than a block; make it longer")
            for inner in nested(entry):
                self._check_order(inner, pace, 1)


def _fit_together(*entries: Entry | None) -> bool:
    """Whether entries change different parts of the prompt, so that a single entry can do it all."""
    parts = []
    for entry in entries:
        if not isinstance(entry, Cue) or not isinstance(entry.change, Change):
            return False
        parts += [one.part for one in entry.change.each]
    return WHOLE not in parts and len(set(parts)) == len(parts)


def check_words(changes: Iterable[Change], check: Callable[[str], str], file: str) -> None:
    """Pass if a world can read the words of all changes.

    Args:
        changes: whole prompts, or words for parts of one.
        check: turns a text into a valid prompt, or raises.
        file: file that they come from; "" is left out of messages.

    Raises:
        PromptError: it cannot read one.
    """
    for one in (single for change in changes for single in change.each):
        _check_text(one.words, check, _place(file, one.line) if file else "")


def _check_text(text: str, check: Callable[[str], str], place: str) -> None:
    try:
        check(text)
    except PromptError as error:
        raise PromptError(f"{place}: {error}" if place else f"{error}") from error


def _place(file: str, line: int) -> str:
    return f"{file}:{line}" if line else file
