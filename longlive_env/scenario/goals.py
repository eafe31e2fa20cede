"""Goals of a scenario and the score: points for what the pictures show, whoever steers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from longlive_env.recording.log import LogGoal
from longlive_env.scenario.condition import Condition, Reading
from longlive_env.scenario.moment import START, Moment, Pace


@dataclass(frozen=True)
class Goal:
    """Something that the pictures should show.

    Attributes:
        name: name for people to read.
        when: condition that has to be seen.
        points: points it adds to the score; a fault has less than 0.
        hold: number of blocks in a row for which the condition has to hold.
        after: moment before which blocks do not count.
        by: moment from which on blocks no longer count; None sets no limit.
        line: line of the file, for messages; 0 when there is none.
    """

    name: str
    when: Condition
    points: int = 1
    hold: int = 1
    after: Moment = START
    by: Moment | None = None
    line: int = 0

    @property
    def logged(self) -> LogGoal:
        """The goal as a log names it."""
        return LogGoal(self.name, self.points)


def possible_points(goals: Iterable[LogGoal]) -> int:
    """The best score that goals allow."""
    return sum(max(goal.points, 0) for goal in goals)


class Scoreboard:
    """Tells which goals one run has reached.

    Args:
        goals: the goals; each counts once, when it is first reached.
        pace: when blocks begin.
    """

    def __init__(self, goals: Sequence[Goal], pace: Pace) -> None:
        self.goals = tuple(goals)
        self._held = [0] * len(self.goals)
        self._done: set[int] = set()
        self._pace = pace

    def add(self, block: int, reading: Reading) -> tuple[Goal, ...]:
        """Look at the next block, and return the goals that it reaches."""
        new = []
        for index, goal in enumerate(self.goals):
            late = goal.by is not None and block >= goal.by.block(self._pace)
            in_time = goal.after.block(self._pace) <= block and not late
            self._held[index] = self._held[index] + 1 if in_time and goal.when.holds(reading) else 0
            if self._held[index] == goal.hold and index not in self._done:
                self._done.add(index)
                new.append(goal)
        return tuple(new)
