"""Base class of tasks that read pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from longlive_env.envs.checks import is_number
from longlive_env.envs.rewards import ProbeReward, RewardFn, scores_of_each
from longlive_env.envs.task import Block, TaskState, Verdict
from longlive_env.envs.vocabulary import VOCABULARIES
from longlive_env.errors import ConfigError
from longlive_env.tiny.scene import Scene, other_values


@dataclass(frozen=True)
class PixelTask:
    """Base class of the tasks that judge pixels.

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

    def check(self, world: str) -> None:
        """Check that the world's scenes are those of the tiny world.

        Raises:
            ConfigError: they are not.
        """
        if world not in VOCABULARIES:
            raise ConfigError(
                f"this task draws scenes of world {' or '.join(VOCABULARIES)}, and this is world {world!r}; "
                "GoalTask(goals=..., reward_fn=...) works in any world"
            )

    def disturb(self, state: TaskState) -> str | None:
        """Return None: nothing changes by itself."""
        return None

    def judge(self, states: Sequence[TaskState], blocks: Sequence[Block]) -> list[Verdict]:
        """See `Task`."""
        (found,) = self._scores(blocks, [state["goal"] for state in states])
        return [self._verdict(*each) for each in zip(states, blocks, found, strict=True)]

    def _verdict(self, state: TaskState, block: Block, score: float) -> Verdict:
        """Judge a block by how well it shows the goal."""
        raise NotImplementedError(f"{type(self).__name__} says what a block means by itself")

    def _scores(self, blocks: Sequence[Block], *texts: Sequence[str]) -> list[list[float]]:
        """Score how well each block shows its text, for each of the lists of texts."""
        if not blocks:
            return [[] for _ in texts]
        frames = np.stack([block.frames for block in blocks])
        return scores_of_each(self.reward_fn or ProbeReward(), frames, texts)


def another(name: str, scene: Scene, rng: np.random.Generator) -> str:
    """Draw a value of an attribute that differs from the scene's."""
    others = other_values(scene, name)
    return others[rng.integers(len(others))]
