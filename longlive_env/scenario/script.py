"""Walking a plan block by block: what is in force, decided no earlier than necessary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from longlive_env.errors import PromptError
from longlive_env.recording.log import LogGoal
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
        notes: what was decided on the way, for the log, remarks included.
        remarks: what a viewer is shown: the author's notes, and cues that were left out.
        reached: goals that the block reached in the run that is repeated.
        cues: cues that have taken effect.
        open: branches that were reached, and that nothing can decide in advance.
    """

    mix: Mix
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    reached: tuple[LogGoal, ...] = ()
    cues: tuple[Cue, ...] = ()
    open: tuple[Branch, ...] = ()


@dataclass(frozen=True)
class _Event:
    """Something due before a block: a cue, an open branch, a note, or just a look at the block before."""

    block: int
    cue: Cue | None = None
    branch: Branch | None = None
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

    What it returns depends only on the plan and on what was seen. So to go back in time, start a new script
    and call `before` for the blocks that are kept.

    Args:
        plan: the plan to follow.
        see: says what a block shows, given its index; it is asked about blocks right before branches. None
            leaves branches open, which shows as much as is known in advance.
        check: turns the prompt that a change makes into a valid one; a change for which it raises PromptError
            is left out.
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
        """What is in force for `block`. Call it for 0, 1, 2, ... in this order, see `next_after`."""
        notes: list[str] = []
        remarks: list[str] = []
        cues: list[Cue] = []
        branches: list[Branch] = []
        while self._next is not None and self._next.block <= block:
            event = self._next
            if event.cue is not None:
                left_out = self._begin(event.cue, block)
                said = (left_out,) if left_out else event.cue.notes
                notes += said
                remarks += said
                cues += () if left_out else (event.cue,)
            if event.branch is not None:
                branches.append(event.branch)
            if event.note:
                notes.append(event.note)
            self._next = next(self._events, None)
        if self._blend is not None:
            self._mix = self._blend.at(block)
            self._blend = None if self._mix.is_pure else self._blend
        reached: tuple[LogGoal, ...] = ()
        if self._plan.recorded is not None and block < self._plan.blocks:
            logged = self._plan.recorded.blocks[block]
            reached = tuple(logged.reached)
            notes += logged.notes[: len(logged.notes) - len(reached)]  # those of goals, which come last
            remarks += logged.remarks
        return Step(self._mix, tuple(notes), tuple(remarks), reached, tuple(cues), tuple(branches))

    def next_after(self, block: int) -> int | None:
        """The next block at which `before` may return another step, once it was called for `block`.

        The blocks up to there may be skipped; None leaves nothing to come.
        """
        if self._blend is not None:
            return block + 1
        return None if self._next is None else self._next.block

    @property
    def mix(self) -> Mix:
        """What is in force."""
        return self._mix

    def interject(self, mix: Mix) -> None:
        """Replace what `before` returned by something else; the timeline continues from it."""
        self._mix, self._blend = mix, None

    def _begin(self, cue: Cue, block: int) -> str:
        """Let a cue take effect; returns a remark if it is left out."""
        if isinstance(cue.change, Mix):
            self._mix, self._blend = cue.change, None
            return ""
        try:
            prompt = self._check(cue.change.apply(self._mix.prompt, self._plan.wording))
        except PromptError as error:  # what somebody has asked for leaves no room for it
            return f"left out: {cue.change} ({error})"
        length = 1 if cue.blend is None else max(1, cue.blend.block(self._plan.pace, block) - block)
        self._blend = _Blend(self._mix, prompt, block, length)
        return ""

    def _walk(self, timeline: Sequence[Entry], since: int, until: int) -> Iterator[_Event]:
        """Events of a timeline whose times count from block `since`, up to block `until`."""
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
        looks = branch.looks(self._plan.pace, begin, until)
        block = looks.start
        if self._see is None:
            yield _Event(block, branch=branch)
            return
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
