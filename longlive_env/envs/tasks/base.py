"""Base class of tasks that read pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal

import numpy as np

from longlive_env.engine.config import WorldConfig
from longlive_env.envs.checks import is_number
from longlive_env.envs.rewards import ProbeReward, ReadsFrames, RewardFn, checked_scores
from longlive_env.envs.task import Block, TaskState, Verdict
from longlive_env.envs.vocabulary import VOCABULARIES, vocabulary_of
from longlive_env.errors import ConfigError
from longlive_env.tiny.scene import Scene, other_values


@dataclass(frozen=True)
class PixelTask:
    """Base class of the tasks that judge pixels.

    `info` holds what the probe sees in the block as `seen`, a text that names all attributes, such as "a red
    cat walks left in the city at night"; with a `reward_fn` of your own only if that is a
    `rewards.ReadsFrames`.

    Attributes:
        reward: `"shaped"` rewards every bit of progress in the frames, `"sparse"` only success.
        prompt_cost: amount subtracted from the reward for a prompt; each task says which prompts count.
        threshold: score from which a text counts as shown.
        reward_fn: function that scores frames; None uses the tiny world's probe.
    """

    reward: Literal["shaped", "sparse"] = "shaped"
    prompt_cost: float = 0.05
    threshold: float = 0.9  # a wrong value has less than 0.5, and a text names at most five
    reward_fn: RewardFn | None = None

    reset_options: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.reward not in ("shaped", "sparse"):
            raise ConfigError(f"reward is {self.reward!r}; expected 'shaped' or 'sparse'")
        if not is_number(self.threshold, 0, 1) or self.threshold == 0:
            raise ConfigError(f"threshold is {self.threshold!r}; expected a number above 0, at most 1")
        if not is_number(self.prompt_cost):
            raise ConfigError(f"prompt_cost is {self.prompt_cost!r}; a cost is a number from 0 on")
        if self.reward_fn is not None and not callable(self.reward_fn):
            raise ConfigError(f"reward_fn is {self.reward_fn!r}; expected a function of frames and texts")

    def check(self, config: WorldConfig) -> None:
        """Check that the world's scenes are those of the tiny world.

        Raises:
            ConfigError: they are not.
        """
        if not vocabulary_of(config.vocabulary).attributes:
            known = " or ".join(map(repr, VOCABULARIES))
            raise ConfigError(
                f"this task draws scenes of the vocabulary {known}, and that of world {config.name!r} is "
                f"{config.vocabulary!r}; GoalTask(goals=..., reward_fn=...) works in any world"
            )

    def disturb(self, state: TaskState) -> str | None:
        """Return None: nothing changes by itself."""
        return None

    def judge(self, states: Sequence[TaskState], blocks: Sequence[Block]) -> list[Verdict]:
        """See `Task`."""
        if not blocks:
            return []
        frames, reward_fn = np.stack([block.frames for block in blocks]), self.reward_fn or ProbeReward()
        reading = reward_fn.read(frames) if isinstance(reward_fn, ReadsFrames) else None
        score = partial(reward_fn, frames) if reading is None else reading.scores
        found = [checked_scores(score(texts), texts) for texts in self._texts(states)]
        verdicts = [
            self._verdict(state, block, scores)
            for state, block, *scores in zip(states, blocks, *found, strict=True)
        ]
        if reading is None:
            return verdicts
        return [
            replace(verdict, info={**verdict.info, "seen": seen})
            for verdict, seen in zip(verdicts, reading.descriptions(), strict=True)
        ]

    def _texts(self, states: Sequence[TaskState]) -> list[list[str]]:
        """Return the texts to score the blocks against: lists of one text for each block."""
        return [[state["goal"] for state in states]]

    def _verdict(self, state: TaskState, block: Block, scores: Sequence[float]) -> Verdict:
        """Judge a block by its scores for each of `_texts`."""
        raise NotImplementedError(f"{type(self).__name__} says what a block means by itself")


def another(name: str, scene: Scene, rng: np.random.Generator) -> str:
    """Draw a value of an attribute that differs from the scene's."""
    others = other_values(scene, name)
    return others[rng.integers(len(others))]
