"""A world being played block by block, with a way back; independent of window, threads and clock.

Shapes: T pixel frames per block, H rows, W columns.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from longlive_env.engine.config import RecacheMode
from longlive_env.engine.snapshot import full_bytes
from longlive_env.envs.prompts import checked_prompt
from longlive_env.envs.seat import Agent
from longlive_env.errors import ConfigError, SnapshotError
from longlive_env.frames import Frames
from longlive_env.recording import LogGoal, digest
from longlive_env.scenario import Mix, Pace, Plan
from longlive_env.viewer.direction import Direction, Steerer, Wish, as_wish
from longlive_env.viewer.history import Beat, Branch, History, Opening, Saved
from longlive_env.viewer.running import Progress, Running
from longlive_env.viewer.seat import PATIENCE_S, AgentSeat
from longlive_env.viewer.story import Score

if TYPE_CHECKING:
    from longlive_env.engine.rollout import Rollout
    from longlive_env.engine.world import World

logger = logging.getLogger(__name__)

BOOKMARKS = 9


@dataclass(frozen=True)
class Played:
    """A generated block.

    Attributes:
        beat: entry of the block in the take.
        frames: uint8 [T, H, W, 3].
        timing: milliseconds by phase, see `Rollout.timing`.
        asked_at: time of the request that it answers, if any.
    """

    beat: Beat
    frames: Frames
    timing: Mapping[str, float] = field(default_factory=dict)
    asked_at: float | None = None


class Session:
    """A world in play.

    Args:
        world: world to play.
        plan: start of the take, and the prompts while nobody else steers.
        agent: agent that takes the seat on request.
        budget_bytes: memory for snapshots; None derives it from their size, see `default_budget`.
        patience_s: how long an agent may think before the world plays on, see `AgentSeat`.

    Attributes:
        history: the take so far.
        recache: what the next switch does to the memory of earlier frames.

    Raises:
        PromptError: the world cannot read one of the plan's prompts.
        ScenarioError: the plan depends on what pictures show, which cannot be read in this world.
    """

    def __init__(
        self,
        world: World,
        plan: Plan,
        agent: Agent | None = None,
        *,
        budget_bytes: int | None = None,
        patience_s: float | None = PATIENCE_S,
    ) -> None:
        self.world = world
        self.recache: RecacheMode = plan.recache
        self._agent = AgentSeat(world, agent, patience_s=patience_s) if agent is not None else None
        self._direction = Direction(world, plan, self._agent)
        opening = self._opening(plan)
        self.history = History(opening, budget_bytes)
        self._running = Running(world)
        self._running.begin(opening)
        self._settle()

    @property
    def position(self) -> int:
        """Number of blocks of the take."""
        return len(self.history.beats)

    @property
    def seed(self) -> int:
        """Seed of the take."""
        return self.history.opening.seed

    @property
    def start(self) -> Frames | None:
        """Frames that the take continued, uint8 [T, H, W, 3]; None if it began from the prompt alone."""
        return self.history.opening.start

    @property
    def scenario_name(self) -> str:
        """Name of the scenario being played, which reloading its file may have changed."""
        return self._direction.story.name

    @property
    def pace(self) -> Pace:
        """Timing of the blocks."""
        return Pace.of(self.world.config, continues=self.start is not None)

    @property
    def mix(self) -> Mix:
        """Mix of the newest block, or of the first one to come."""
        return self.history.beats[-1].mix if self.history.beats else Mix.of(self.history.opening.prompt)

    @property
    def prompt(self) -> str:
        """The prompt of the newest block, or the starting one."""
        return self.mix.prompt

    @property
    def wanted(self) -> str:
        """The prompt that the next block will have, as far as the user has asked."""
        return self._direction.wanted(self.prompt)

    @property
    def whole(self) -> str:
        """What the requested prompt, or that of the newest block, stands for; "" before the first block."""
        return self.world.completed(self.wanted, self.rollout.whole_prompts[0]) if self.history.beats else ""

    @property
    def seat(self) -> Steerer:
        """Who steers."""
        return self._direction.seat

    @property
    def thinking(self) -> bool:
        """Whether the agent in the seat has yet to answer; meanwhile the prompt stays."""
        return self._direction.thinking

    @property
    def rollout(self) -> Rollout:
        """The running world, for reading only."""
        return self._running.rollout

    @property
    def frames(self) -> Frames | None:
        """Frames of the newest block, uint8 [T, H, W, 3]; None at the very start."""
        return self._running.frames

    @property
    def cues(self) -> dict[int, str]:
        """The scenario's prompts from the newest block on, as far as known: block -> prompt."""
        plan = self.history.opening.plan
        cues = plan.switches if plan is not None and self._direction.follows else {}
        return {block: text for block, text in cues.items() if block >= self.position - 1}

    @property
    def ends(self) -> int | None:
        """The block at which the scenario ends; None if none is followed and there is nothing to win."""
        plan = self.history.opening.plan
        return plan.blocks if plan is not None and (plan.goals or self._direction.follows) else None

    @property
    def goals(self) -> tuple[LogGoal, ...]:
        """Goals of the scenario, if the take plays it."""
        return self._direction.story.goals

    @property
    def score(self) -> Score | None:
        """Points of a scenario with goals, if the take plays it."""
        return self._direction.story.score

    def advance(self) -> Played:
        """Generate the next block. If that fails, the world is as before, without a quick way back.

        Raises:
            AgentError: the agent in the seat fails.
            LongLiveError: the world cannot continue.
        """
        running, direction, position, before = self._running, self._direction, self.position, self.mix
        self.recover()
        beats, shown = self.history.beats, running.frames
        decision = direction.decide(before, beats, self.seed, running.hold(position), shown)
        frames = running.step(decision.mix, self.recache)
        try:
            reading, seen = direction.story.look(position, frames), digest(frames)
            saved = self._saved_if_due(position, frames)
        except BaseException:
            running.adrift = True  # one block ahead of the take
            raise
        reached = (*decision.reached, *direction.story.count(position, reading))
        source, follows = direction.outcome(decision, before)
        beat = Beat(
            position,
            decision.mix,
            source,
            self.recache,
            follows,
            len(frames),
            seen,
            notes=(*decision.notes, *(goal.note for goal in reached)),
            remarks=decision.remarks,
            reached=reached,
            reading=reading,
        )
        self.history.append(beat, saved)
        direction.add(beat, decision)
        asked_at = decision.request.asked_at if decision.request is not None else None
        return Played(beat, frames, dict(running.rollout.timing), asked_at)

    def recover(self, progress: Progress | None = None) -> None:
        """Bring the world back to where the take is, if a way to another place has failed or was stopped.

        Args:
            progress: callback for blocks that have to be generated again.
        """
        if self._running.adrift:
            self._bring(self.history.branch(self.position), progress)

    def ask(self, wish: str | Wish, asked_at: float | None = None) -> bool:
        """Request a prompt, or a change of the next one, for the next block.

        Args:
            wish: a prompt, or a function of the prompt that the next block would have.
            asked_at: time of the request by the caller's clock in seconds; None if nobody waits.

        Returns:
            Whether that changes anything.

        Raises:
            PromptError: the world cannot read it.
        """
        return self._direction.ask(as_wish(wish), self.mix, self.history.beats, asked_at)

    def changes(self, wish: Wish) -> bool:
        """Return whether `wish` differs from what the next block will have, as far as known.

        Raises:
            PromptError: the world cannot read it.
        """
        return checked_prompt(self.world, wish(self.wanted)) != self.wanted

    def asked_after(self, position: int) -> bool:
        """Return whether there is a request that the first `position` blocks do not answer."""
        return self._direction.request is not None or self._direction.asked_in(self.history.beats[position:])

    def take_back(self, position: int) -> None:
        """Take back unseen blocks from `position` on; requests are kept."""
        unseen = self.history.beats[position:]
        self._go_to(position)
        self._direction.ask_again(unseen)

    def rewind(self, position: int, progress: Progress | None = None) -> Frames | None:
        """Go back to where the take had `position` blocks; later requests are dropped.

        Args:
            position: 0 or more, not beyond the current position.
            progress: callback for blocks that have to be generated again.

        Returns:
            Frames of the previous block, uint8 [T, H, W, 3]; None at the very start.
        """
        self._go_to(max(0, min(position, self.position)), progress)
        self._direction.request = None
        return self._running.frames

    def reset(self, seed: int | None = None, position: int | None = None) -> None:
        """Start another take with the prompt in force and no scenario; the same seed gives the same world.

        Args:
            seed: seed of the take; None for that of the current one.
            position: number of seen blocks, by default all; prompts of later blocks do not count, unless the
                user has requested them.
        """
        beats = self.history.beats
        shown = len(beats) if position is None else position
        self._direction.ask_again(beats[shown:])
        prompt = beats[shown - 1].prompt if shown else self.history.opening.prompt
        wanted = self._whole(self._direction.wanted(prompt), beats[:shown])
        self._begin(Opening(self.seed if seed is None else seed, wanted, start=self.start))

    def restart(self, seed: int | None = None) -> None:
        """Restart the scenario; the same seed gives the same world and the same random choices.

        Args:
            seed: seed of the take; None for that of the current one.

        Raises:
            PromptError: the world cannot read a prompt that the seed's choices lead to.
        """
        plan = self._direction.story.plan_of(self.seed if seed is None else seed)
        self._begin(self._opening(plan))

    def change_scenario(self, plan: Plan) -> None:
        """Start another scenario; takes of the current one can be returned to.

        Raises:
            PromptError: the world cannot read one of its prompts.
            ScenarioError: it depends on what pictures show, which cannot be read in this world.
        """
        self._direction.story.change_scenario(plan)
        self._begin(self._opening(plan))
        self.recache = plan.recache

    def keep_bookmark(self, position: int, number: int | None = None) -> int:
        """Bookmark the world after `position` blocks, under a number or the first free one.

        Returns:
            The bookmark's number.

        Raises:
            ConfigError: there is nothing to keep yet, all numbers are taken, or that state is gone.
        """
        if position < 1:
            raise ConfigError("nothing has been played yet; play the first block")
        bookmarks = self.history.bookmarks
        free = [one for one in range(1, BOOKMARKS + 1) if one not in bookmarks]
        if number is None and not free:
            raise ConfigError("all nine bookmarks are taken; replace one by its number")
        number = free[0] if number is None else number
        branch = replace(self.history.branch(position), saved=self._saved_at(position), at=position)
        bookmarks.pop(number, None)  # so that the newest comes last
        bookmarks[number] = branch
        return number

    def return_to(self, number: int) -> Frames | None:
        """Resume from a bookmark; what was played since belongs to another branch.

        Returns:
            Frames of the previous block, uint8 [T, H, W, 3].

        Raises:
            ConfigError: there is no such bookmark.
        """
        if number not in self.history.bookmarks:
            raise ConfigError(f"there is no bookmark {number} yet")
        return self._enter(self.history.bookmarks[number])

    def undo(self, position: int, progress: Progress | None = None) -> Frames | None:
        """Return to the take that the last jump left; a second undo returns from there.

        Args:
            position: number of blocks of the current take to return to in that case.
            progress: callback for blocks that have to be generated again.

        Returns:
            Frames of the previous block, uint8 [T, H, W, 3].

        Raises:
            ConfigError: there was no jump yet.
        """
        left, here = self.history.left, self.history.branch(position)
        if left is None:
            raise ConfigError("there is no step back, new start or bookmark to undo yet")
        frames = self._enter(left, progress)
        self.history.left = here
        return frames

    def take_seat(self, seat: Steerer) -> None:
        """Change who steers from the next block on.

        Raises:
            ConfigError: there is no agent.
        """
        self._direction.take_seat(seat)

    def let_go(self) -> None:
        """Stop waiting for an agent; may be called from another thread while a block is generated."""
        if self._agent is not None:
            self._agent.let_go()

    def close(self) -> None:
        """End the session."""
        if self._agent is not None:
            self._agent.close()

    def _whole(self, prompt: str, beats: Sequence[Beat]) -> str:
        """What a prompt stands for after some blocks of the take, see `World.completed`."""
        said = [self.history.opening.prompt, *(beat.prompt for beat in beats), prompt]
        whole = ""
        for one, _ in itertools.groupby(said):
            whole = self.world.completed(one, whole)
        return whole

    def _opening(self, plan: Plan) -> Opening:
        """Return the opening of a take of a scenario, whose prompts are encoded ahead."""
        self.world.encode_ahead(plan.prompts)
        return Opening(plan.seed, checked_prompt(self.world, plan.prompt), plan, plan.start)

    def _begin(self, opening: Opening) -> None:
        """Begin another take; requests are dropped."""
        self._running.begin(opening)  # the last call that may fail
        self._direction.request = None
        self.history.begin(opening)
        self._settle()

    def _settle(self) -> None:
        """Continue everything from the last block of the take, wherever it has jumped to."""
        self._direction.jump(self.history.beats, self.history.opening)

    def _enter(self, branch: Branch, progress: Progress | None = None) -> Frames | None:
        """Make another take the current one."""
        self._bring(branch, progress)  # the last call that may fail
        self._direction.request = None
        here, there = self.history.opening.plan, branch.opening.plan
        if here and there and here.recache != there.recache:
            self.recache = there.recache  # no take mixes the modes of two scenarios
        self.history.adopt(branch)
        self._settle()
        return self._running.frames

    def _go_to(self, position: int, progress: Progress | None = None) -> None:
        if position == self.position and not self._running.adrift:
            return
        if not self._running.back_to(position):
            self._bring(self.history.branch(position), progress)
        self.history.cut(position)
        self._settle()

    def _bring(self, branch: Branch, progress: Progress | None = None) -> None:
        """Bring the world to the end of a branch, with snapshots on the way; if that fails, it is adrift."""
        branch = self.history.refreshed(branch)
        here = self.history.branch(self.position)  # whose newest snapshot may have to make room on the way

        def passed(beat: Beat) -> None:
            frames = self._running.frames
            assert frames is not None
            if (saved := self._saved_if_due(beat.block, frames)) is not None:
                self.history.save(beat, saved, branch.beats)

        try:
            self._running.bring(branch, progress, passed)
        except BaseException:
            self.history.adopt(here)
            raise

    def _saved_if_due(self, block: int, frames: Frames) -> Saved | None:
        """Return the state after a block that was just generated, if it is due and can be saved."""
        if block == 0:  # generating it is as quick as restoring it
            return None
        spacing = self.history.spacing(full_bytes(self._running.rollout.state) + frames.nbytes)
        if spacing is None or (block + 1) % spacing:
            return None
        try:
            return self._running.save()
        except (MemoryError, RuntimeError, SnapshotError) as error:  # the world continues regardless
            logger.warning("no snapshot after block %d: %s", block, error)
            return None

    def _saved_at(self, position: int) -> Saved:
        """Return the state after `position` blocks: a saved one, the current one or the one before it.

        Raises:
            ConfigError: it is none of these.
        """
        at, saved = self.history.nearest(position)
        if saved is not None and at == position:
            return saved
        if position == self.position:
            self.recover()
            return self._running.save()
        held = self._running.save_held(position)
        if held is None:
            raise ConfigError(
                f"the world after block {position - 1} is not kept; go back there, then keep it"
            )
        return held
