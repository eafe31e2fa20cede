"""What a timeline is made of: cues, random choices, branches and loops, which may hold timelines themselves.

Times in a nested timeline count from the block at which its choice, branch or loop pass begins. An entry
cancels whatever the entry before it still had planned.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from longlive_env.scenario.change import Change
from longlive_env.scenario.condition import Condition
from longlive_env.scenario.mix import Mix
from longlive_env.scenario.moment import Moment, Pace


@dataclass(frozen=True)
class Cue:
    """A new prompt at some moment.

    Attributes:
        at: moment of the change; it takes effect with the first block that begins then or later.
        change: what becomes of the prompt; a mix comes from the log of a run.
        line: line of the file, for messages; 0 when there is none.
        blend: how long the text embedding takes to get there; None switches at once.
        notes: notes that go into the log with the block.
    """

    at: Moment
    change: Change | Mix
    line: int = 0
    blend: Moment | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Option:
    """One thing that a choice can pick, and its weight relative to the others."""

    timeline: tuple[Entry, ...]
    weight: float = 1.0


@dataclass(frozen=True)
class Choice:
    """One of several timelines, drawn at random.

    Attributes:
        at: moment of the draw.
        options: what there is to choose from.
        line: line of the file; 0 when there is none.
        seed: seed that makes it independent of the scenario's; None follows that.
    """

    at: Moment
    options: tuple[Option, ...]
    line: int = 0
    seed: int | None = None


@dataclass(frozen=True)
class Branch:
    """One of two timelines, depending on what the block before it shows.

    Attributes:
        at: when to look.
        when: condition that has to be seen.
        then: what follows if it is.
        otherwise: what follows if it is not.
        line: line of the file; 0 when there is none.
        within: how long to wait for it, looking at every block; None looks once.
    """

    at: Moment
    when: Condition
    then: tuple[Entry, ...]
    otherwise: tuple[Entry, ...] = ()
    line: int = 0
    within: Moment | None = None

    def looks(self, pace: Pace, begin: int, until: int) -> range:
        """The blocks before which it looks at the previous block, for a time from `begin` up to `until`."""
        first = max(begin, 1)  # nothing can be seen before block 0
        last = first if self.within is None else self.within.block(pace, first)
        return range(first, min(last + 1, until))


@dataclass(frozen=True)
class Loop:
    """A timeline that repeats.

    Attributes:
        at: when the first pass begins.
        every: how long each pass takes.
        timeline: what happens in each pass.
        line: line of the file; 0 when there is none.
        times: number of passes; None continues until the next entry or the end.
        every_line: line of `every`; 0 when there is none.
    """

    at: Moment
    every: Moment
    timeline: tuple[Entry, ...]
    line: int = 0
    times: int | None = None
    every_line: int = 0

    def passes(self, pace: Pace, begin: int, until: int) -> Iterator[tuple[int, int]]:
        """First block of each pass and the one after its last, for a time from `begin` up to `until`."""
        for turn in itertools.count() if self.times is None else range(self.times):
            start, end = (
                Moment(count * self.every.amount, self.every.unit).block(pace, begin)
                for count in (turn, turn + 1)
            )
            if start >= until:
                return
            yield start, min(end, until)


Entry = Cue | Choice | Branch | Loop


def timed(timeline: Sequence[Entry], pace: Pace, since: int, until: int) -> Iterator[tuple[Entry, int, int]]:
    """Each entry with its first block and the one after its last; it has no effect if that leaves no block.

    Args:
        timeline: entries in their order.
        pace: when blocks begin.
        since: block from which their times count.
        until: block at which all of them end.
    """
    begins = [entry.at.block(pace, since) for entry in timeline]
    for entry, begin, end in zip(timeline, begins, (*begins[1:], until), strict=False):
        yield entry, begin, min(end, until)


def nested(entry: Entry) -> tuple[tuple[Entry, ...], ...]:
    """The timelines that an entry holds."""
    match entry:
        case Choice():
            return tuple(option.timeline for option in entry.options)
        case Branch():
            return entry.then, entry.otherwise
        case Loop():
            return (entry.timeline,)
        case Cue():
            return ()


def every_entry(timeline: Sequence[Entry]) -> Iterator[Entry]:
    """All entries, each before what it holds, in the order of the file."""
    for entry in timeline:
        yield entry
        for inner in nested(entry):
            yield from every_entry(inner)


def every_change(timeline: Sequence[Entry]) -> Iterator[Change]:
    """All changes that a timeline may make, in the order of the file."""
    for entry in every_entry(timeline):
        if isinstance(entry, Cue) and isinstance(entry.change, Change):
            yield entry.change
