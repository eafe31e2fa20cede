"""What in a scenario can never happen, or never come to its end: what is left no time, or cannot be true."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from longlive_env.engine.config import WorldConfig
from longlive_env.scenario.model import Scenario
from longlive_env.scenario.moment import Moment, Pace
from longlive_env.scenario.timeline import Branch, Choice, Cue, Entry, Loop, every_entry, timed


def unreachable(scenario: Scenario, config: WorldConfig) -> Iterator[str]:
    """Warnings about what can never happen or end, one line each: in the timeline, then among the goals.

    Entries of the outermost timeline are left to `Scenario.plan`, which refuses those that come too late.

    Args:
        scenario: the scenario to check.
        config: configuration of the world that plays it.
    """
    pace = scenario.pace(config)
    blocks = scenario.duration.block(pace)
    comes: set[Entry] = set()
    late: dict[Entry, tuple[int, int]] = {}
    whole: set[Entry] = set()
    cut: dict[Entry, str] = {}
    for entry, begin, end in _times(scenario.timeline, pace, 0, blocks):
        if begin >= end:
            late.setdefault(entry, (begin, end))
            continue
        comes.add(entry)
        if told := _cut(entry, pace, begin, end, blocks):
            cut.setdefault(entry, told)
        else:
            whole.add(entry)
    for entry in every_entry(scenario.timeline):
        if entry in cut and entry not in whole:
            yield f"{scenario.place(entry.line)}: {cut[entry]}"
        if isinstance(entry, Branch) and not entry.when.is_possible:
            yield f"{scenario.place(entry.line)}: {str(entry.when)!r} is never true; did you mean 'or'?"
        if entry in late and entry not in comes and entry not in scenario.timeline:
            begin, end = late[entry]
            yield (
                f"{scenario.place(entry.line)}: at {entry.at} never comes: it is block {begin} at the "
                f"earliest, and what it stands in ends with block {end - 1}; give it an earlier time"
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


def _cut(entry: Entry, pace: Pace, begin: int, end: int, blocks: int) -> str:
    """What of an entry there is no time for; "" if it may be meant so, as where another entry takes over."""
    room = Moment(blocks - begin, "blocks").length
    left = f"from block {begin} on there is room for {room}; make it shorter"
    match entry:
        case Cue(blend=Moment() as blend) if end == blocks < blend.block(pace, begin):
            return f"a blend of {blend.length} does not arrive before the end; {left}"
        case Branch(within=Moment() as within) if end == blocks <= within.block(pace, max(begin, 1)):
            return f"within {within.length} goes on beyond the end; {left}"
        case Loop(times=int() as times) if times > (passes := len([*entry.passes(pace, begin, end)])):
            return f"repeat is {times}, and before block {end} there is time for {passes}; make it less"
        case _:
            return ""


def _goals(scenario: Scenario, pace: Pace, blocks: int) -> Iterator[str]:
    """Warnings about goals that nothing can reach."""
    lines: dict[str, int] = {}
    for goal in scenario.goals:
        if goal.name in lines:
            yield (
                f"{scenario.place(goal.line)}: the goal in line {lines[goal.name]} is called {goal.name!r}, "
                "too; choose another name"
            )
        lines.setdefault(goal.name, goal.line)
        if not goal.when.is_possible:
            yield f"{scenario.place(goal.line)}: {str(goal.when)!r} is never true; did you mean 'or'?"
        begin = goal.after.block(pace)
        left = (blocks if goal.by is None else min(blocks, goal.by.block(pace))) - begin
        never = f"{scenario.place(goal.line)}: {goal.name!r} can never be reached"
        if begin >= blocks:
            yield (
                f"{never}: after {goal.after} is block {begin}, and the last one is block {blocks - 1}; "
                "give it an earlier time or make the duration longer"
            )
        elif left < 1:
            yield f"{never}: by {goal.by} leaves no block after {goal.after}; make it later"
        elif left < goal.hold:
            yield f"{never}: hold is {goal.hold} blocks, and there is room for {left}; make it shorter"
