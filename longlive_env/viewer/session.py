"""One world being played, block by block, with a way back. Knows no window, no threads and no clock.

Shapes: T pixel frames of a block, H rows, W columns.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from longlive_env.engine.config import RecacheMode
from longlive_env.engine.snapshot import full_bytes
from longlive_env.envs.prompts import checked_prompt
from longlive_env.errors import ConfigError, PromptError
from longlive_env.recording import digest
from longlive_env.scenario import Mix, Plan
from longlive_env.viewer.history import Beat, Bookmark, Frames, History, Left, Saved, Source
from longlive_env.viewer.seat import PATIENCE_S, Agent, AgentSeat
from longlive_env.viewer.story import Score, Story

if TYPE_CHECKING:
    from longlive_env.engine.rollout import Rollout, World

logger = logging.getLogger(__name__)

BOOKMARKS = 9
STATES = 2  # of the world that are kept on its device: the running one and that before the newest block

Seat = Literal["you", "agent"]
Progress = Callable[[int, int], None]  # blocks done, blocks in all


@dataclass(frozen=True)
class Request:
    """What is to take effect with the next block.

    Attributes:
        mix: the prompt, or several on the way to one.
        source: who asks.
        asked_at: when, by the caller's clock in seconds, to tell the latency; None if nobody waits.
        notes: what a scenario decided on the way.
    """

    mix: Mix
    source: Source
    asked_at: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Played:
    """A block that was generated.

    Attributes:
        beat: its place in the take.
        frames: uint8 [T, H, W, 3].
        timing: milliseconds by phase, see `Rollout.timing`.
        asked_at: of the request that it answers, if it is the first block under a new prompt.
        reached: names of the scenario's goals that it reaches.
        remarks: notes of the scenario's author that come with it.
    """

    beat: Beat
    frames: Frames
    timing: Mapping[str, float] = field(default_factory=dict)
    asked_at: float | None = None
    reached: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Before:
    """The world before the newest block, kept on its device: the quick way to take that block back.

    Nobody moves its rollout, since an agent may be looking at it. Its state is as large as the running one's,
    so it is dropped before another one is made: a session holds `STATES`.
    """

    position: int
    rollout: Rollout
    frames: Frames | None


class Session:
    """A world in play.

    Args:
        world: what is played.
        plan: start of the take, and the prompts to come while nobody else steers.
        agent: who takes the seat when asked to.
        budget_bytes: memory for snapshots; None follows their size, see `default_budget`.
        patience_s: how long an agent may think before the world plays on, see `AgentSeat`.

    Attributes:
        history: the take so far.
        seed: of the take.
        recache: what the next switch does to the memory of earlier frames.
        pace: when blocks begin.
        start: what the world goes on from, uint8 [T, H, W, 3]; None for nothing but the prompt.
        seat: who steers.
        follows: whether the scenario is being followed.

    Raises:
        PromptError: the world cannot read one of the plan's prompts.
        ScenarioError: the plan depends on what pictures show, and nothing can tell for this world.
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
        self.history = History(budget_bytes)
        self.recache: RecacheMode = plan.recache
        self.start, self.pace = plan.start, plan.pace
        self.seat: Seat = "you"
        self._agent = AgentSeat(world, agent, patience_s=patience_s) if agent is not None else None
        self._story, self._live = Story(world, plan), plan.live
        self._follows_from_start = self.follows = bool(plan.timeline)
        self._request: Request | None = None
        self._before: _Before | None = None
        self._frames: Frames | None = None  # of the newest block
        self._source: Source = "start"
        self.seed, self._opening = plan.seed, checked_prompt(world, plan.prompt)
        self._adrift = False  # whether going back has failed half way, and the world is not where the take is
        self._rollout = self._started(self._opening, self.seed)
        self._settle()

    @property
    def position(self) -> int:
        """Blocks of the take."""
        return len(self.history.beats)

    @property
    def mix(self) -> Mix:
        """What the newest block's text embedding was made of."""
        return self.history.beats[-1].mix if self.history.beats else Mix.of(self._opening)

    @property
    def prompt(self) -> str:
        """The prompt of the newest block, or the starting one."""
        return self.mix.prompt

    @property
    def wanted(self) -> str:
        """The prompt that the next block will have, as far as people have asked."""
        return self._request.mix.prompt if self._request else self.prompt

    @property
    def thinking(self) -> bool:
        """Whether the agent in the seat has yet to answer; meanwhile the prompt stays."""
        return self.seat == "agent" and self._agent is not None and self._agent.thinking

    @property
    def rollout(self) -> Rollout:
        """The running world; look only."""
        return self._rollout

    @property
    def cues(self) -> dict[int, str]:
        """The scenario's prompts from the newest block on, as far as they are known: block -> prompt."""
        if not self.follows:
            return {}
        return {block: text for block, text in self._story.cues.items() if block >= self.position - 1}

    @property
    def ends(self) -> int | None:
        """The block at which the scenario ends; None if there is none to follow, and nothing to win."""
        plan = self._story.plan
        return plan.blocks if plan.goals or (self.follows and plan.timeline) else None

    @property
    def score(self) -> Score | None:
        """Points of a scenario with goals."""
        return self._story.score

    def advance(self) -> Played:
        """Generate the next block. If that fails, the world is as it was before, without a quick way back.

        Raises:
            LongLiveError: the agent or the world cannot go on.
        """
        self._before = None  # so that there is room for another one
        self._catch_up()
        before = _Before(self.position, self._rollout.fork(), self._frames)
        request = self._decide(before)
        mix = request.mix if request is not None else self.mix
        try:
            if mix != self.mix:
                self._switch(mix, self.recache)
            frames: Frames = self._rollout.step()[0].numpy()
        except BaseException:
            self._go_on_from(before)
            raise
        asked_at, notes = (request.asked_at, request.notes) if request else (None, ())
        if request is not None and mix != self.mix:
            self._source = request.source
        self.follows = self.follows and (self._live or self._source in ("start", "scenario"))
        self._before, self._frames, self._request = before, frames, None
        beat = Beat(
            self.position, mix, self._source, self.recache, self.follows, len(frames), digest(frames), notes
        )
        self.history.append(beat, self._save() if self._is_to_be_saved(beat) else None)
        reached = tuple(goal.name for goal in self._story.add(beat, frames))
        remarks = self._story.remarks(beat)
        return Played(beat, frames, dict(self._rollout.timing), asked_at, reached, remarks)

    def ask(self, prompt: str, asked_at: float | None = None) -> bool:
        """Ask for a prompt; the next block obeys. Returns whether that changes anything.

        Raises:
            PromptError: the world cannot read it.
        """
        text = checked_prompt(self.world, prompt)
        if not text:
            raise PromptError("the prompt is empty; describe a scene")
        changes = text != self.wanted
        if changes:
            self._request = Request(Mix.of(text), "you", asked_at) if text != self.prompt else None
        return changes

    def asked_after(self, position: int) -> bool:
        """Whether you have asked for a prompt that is not in the first `position` blocks."""
        unseen = self.history.beats[position:]
        if self._request is not None:
            return True
        before = self.history.beats[position - 1].prompt if position else self._opening
        return bool(unseen) and unseen[0].source == "you" and unseen[0].prompt != before

    def take_back(self, position: int) -> None:
        """Take back blocks from `position` on that nobody has seen; a prompt that was asked for stays so."""
        asked = [beat for beat in self.history.beats[position:] if beat.source == "you"]
        request = self._request
        self._go_to(position)
        if request is None and asked and asked[-1].prompt != self.prompt:
            request = Request(asked[-1].mix, "you")
        self._request = request

    def rewind(self, position: int, progress: Progress | None = None) -> Frames | None:
        """Go back to where the take had `position` blocks; prompts asked for since are forgotten.

        Args:
            position: 0 or more, not beyond the present one.
            progress: is told about blocks that have to be generated again.

        Returns:
            Frames of the block before, uint8 [T, H, W, 3]; None at the very start.
        """
        self._request = None
        self._go_to(max(0, min(position, self.position)), progress)
        return self._frames

    def reset(self, seed: int | None = None) -> None:
        """Start another take with the prompt in force; the same seed shows the same world again."""
        opening, seed = self.wanted, self.seed if seed is None else seed
        rollout = self._started(opening, seed)  # the last that may fail
        self._opening, self.seed = opening, seed
        self._follows_from_start, self._adrift = False, False
        self._request = self._frames = None
        self.history.cut(0)
        self._rollout = rollout
        self._settle()

    def keep_bookmark(self, position: int, number: int | None = None) -> int:
        """Keep the world as it was after `position` blocks, under a number or the first free one.

        Returns:
            The number.

        Raises:
            ConfigError: there is nothing to keep yet, all numbers are taken, or that state is gone.
        """
        if position < 1:
            raise ConfigError("nothing has been shown yet; wait for the first block")
        free = [one for one in range(1, BOOKMARKS + 1) if one not in self.history.bookmarks]
        if number is None and not free:
            raise ConfigError("all nine bookmarks are taken; Ctrl and a number replace one")
        number = free[0] if number is None else number
        beats = tuple(self.history.beats[:position])
        self.history.bookmarks.pop(number, None)  # so that the newest comes last
        self.history.bookmarks[number] = Bookmark(self.seed, beats, self._saved_at(position))
        return number

    def return_to(self, number: int) -> Frames:
        """Go on from a bookmark; what was played since belongs to another branch.

        Raises:
            ConfigError: there is no such bookmark.
        """
        if number not in self.history.bookmarks:
            raise ConfigError(f"there is no bookmark {number}; B keeps one")
        mark = self.history.bookmarks[number]
        self._before = None
        self._restore(mark.saved)  # the last that may fail
        self._request, self._adrift = None, False
        self.seed, self._opening = mark.seed, mark.beats[0].prompt
        self._follows_from_start = mark.beats[0].follows
        self.history.replace(mark.beats, {mark.beats[-1]: mark.saved})
        self._settle()
        return mark.saved.frames

    def here(self, position: int) -> Left | None:
        """The first `position` blocks of the take, to be returned to by `undo`; None if there are none."""
        if not position:
            return None
        at, saved = self.history.nearest(position)
        beats = tuple(self.history.beats[:position])
        kept = {} if saved is None else {beats[at - 1]: saved}
        return Left(self.seed, self._opening, self._follows_from_start, beats, kept)

    def leave(self, left: Left | None) -> None:
        """Remember where a jump has come from, unless it goes on from another one, or has led nowhere."""
        before, seed = self.history.left, self.seed
        if left is None or (left.seed == seed and left.beats == tuple(self.history.beats)):
            return
        if before is None or before.seed != left.seed or not before.begins_with(left.beats):
            self.history.left = left

    def undo(self, position: int, progress: Progress | None = None) -> Frames | None:
        """Return to the take that the last jump has led away from; once more goes forward again.

        Args:
            position: how many blocks of the present take to return to then.
            progress: is told about blocks that have to be generated again.

        Returns:
            Frames of the block before, uint8 [T, H, W, 3].

        Raises:
            ConfigError: there was no jump yet.
        """
        left = self.history.left
        if left is None:
            raise ConfigError("there is no step back, new start or bookmark to undo yet")
        self.history.left = self.here(position)
        self._request = self._before = None
        self.seed, self._opening, self._follows_from_start = left.seed, left.opening, left.follows
        self.history.replace(left.beats, left.saved)
        self._replay(self.position, progress)
        self._settle()
        return self._frames

    def take_seat(self, seat: Seat) -> None:
        """Let someone else steer from the next block on.

        Raises:
            ConfigError: there is no agent.
        """
        if seat == "agent" and self._agent is None:
            raise ConfigError("no agent was chosen; start with longlive play --agent NAME")
        self.seat = seat

    def close(self) -> None:
        """Nothing is played any more."""
        if self._agent is not None:
            self._agent.close()

    def _started(self, opening: str, seed: int) -> Rollout:
        """A new world, of which there is room for two."""
        self._before = None
        return self.world.start(opening, seed=seed, frames=self.start)

    def _settle(self) -> None:
        """What goes on from the last block of the take, wherever it has jumped to."""
        beats = self.history.beats
        self.follows = beats[-1].follows if beats else self._follows_from_start
        self._source = beats[-1].source if beats else "start"
        self._story.jump(beats)
        if self._agent is not None:
            self._agent.leave()

    def _decide(self, before: _Before) -> Request | None:
        """What the next block is to be made of: you come first, then the agent, then the scenario.

        A live scenario goes on from whatever was played; another one until you or the agent bring a prompt.
        """
        if self._request is not None and not self._live:
            return self._request
        agent = self._agent if self.seat == "agent" and before.frames is not None else None
        step = self._story.before(self.position) if self.follows else None
        notes = step.notes if step is not None else ()
        if self._request is not None:
            return replace(self._request, notes=(*notes, *self._request.notes))
        if agent is not None and before.frames is not None:
            text = agent.act(before.rollout, before.frames, self.history.beats, self.seed)
            if text not in ("", self.prompt):
                return Request(Mix.of(text), "agent", notes=notes)
        return Request(step.mix, "scenario", notes=notes) if step is not None else None

    def _switch(self, mix: Mix, recache: RecacheMode) -> None:
        self._rollout.switch_prompt(mix.prompt, recache=recache, text=mix.embedding(self.world))

    def _go_to(self, position: int, progress: Progress | None = None) -> None:
        if position == self.position and not self._adrift:
            return
        before, self._before = self._before, None
        if before is not None and before.position == position:
            self._go_on_from(before)
            self._frames = before.frames
        else:
            before = None  # whose state would be a third
            self._replay(position, progress)
        self.history.cut(position)
        self._settle()

    def _go_on_from(self, before: _Before) -> None:
        """Go on from the world before the newest block, with a copy of it if the agent is looking at it."""
        self._rollout = before.rollout  # first, so that the state it replaces makes room for the copy
        if self._agent is not None and self._agent.looks_at(before.rollout):
            self._rollout = before.rollout.fork()

    def _catch_up(self) -> None:
        """Bring the world to where the take is, if a way back has failed half way."""
        if self._adrift:
            self._replay(self.position, None)

    def _replay(self, position: int, progress: Progress | None) -> None:
        """Bring the world to `position` from the nearest saved state."""
        beats = self.history.beats[:position]
        at, saved = self.history.nearest(position)
        self._adrift = True  # until the world is where the take is
        if saved is None:
            self._rollout, self._frames = self._started(self._opening, self.seed), None
        else:
            self._restore(saved)
        mix = beats[at - 1].mix if at else Mix.of(self._opening)
        for done, beat in enumerate(beats[at:], start=1):
            if beat.mix != mix:
                self._switch(beat.mix, beat.recache)
            mix = beat.mix
            self._frames = self._rollout.step()[0].numpy()
            if digest(self._frames) != beat.digest:
                logger.warning("block %d came out differently when it was generated again", beat.block)
            if progress is not None:
                progress(done, position - at)
        self._adrift = False

    def _restore(self, saved: Saved) -> None:
        self._rollout.restore(saved.data)
        self._frames = saved.frames

    def _is_to_be_saved(self, beat: Beat) -> bool:
        """Whether the state after the newest block is; the first block is as quickly made as restored."""
        assert self._frames is not None
        if beat.block == 0:
            return False
        spacing = self.history.spacing(full_bytes(self._rollout.state) + self._frames.nbytes)
        return spacing is not None and (beat.block + 1) % spacing == 0

    def _save(self) -> Saved:
        assert self._frames is not None
        return Saved(self._rollout.snapshot(), self._frames)

    def _saved_at(self, position: int) -> Saved:
        """The state after `position` blocks: a saved one, the present one or that before the newest block.

        Raises:
            ConfigError: it is neither.
        """
        at, saved = self.history.nearest(position)
        if saved is not None and at == position:
            return saved
        if position == self.position:
            self._catch_up()
            return self._save()
        before = self._before
        if before is None or before.position != position or before.frames is None:
            raise ConfigError(
                f"the world after block {position - 1} is not kept; go back there, then keep it"
            )
        return Saved(before.rollout.snapshot(), before.frames)
