"""The scenario of a session: its upcoming prompts and its score, wherever the take has jumped to.

Shapes: T pixel frames per block, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from longlive_env.envs.prompts import checked_prompt
from longlive_env.frames import Frames
from longlive_env.recording import LogGoal
from longlive_env.scenario import Plan, Reading, Script, Sight, Step, sight_of
from longlive_env.scenario.goals import Scoreboard, possible_points
from longlive_env.viewer.history import Beat

if TYPE_CHECKING:
    from longlive_env.engine.world import World


@dataclass(frozen=True)
class Score:
    """Points of a scenario with goals.

    Attributes:
        goals: goals of the scenario, each with the block that reached it; None if not reached yet.
    """

    goals: tuple[tuple[LogGoal, int | None], ...]

    @property
    def points(self) -> int:
        """Points so far."""
        return sum(goal.points for goal, block in self.goals if block is not None)

    @property
    def possible(self) -> int:
        """Maximum points."""
        return possible_points(goal for goal, _ in self.goals)

    def after(self, blocks: int) -> Score:
        """Return the score as it was after `blocks` blocks."""
        reached = [(goal, None if at is None or at >= blocks else at) for goal, at in self.goals]
        return Score(tuple(reached))


class Story:
    """Follows a plan along a take that may jump, also to a take of another seed, or without a scenario.

    Args:
        world: world being played.
        plan: plan of the scenario; each take follows the plan for its seed.

    Attributes:
        plan: plan that the current take follows, and whose goals count; None without a scenario.

    Raises:
        PromptError: the world cannot read one of the plan's prompts.
        ScenarioError: the plan depends on what pictures show, which cannot be read in this world.
    """

    def __init__(self, world: World, plan: Plan) -> None:
        self._check = partial(checked_prompt, world)
        self._config = world.config
        self._sight: Sight | None = None  # created once a plan needs it
        self.change_scenario(plan)
        self.jump((), plan)

    @property
    def name(self) -> str:
        """Name of the scenario that the current take follows, or that the next one would."""
        return (self.plan or self._scenario).name

    @property
    def goals(self) -> tuple[LogGoal, ...]:
        """Goals of the scenario that the current take follows."""
        return self.plan.logged_goals if self.plan is not None else ()

    @property
    def score(self) -> Score | None:
        """The score so far; None if there are no goals."""
        reached = [(goal, beat.block) for beat in self._beats for goal in beat.reached]
        scored = []
        for goal in self.goals:  # two may be worded alike
            found = next((one for one in reached if one[0] == goal), None)
            if found is not None:
                reached.remove(found)
            scored.append(found or (goal, None))
        return Score(tuple(scored)) if scored else None

    def change_scenario(self, plan: Plan) -> None:
        """Follow another plan in future takes that restart the scenario.

        Raises:
            PromptError: the world cannot read one of its prompts.
            ScenarioError: it depends on what pictures show, which cannot be read in this world.
        """
        plan.check(self._check)
        if plan.looks and self._sight is None:
            self._sight = sight_of(self._config)
        self._scenario = plan

    def plan_of(self, seed: int) -> Plan:
        """Return the plan for a seed, which determines the scenario's random choices.

        Raises:
            PromptError: the world cannot read a prompt that the choices lead to.
        """
        plan = replace(self._scenario, seed=seed)
        if plan.recorded is not None and seed != plan.recorded.header.seed:
            plan = replace(plan, recorded=None)  # it tells of other pictures
        plan.check(self._check)
        return plan

    def jump(self, beats: Sequence[Beat], plan: Plan | None) -> None:
        """Continue a take after these blocks; it follows a plan, or no scenario."""
        self.plan = plan
        self._beats: Sequence[Beat] = tuple(beats)
        self._board = Scoreboard(plan.goals, plan.pace) if plan is not None else None
        for beat in beats:
            self.count(beat.block, beat.reading)
        self._script: Script | None = None
        self._said: tuple[int, Step] | None = None

    def before(self, block: int) -> Step:
        """Return what the scenario wants for the take's next block, given what was really played."""
        if self._said is not None and self._said[0] == block:  # the block was tried before and failed
            return self._said[1]
        if self._script is None:
            assert self.plan is not None, "a take of no scenario follows none"
            see = self._see if self.plan.looks else None
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
        """Read the take's next block, uint8 [T, H, W, 3], if it plays a scenario that needs a reading.

        Nothing counts once the scenario has ended, though the world continues.
        """
        plan = self.plan
        if self._sight is None or plan is None or not plan.looks or block >= plan.blocks:
            return None
        return self._sight(frames)

    def count(self, block: int, reading: Reading | None) -> tuple[LogGoal, ...]:
        """Count a new block with this reading; returns the goals that it reaches."""
        board = self._board
        reached = board.add(block, reading) if board is not None and reading is not None else ()
        return tuple(goal.logged for goal in reached)

    def add(self, beat: Beat) -> None:
        """Add the new block to the take."""
        self._beats = (*self._beats, beat)

    def _see(self, block: int) -> Reading:
        reading = self._beats[block].reading
        assert reading is not None, "branches look at blocks of the scenario"
        return reading
