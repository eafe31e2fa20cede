"""The scenario behind a session: its prompts to come and its score, wherever the take has jumped to.

Shapes: T pixel frames of a block, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from longlive_env.envs.prompts import checked_prompt
from longlive_env.scenario import Goal, Plan, Reading, Script, Step, sight_of
from longlive_env.scenario.goals import Scoreboard
from longlive_env.viewer.history import Beat, Frames

if TYPE_CHECKING:
    from longlive_env.engine.rollout import World


@dataclass(frozen=True)
class Score:
    """Points of a scenario with goals: reached, possible, and the names of the goals that were reached."""

    points: int
    possible: int
    reached: tuple[str, ...]


class Story:
    """Follows a plan along a take that may jump.

    Args:
        world: what is played.
        plan: what is followed.

    Raises:
        PromptError: the world cannot read one of the plan's prompts.
        ScenarioError: the plan depends on what pictures show, and nothing can tell for this world.
    """

    def __init__(self, world: World, plan: Plan) -> None:
        self._check = partial(checked_prompt, world)
        plan.check(self._check)
        self.plan = plan
        self._sight = sight_of(world.config) if plan.looks else None
        self._beats: Sequence[Beat] = ()
        self.jump(())

    @property
    def score(self) -> Score | None:
        """The score so far; None if there are no goals."""
        if not self.plan.goals:
            return None
        board = self._board
        return Score(board.points, board.possible, tuple(goal.name for goal in board.reached))

    def jump(self, beats: Sequence[Beat]) -> None:
        """The take goes on after these blocks."""
        self._beats = tuple(beats)
        self._board = Scoreboard(self.plan.goals, self.plan.pace)
        for beat in beats:
            self.count(beat.block, beat.reading)
        self._script: Script | None = None
        self._said: tuple[int, Step] | None = None

    def before(self, block: int) -> Step:
        """What the scenario wants for the next block of the take, after what was really played."""
        if self._said is not None and self._said[0] == block:  # the block was tried before, and failed
            return self._said[1]
        if self._script is None:
            see = self._see if self._sight is not None else None
            self._script = Script(self.plan, see, self._check)
            for earlier in range(block):
                self._follow(self._script, earlier)
        step = self._follow(self._script, block)
        self._said = (block, step)
        return step

    def _follow(self, script: Script, block: int) -> Step:
        if block > 0 and self._beats[block - 1].mix != script.mix:  # somebody else had steered
            script.interject(self._beats[block - 1].mix)
        return script.before(block)

    def look(self, block: int, frames: Frames) -> Reading | None:
        """What the take's next block shows, frames uint8 [T, H, W, 3], if the scenario asks.

        Nothing counts once the scenario has ended, though the world goes on.
        """
        return self._sight(frames) if self._sight is not None and block < self.plan.blocks else None

    def count(self, block: int, reading: Reading | None) -> tuple[Goal, ...]:
        """The take has a new block, which shows this; returns the goals that it reaches."""
        return self._board.add(block, reading) if reading is not None else ()

    def add(self, beat: Beat) -> None:
        """The new block has its place in the take."""
        self._beats = (*self._beats, beat)

    def _see(self, block: int) -> Reading:
        reading = self._beats[block].reading
        assert reading is not None, "branches look at blocks of the scenario"
        return reading
