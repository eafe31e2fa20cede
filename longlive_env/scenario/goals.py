"""Goals of a scenario and the score: points for what the pictures show, whoever steered there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from longlive_env.scenario.condition import Condition, Reading
from longlive_env.scenario.moment import Moment, Pace
from longlive_env.scenario.notes import goal_note

START = Moment(0, "blocks")


@dataclass(frozen=True)
class Goal:
    """Something that the pictures are to show.

    Attributes:
        name: what people read.
        when: what has to be seen.
        points: what it counts; a fault counts less than nothing.
        hold: for how many blocks in a row.
        after: blocks before this moment do not count.
        by: nor do blocks from this moment on; None leaves all the time there is.
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
    def note(self) -> str:
        """What a log says where it is reached."""
        return goal_note(self.name, self.points)


class Scoreboard:
    """Keeps the score of one run.

    Args:
        goals: each counts once, when it is first reached.
        pace: when blocks begin.
    """

    def __init__(self, goals: Sequence[Goal], pace: Pace) -> None:
        self.goals = tuple(goals)
        self.reached: list[Goal] = []
        self._held = [0] * len(self.goals)
        self._done: set[int] = set()
        self._pace = pace

    @property
    def points(self) -> int:
        """The score so far."""
        return sum(goal.points for goal in self.reached)

    @property
    def possible(self) -> int:
        """The best score."""
        return sum(max(goal.points, 0) for goal in self.goals)

    def add(self, block: int, reading: Reading) -> tuple[Goal, ...]:
        """Look at the next block; returns the goals that it reaches."""
        new = []
        for index, goal in enumerate(self.goals):
            late = goal.by is not None and block >= goal.by.block(self._pace)
            in_time = goal.after.block(self._pace) <= block and not late
            self._held[index] = self._held[index] + 1 if in_time and goal.when.holds(reading) else 0
            if self._held[index] == goal.hold and index not in self._done:
                self._done.add(index)
                self.reached.append(goal)
                new.append(goal)
        return tuple(new)
