"""Walking a plan block by block: what is in force, decided no earlier than it has to be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from longlive_env.errors import PromptError
from longlive_env.scenario.condition import Reading
from longlive_env.scenario.mix import Mix
from longlive_env.scenario.timeline import Branch, Choice, Cue, Entry, Loop, timed

if TYPE_CHECKING:
    from longlive_env.scenario.model import Plan


@dataclass(frozen=True)
class Step:
    """What is in force for a block, and how it came about.

    Attributes:
        mix: what the text embedding is made of.
        notes: what was decided on the way there, for the log, remarks included.
        remarks: what a viewer is to be told: the author's notes, and cues that were left out.
    """

    mix: Mix
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Event:
    """Something that is due before a block: a cue, a note, or nothing but a look at the block before."""

    block: int
    cue: Cue | None = None
    note: str = ""


@dataclass(frozen=True)
class _Blend:
    """A way from one mix to a prompt, `length` blocks long."""

    start: Mix
    prompt: str
    begin: int
    length: int

    def at(self, block: int) -> Mix:
        return self.start.towards(self.prompt, (block - self.begin + 1) / self.length)


class Script:
    """Follows a plan.

    What it says depends on the plan and on what was seen alone. So to go back in time, start a new one and
    call `before` for the blocks that are kept.

    Args:
        plan: what to follow.
        see: tells what a block shows, given its index; it is asked about blocks right before branches. None
            leaves branches out, which shows as much as is known in advance.
        check: makes a valid prompt of one that a change has led to; one that raises PromptError is left out.
    """

    def __init__(
        self,
        plan: Plan,
        see: Callable[[int], Reading] | None = None,
        check: Callable[[str], str] = str,
    ) -> None:
        self._plan = plan
        self._see = see
        self._check = check
        self._rng = np.random.default_rng(plan.seed)
        self._own_rngs: dict[Choice, np.random.Generator] = {}  # of the choices that have seeds of their own
        self._mix = Mix.of(check(plan.prompt))
        self._blend: _Blend | None = None
        self._events = self._walk(plan.timeline, 0, plan.blocks)
        self._next = next(self._events, None)

    def before(self, block: int) -> Step:
        """What is in force for `block`. To be called for 0, 1, 2, ... in this order."""
        notes: list[str] = []
        remarks: list[str] = []
        while self._next is not None and self._next.block <= block:
            event = self._next
            if event.cue is not None:
                said = self._begin(event.cue, block)
                notes += said
                remarks += said
            if event.note:
                notes.append(event.note)
            self._next = next(self._events, None)
        if self._blend is not None:
            self._mix = self._blend.at(block)
            self._blend = None if self._mix.is_pure else self._blend
        return Step(self._mix, tuple(notes), tuple(remarks))

    @property
    def mix(self) -> Mix:
        """What is in force."""
        return self._mix

    def interject(self, mix: Mix) -> None:
        """Something else takes the place of what `before` said; the timeline goes on from it."""
        self._mix, self._blend = mix, None

    def _begin(self, cue: Cue, block: int) -> tuple[str, ...]:
        """Let a cue take effect; returns what there is to say about it."""
        if isinstance(cue.change, Mix):
            self._mix, self._blend = cue.change, None
            return cue.notes
        try:
            prompt = self._check(cue.change.apply(self._mix.prompt, self._plan.wording))
        except PromptError as error:  # what somebody has asked for leaves no room for it
            return (f"left out: {cue.change} ({error})",)
        length = 1 if cue.blend is None else max(1, cue.blend.block(self._plan.pace, block) - block)
        self._blend = _Blend(self._mix, prompt, block, length)
        return cue.notes

    def _walk(self, timeline: Sequence[Entry], since: int, until: int) -> Iterator[_Event]:
        """Events of a timeline whose time counts from block `since`, up to block `until`."""
        for entry, begin, end in timed(timeline, self._plan.pace, since, until):
            if begin < end:
                yield from self._entry(entry, begin, end)

    def _entry(self, entry: Entry, begin: int, until: int) -> Iterator[_Event]:
        match entry:
            case Cue():
                yield _Event(begin, cue=entry)
            case Choice():
                yield from self._choose(entry, begin, until)
            case Branch():
                if self._see is not None:
                    yield from self._decide(entry, begin, until)
            case Loop():
                yield from self._repeat(entry, begin, until)

    def _choose(self, choice: Choice, begin: int, until: int) -> Iterator[_Event]:
        rng = self._rng
        if choice.seed is not None:
            rng = self._own_rngs.setdefault(choice, np.random.default_rng(choice.seed))
        weights = np.array([option.weight for option in choice.options])
        chosen = int(rng.choice(len(weights), p=weights / weights.sum()))
        yield _Event(begin, note=f"choice at {choice.at}: {chosen + 1} of {len(weights)}")
        yield from self._walk(choice.options[chosen].timeline, begin, until)

    def _decide(self, branch: Branch, begin: int, until: int) -> Iterator[_Event]:
        assert self._see is not None
        looks = branch.looks(self._plan.pace, begin, until)
        block = looks.start
        for block in looks:
            yield _Event(block)  # the frames before it have to be there first
            if branch.when.holds(self._see(block - 1)):
                yield _Event(block, note=f"when {branch.when}: yes")
                yield from self._walk(branch.then, block, until)
                return
        yield _Event(block, note=f"when {branch.when}: no")
        yield from self._walk(branch.otherwise, block, until)

    def _repeat(self, loop: Loop, begin: int, until: int) -> Iterator[_Event]:
        for start, end in loop.passes(self._plan.pace, begin, until):
            yield from self._walk(loop.timeline, start, end)
