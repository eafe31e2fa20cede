"""What in a scenario can never happen: entries that come too late, and goals that are left no time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from longlive_env.engine.config import WorldConfig
from longlive_env.scenario.model import Scenario
from longlive_env.scenario.moment import Pace
from longlive_env.scenario.timeline import Branch, Choice, Cue, Entry, Loop, every_entry, timed


def unreachable(scenario: Scenario, config: WorldConfig) -> Iterator[str]:
    """Warnings about what can never happen, one line each: first in the timeline, then among the goals.

    Entries of the outermost timeline are left to `Scenario.plan`, which refuses those that come too late.

    Args:
        scenario: the scenario to check.
        config: configuration of the world that plays it.
    """
    pace = scenario.pace(config)
    blocks = scenario.duration.block(pace)
    comes: set[Entry] = set()
    late: dict[Entry, tuple[int, int]] = {}
    for entry, begin, end in _times(scenario.timeline, pace, 0, blocks):
        if begin < end:
            comes.add(entry)
        else:
            late.setdefault(entry, (begin, end))
    for entry in every_entry(scenario.timeline):
        if entry in late and entry not in comes and entry not in scenario.timeline:
            begin, end = late[entry]
            yield (
                f"{scenario.place(entry.line)}: at {entry.at} never comes: it is block {begin} at the "
                f"earliest, and what it stands in ends with block {end - 1}; move it forward"
            )
    yield from _goals(scenario, pace, blocks)


def _times(timeline: Sequence[Entry], pace: Pace, since: int, until: int) -> Iterator[tuple[Entry, int, int]]:
    """Each entry with its blocks, from `begin` up to `end`, whatever is chosen and seen.

    Branches are taken to see at once what they wait for, which leaves the most time for what follows.
    """
    for entry, begin, end in timed(timeline, pace, since, until):
        yield entry, begin, end
        if begin >= end:
            continue
        match entry:
            case Cue():
                pass
            case Choice():
                for option in entry.options:
                    yield from _times(option.timeline, pace, begin, end)
            case Branch():
                looks = entry.looks(pace, begin, end)
                yield from _times(entry.then, pace, looks.start, end)
                yield from _times(entry.otherwise, pace, max(looks.start, looks.stop - 1), end)
            case Loop():
                for first, last in entry.passes(pace, begin, end):
                    yield from _times(entry.timeline, pace, first, last)


def _goals(scenario: Scenario, pace: Pace, blocks: int) -> Iterator[str]:
    """Warnings about goals that nothing can reach."""
    for goal in scenario.goals:
        begin = goal.after.block(pace)
        left = (blocks if goal.by is None else min(blocks, goal.by.block(pace))) - begin
        never = f"{scenario.place(goal.line)}: {goal.name!r} can never be reached"
        if begin >= blocks:
            yield (
                f"{never}: after {goal.after} is block {begin}, and the last one is block {blocks - 1}; "
                "move it forward or make the duration longer"
            )
        elif left < 1:
            yield f"{never}: by {goal.by} leaves no block after {goal.after}; make it later"
        elif left < goal.hold:
            yield f"{never}: hold is {goal.hold} blocks, and {left} are left for it; make it shorter"
