"""Decides the next prompt: the user comes first, then the agent in the seat, then the scenario.

Shapes: T pixel frames per block, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

from longlive_env.envs.prompts import checked_prompt
from longlive_env.errors import ConfigError, PromptError
from longlive_env.frames import Frames
from longlive_env.recording import LogGoal
from longlive_env.scenario import Mix, Plan
from longlive_env.viewer.history import Beat, Opening, Source
from longlive_env.viewer.seat import AgentSeat
from longlive_env.viewer.story import Story

if TYPE_CHECKING:
    from longlive_env.engine.rollout import Rollout
    from longlive_env.engine.world import World

Steerer = Literal["you", "agent"]
Wish = Callable[[str], str]  # maps the prompt that would be in force to a new one


@dataclass(frozen=True)
class Request:
    """A request of the user that no block has answered yet.

    Attributes:
        wish: a prompt, or a change of the one that the next block would have.
        asked_at: time of the request by the caller's clock in seconds, for latency; None if nobody waits.
    """

    wish: Wish
    asked_at: float | None


@dataclass(frozen=True)
class Decision:
    """What the next block is made of.

    Attributes:
        mix: the prompt, or several in a transition.
        source: who set it.
        request: request that it answers, if any.
        notes: how it came about, for the log.
        remarks: those of the notes that are shown to a viewer.
        reached: goals that the block reaches in a recorded run.
    """

    mix: Mix
    source: Source
    request: Request | None = None
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    reached: tuple[LogGoal, ...] = ()


class Direction:
    """Decides what each block is made of.

    Args:
        world: world being played.
        plan: plan of the scenario.
        agent: seat of the agent that steers on request; None if there is none.

    Attributes:
        story: the scenario's upcoming prompts and its score.
        seat: who steers.
        follows: whether the scenario is being followed.
        request: request of the user, until a block answers it.

    Raises:
        PromptError: the world cannot read one of the plan's prompts.
        ScenarioError: the plan depends on what pictures show, which cannot be read in this world.
    """

    def __init__(self, world: World, plan: Plan, agent: AgentSeat | None) -> None:
        self.story = Story(world, plan)
        self.seat: Steerer = "you"
        self.follows = False  # until the first take begins
        self.request: Request | None = None
        self._check = partial(checked_prompt, world)
        self._agent = agent
        self._source: Source = "start"  # of the newest prompt
        self._answers: WeakKeyDictionary[Beat, Request] = WeakKeyDictionary()

    @property
    def _live(self) -> bool:
        """Whether the scenario continues while somebody steers."""
        return self.story.plan is not None and self.story.plan.live

    @property
    def thinking(self) -> bool:
        """Whether the agent in the seat has yet to answer; meanwhile the prompt stays."""
        return self.seat == "agent" and self._agent is not None and self._agent.thinking

    def wanted(self, prompt: str) -> str:
        """Return the prompt that the user wants next, where `prompt` is that of the newest block."""
        return self._made(self.request.wish, prompt) if self.request is not None else prompt

    def ask(self, wish: Wish, mix: Mix, beats: Sequence[Beat], asked_at: float | None) -> bool:
        """Add a request on top of earlier ones; returns whether that changes anything.

        Args:
            wish: a prompt, or a change of the one that the next block would have.
            mix: mix of the newest block.
            beats: blocks of the take so far.
            asked_at: see `Request`.

        Raises:
            PromptError: the world cannot read the resulting prompt.
        """
        coming = self.story.before(len(beats)).mix.prompt if self.follows else mix.prompt
        base = coming if self._live else mix.prompt
        earlier = self.request
        before = coming if earlier is None else self._made(earlier.wish, base)
        asked = wish if earlier is None else _after(earlier.wish, wish)
        text = self._check(asked(base))
        if not text:
            raise PromptError("the prompt is empty; describe a scene")
        if text == before:
            return False
        comes_anyway = text == coming and self.seat == "you"
        self.request = None if comes_anyway else Request(asked, asked_at)
        return True

    def ask_again(self, unseen: Sequence[Beat]) -> None:
        """Repeat the requests answered by unseen blocks, which were taken back."""
        answered = [self._answers[beat] for beat in unseen if beat in self._answers]
        requests = answered if self.request is None else [*answered, self.request]
        if requests:
            wish = _after(*(request.wish for request in requests))
            self.request = Request(wish, requests[-1].asked_at)

    def asked_in(self, beats: Sequence[Beat]) -> bool:
        """Return whether one of these blocks answers a request of the user."""
        return any(beat in self._answers for beat in beats)

    def decide(
        self, mix: Mix, beats: Sequence[Beat], seed: int, rollout: Rollout, frames: Frames | None
    ) -> Decision:
        """Decide what the next block is made of.

        A live scenario continues from whatever was played, and a request changes what it would bring; any
        other scenario continues until the user or the agent sets a prompt.

        Args:
            mix: mix of the newest block.
            beats: blocks of the take so far.
            seed: seed of the take.
            rollout: world after the newest block; it must not move while the agent is thinking.
            frames: frames of the newest block, uint8 [T, H, W, 3]; None before the first.

        Raises:
            AgentError: the agent fails, or asks for a prompt that the world cannot read.
        """
        request, coming, source = self.request, mix, self._source
        notes: tuple[str, ...] = ()
        remarks: tuple[str, ...] = ()
        reached: tuple[LogGoal, ...] = ()
        if self.follows and (request is None or self._live):
            step = self.story.before(len(beats))
            coming, source, notes, remarks = step.mix, "scenario", step.notes, step.remarks
            reached = step.reached
        if request is not None:
            try:
                text = self._check(request.wish(coming.prompt))
            except PromptError as error:  # the scenario's prompt leaves no room for the wish
                text = self._check(request.wish(mix.prompt))
                left_out = (f"left out: {coming.prompt} ({error})",)
                notes, remarks = (*(note for note in notes if note not in remarks), *left_out), left_out
            return Decision(Mix.of(text), "you", request, notes, remarks)
        if self.seat == "agent" and self._agent is not None and frames is not None:
            text = self._agent.act(rollout, frames, beats, seed, coming.prompt)
            if text not in ("", coming.prompt):
                coming, source, reached = Mix.of(text), "agent", ()
        return Decision(coming, source, None, notes, remarks, reached)

    def outcome(self, decision: Decision, mix: Mix) -> tuple[Source, bool]:
        """Return who set the prompt of the decided block, and whether the scenario continues.

        Args:
            decision: decision on that block.
            mix: mix of the previous block.
        """
        source = decision.source if decision.mix != mix or decision.source == "you" else self._source
        return source, self.follows and (self._live or source in ("start", "scenario"))

    def add(self, beat: Beat, decision: Decision) -> None:
        """Add a new block, made by `decision`."""
        self.story.add(beat)
        self._source, self.follows, self.request = beat.source, beat.follows, None
        if decision.request is not None:
            self._answers[beat] = decision.request

    def jump(self, beats: Sequence[Beat], opening: Opening) -> None:
        """Continue after these blocks of a take with this opening."""
        self.follows = beats[-1].follows if beats else opening.follows
        self._source = beats[-1].source if beats else "start"
        self.story.jump(beats, opening.plan)
        if self._agent is not None:
            self._agent.jumped()

    def take_seat(self, seat: Steerer) -> None:
        """Change who steers from the next block on.

        Raises:
            ConfigError: there is no agent.
        """
        if seat == "agent" and self._agent is None:
            raise ConfigError("no agent was chosen; start with longlive play --agent NAME")
        self.seat = seat

    def _made(self, wish: Wish, prompt: str) -> str:
        """Apply a wish to a prompt; if the world cannot read the result, return the unchanged prompt."""
        try:
            return self._check(wish(prompt))
        except PromptError:
            return prompt


def as_wish(wish: str | Wish) -> Wish:
    """Turn a prompt into a wish."""
    return wish if callable(wish) else lambda _: wish


@dataclass(frozen=True)
class _Wishes:
    """Wishes one after another, as one; not nested, as there may be thousands."""

    each: tuple[Wish, ...]

    def __call__(self, prompt: str) -> str:
        for wish in self.each:
            prompt = wish(prompt)
        return prompt


def _after(*wishes: Wish) -> Wish:
    each = (wish.each if isinstance(wish, _Wishes) else (wish,) for wish in wishes)
    return _Wishes(tuple(chain.from_iterable(each)))
