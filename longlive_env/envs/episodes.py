"""Running worlds of one batch with their episodes, the core of single and vector envs.

A world's episode is a value beside the engine's state, so worlds are copied, replaced and saved together with
their episodes. Every world has its own age, and nothing that happens to one affects the others.

Shapes: B worlds, T pixel frames per block, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from longlive_env.envs.prompts import EmbeddedPrompt, checked_prompt, embeddings
from longlive_env.envs.rules import Rules, Start
from longlive_env.envs.task import Block, Reseeds, TaskState, Verdict, checked_verdicts
from longlive_env.envs.torch_settings import plain_settings
from longlive_env.frames import Frames, whole_block

if TYPE_CHECKING:
    from longlive_env.engine.rollout import Rollout


@dataclass(frozen=True)
class Episode:
    """An env's record of a world, beside its video.

    Attributes:
        world_seed: seed of the world's noise at the reset.
        steps: number of steps since the reset.
        frame_count: pixel frames generated since the reset.
        lead: number of leading frames of the observation that are repeats, because the block is shorter.
        reward_sum: sum of the rewards of all steps.
        recached: whether the newest block was generated after a recache.
        terminated: whether the task has ended the episode; truncation follows from the rules.
        unknown_words: words of the prompt in force that the world does not know.
        embedded: whether the prompt in force was given as an embedding, so that its text is only a name.
        task_state: state of the task.
        task_info: info of the task about the newest block.
    """

    world_seed: int
    steps: int = 0
    frame_count: int = 0
    lead: int = 0
    reward_sum: float = 0.0
    recached: bool = False
    terminated: bool = False
    unknown_words: tuple[str, ...] = ()
    embedded: bool = False
    task_state: TaskState = field(default_factory=dict)
    task_info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def begins(self) -> bool:
        """Whether the newest block is that of the reset."""
        return self.steps == 0

    def copy(self) -> Episode:
        """Return a copy that shares nothing with it, in case the task changes its state in place."""
        return replace(self, task_state=deepcopy(self.task_state), task_info=deepcopy(self.task_info))


@dataclass(frozen=True)
class Outcome:
    """Result of a step for each world.

    Attributes:
        rewards: float64 [B].
        terminated: whether the task ended the episode, bool [B].
        truncated: whether the limit of steps ended it, bool [B].
    """

    rewards: npt.NDArray[np.float64]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Turn:
    """A world's part in a step.

    Attributes:
        prompt: prompt to switch to; None keeps the one in force.
        asked: whether the action was a prompt.
        imposed: whether the task chose the prompt.
        starts: whether the block is the first of an episode.
    """

    prompt: str | None = None
    asked: bool = False
    imposed: bool = False
    starts: bool = False


def _opened(start: Start) -> Episode:
    """Create an episode before its first block."""
    embedded = isinstance(start.prompt, EmbeddedPrompt)
    return Episode(start.seed, embedded=embedded, task_state=deepcopy(start.task_state))


class Episodes:
    """Running worlds of one batch with their episodes.

    Attributes:
        rules: rules that all episodes follow.
        rollout: the running worlds.
        episodes: episode of each world.
        observations: newest block of each world, uint8 [B, T, H, W, 3]; if it is shorter, its first frame is
            repeated in front.
        timing: milliseconds spent in the engine since the last step began, by phase.
        replaced: episodes that the latest `restart` has ended, by world.
        torn: whether something failed while worlds moved, so that their episodes lack their newest blocks.
    """

    def __init__(
        self, rules: Rules, rollout: Rollout, episodes: Sequence[Episode], observations: Frames
    ) -> None:
        self.rules = rules
        self.rollout = rollout
        self.episodes = list(episodes)
        self.observations = observations
        self.timing: dict[str, float] = {}
        self.replaced: dict[int, Episode] = {}
        self.torn = False

    @classmethod
    @plain_settings()
    def start(cls, rules: Rules, starts: Sequence[Start]) -> Episodes:
        """Start a batch of worlds and generate the first block of each."""
        prompts = [start.prompt for start in starts]
        text, whole = embeddings(rules.world, prompts)
        rollout = rules.world.start(
            [str(prompt) for prompt in prompts],
            [start.seed for start in starts],
            text=text,
            whole=whole,
            frames=[start.frames for start in starts],
        )
        shape = rules.observation_space.shape
        assert shape is not None
        episodes = [_opened(start) for start in starts]
        new = cls(rules, rollout, episodes, np.zeros((len(starts), *shape), np.uint8))
        new._generate([_Turn(starts=True)] * len(starts))
        return new

    @plain_settings()
    def step(
        self,
        actions: Sequence[str],
        starting: Collection[int] = (),
        draw: Callable[[int], Start] | None = None,
    ) -> Outcome:
        """Generate the next block of every world in one batch.

        Args:
            actions: one prompt per world; `""` or the one in force changes nothing.
            starting: worlds that start a new episode instead of acting; their reward is 0.
            draw: function that draws the start of such a world; called once the actions are known to be
                valid.

        Raises:
            PromptError: a prompt is not valid; no world has moved.
            Exception: whatever else fails, such as a reward function, leaves the worlds `torn`.
        """
        turns = [
            _Turn(starts=True) if world in starting else self._turn(world, action)
            for world, action in enumerate(actions)
        ]
        with self.moving():
            for world in starting:
                assert draw is not None
                self._open(world, draw(world))
            switches = {world: turn.prompt for world, turn in enumerate(turns) if turn.prompt is not None}
            if switches:
                new, shown = list(switches.values()), self.rollout.whole_prompts
                text, whole = embeddings(self.rules.world, new, [shown[world] for world in switches])
                self.rollout.switch_prompt(
                    [str(prompt) for prompt in new],
                    recache=self.rules.recache,
                    worlds=list(switches),
                    text=text,
                    whole=whole,
                )
            return self._generate(turns)

    @contextmanager
    def moving(self, but: type[Exception] | tuple[()] = ()) -> Iterator[None]:
        """Mark the worlds `torn` if the body of the `with` statement fails, unless with `but`."""
        self.torn = True
        try:
            yield
        except but:
            self.torn = False
            raise
        self.torn = False

    def restart(self, starts: Mapping[int, Start]) -> None:
        """Start new episodes in some worlds and generate their first blocks, while the others stand still."""
        fresh = Episodes.start(self.rules, list(starts.values()))
        self.replaced = {world: self.episodes[world] for world in starts}
        self.assign(list(starts), fresh)
        self.timing = {name: ms + self.timing.get(name, 0.0) for name, ms in fresh.timing.items()}

    @plain_settings()
    def select(self, worlds: Sequence[int]) -> Episodes:
        """Copy some worlds into a separate batch; repeats are allowed."""
        episodes = [self.episodes[world].copy() for world in worlds]
        return Episodes(self.rules, self.rollout.fork(worlds), episodes, self.observations[list(worlds)])

    @plain_settings()
    def assign(self, worlds: Sequence[int], source: Episodes) -> None:
        """Replace some worlds and their episodes by copies of those of `source`."""
        self.rollout.assign(worlds, source.rollout)
        self.observations = self.observations.copy()
        self.observations[list(worlds)] = source.observations
        for world, episode in zip(worlds, source.episodes, strict=True):
            self.episodes[world] = episode.copy()

    def reseed(self, world: int, rng: np.random.Generator) -> None:
        """Redraw a world's future: its noise, and what its task has drawn in advance."""
        self.rollout.reseed(world, int(rng.integers(2**32)))
        episode, task = self.episodes[world], self.rules.task
        if isinstance(task, Reseeds):
            self.episodes[world] = replace(episode, task_state=task.reseed(episode.task_state, rng))

    @property
    def truncated(self) -> npt.NDArray[np.bool_]:
        """Whether each episode has reached the limit of steps: bool [B]."""
        limit = self.rules.max_steps
        return np.array([limit is not None and one.steps >= limit for one in self.episodes], np.bool_)

    @property
    def ended(self) -> npt.NDArray[np.bool_]:
        """Whether each episode is over, terminated or truncated: bool [B]."""
        return np.array([episode.terminated for episode in self.episodes], np.bool_) | self.truncated

    def frames(self, world: int) -> Frames:
        """Return all frames of a world's newest block: uint8 [T, H, W, 3], fewer for the first block."""
        return self.observations[world, self.episodes[world].lead :]

    def info(self, world: int) -> dict[str, Any]:
        """Return the info of `reset` and `step` about a world, the caller's own; only reproducible values."""
        episode = self.episodes[world]
        return {
            "prompt": self.rollout.prompts[world],
            "block": episode.steps,
            "seconds": episode.frame_count / self.rules.world.config.fps,
            "recached": episode.recached,
            "unknown_words": episode.unknown_words,
            "world_seed": episode.world_seed,
            **deepcopy(episode.task_info),
        }

    def _open(self, world: int, start: Start) -> None:
        """Start a new episode in a world's place, before its first block."""
        assert start.frames is None, "only a batch of its own can start from frames"
        text, whole = embeddings(self.rules.world, [start.prompt])
        self.rollout.reset_world(world, str(start.prompt), start.seed, text=text, whole=whole)
        self.episodes[world] = _opened(start)

    def _turn(self, world: int, action: str) -> _Turn:
        """Decide what a world does, given its action and what its task imposes."""
        now, task = self.rollout.prompts[world], self.rules.task
        kept = isinstance(action, str) and action == now
        prompt = action if kept else checked_prompt(self.rules.world, action)
        imposed = None if task is None else task.disturb(self.episodes[world].task_state)
        new = prompt if imposed is None else checked_prompt(self.rules.world, imposed)
        changes = new not in ("", now)
        return _Turn(new if changes else None, asked=prompt != "", imposed=imposed is not None)

    def _generate(self, turns: Sequence[_Turn]) -> Outcome:
        """Generate a block of every world, and advance the episodes."""
        config, before = self.rules.world.config, self.rollout.blocks
        frames = self.rollout.step().numpy()  # [B, T, H, W, 3]
        self.observations = whole_block(frames, config.block_pixel_frames, axis=1)
        self.timing = dict(self.rollout.timing)
        verdicts = self._judge(turns)
        for world, (turn, verdict) in enumerate(zip(turns, verdicts, strict=True)):
            lead = config.missing_frames if before[world] == 0 else 0
            self.episodes[world] = self._went_on(world, turn, verdict, lead)
        acted = np.array([not turn.starts for turn in turns], np.bool_)
        return Outcome(
            rewards=np.where(acted, [verdict.reward for verdict in verdicts], 0.0),
            terminated=np.array([episode.terminated for episode in self.episodes], np.bool_),
            truncated=self.truncated,
        )

    def _went_on(self, world: int, turn: _Turn, verdict: Verdict, lead: int) -> Episode:
        """Return the episode of a world after its newest block."""
        episode = self.episodes[world]
        words, embedded = episode.unknown_words, episode.embedded
        if turn.prompt is not None:
            embedded = isinstance(turn.prompt, EmbeddedPrompt)
        if turn.starts or turn.prompt is not None:
            text = self.rollout.prompts[world]
            words = () if embedded else tuple(self.rules.world.unknown_words(text))
        return replace(
            episode,
            steps=episode.steps + (not turn.starts),
            frame_count=episode.frame_count + self.rules.world.config.block_pixel_frames - lead,
            lead=lead,
            reward_sum=episode.reward_sum + (0.0 if turn.starts else verdict.reward),
            recached=turn.prompt is not None and self.rules.recache == "full",
            terminated=verdict.terminated and not turn.starts,
            unknown_words=words,
            embedded=embedded,
            task_state=verdict.state,
            task_info=verdict.info,
        )

    def _judge(self, turns: Sequence[_Turn]) -> list[Verdict]:
        """Let the task judge the newest blocks; raises as `checked_verdicts` does."""
        states = [episode.task_state for episode in self.episodes]
        if self.rules.task is None:
            return [Verdict(state) for state in states]
        blocks = [
            Block(frames, prompt, asked=turn.asked, switched=turn.prompt is not None and not turn.imposed)
            for frames, prompt, turn in zip(self.observations, self.rollout.prompts, turns, strict=True)
        ]
        return checked_verdicts(self.rules.task, self.rules.task.judge(states, blocks), len(blocks))
