"""Task of reaching a goal."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np

from longlive_env.engine.config import WorldConfig
from longlive_env.envs import goals
from longlive_env.envs.checks import check_text, is_number
from longlive_env.envs.goals import LOOKS, check_attributes
from longlive_env.envs.rewards import Describes, ProbeReward
from longlive_env.envs.task import Block, Opening, TaskState, Verdict
from longlive_env.envs.tasks.base import PixelTask, another
from longlive_env.errors import ConfigError
from longlive_env.tiny import captions
from longlive_env.tiny.scene import Scene, check_split, in_split, other_values, sample_scene

TRIES = 100  # most scenes drawn to find one of the split


@dataclass(frozen=True)
class GoalTask(PixelTask):
    """Make the frames show the goal, with few prompt changes and in few blocks.

    An episode begins with a scene that differs from the goal in some attributes, and terminates with success
    once a block shows the goal. Success pays 1; each block costs `block_cost`, and each change of the prompt
    in force `prompt_cost`. The shaped reward adds the rise of the score since the previous block.

    `info` holds `goal` (the text), `score` and `success`. Reset options: `goal` (a text) or `goal_image` (a
    frame of a world, uint8 [H, W, 3], or a block of them [T, H, W, 3]), which the probe reads. A given
    `prompt` is kept as it is.

    Attributes:
        attributes: attributes that a drawn goal names.
        varied: those of them in which goal and starting scene may differ.
        changes: number of attributes in which they differ.
        block_cost: amount subtracted from the reward for every step.
        split: `"train"` or `"held_out"`: which combinations of attributes are drawn.
        goals: texts to draw goals from, instead of scenes. The env then chooses the starting prompt.
    """

    attributes: tuple[str, ...] = LOOKS
    varied: tuple[str, ...] = ("setting", "weather")
    changes: int = 2
    block_cost: float = 0.01
    split: Literal["train", "held_out"] = "train"
    goals: tuple[str, ...] | None = None

    name: str = field(default="goal", init=False)  # a field, so that plain values include it
    reset_options: ClassVar[tuple[str, ...]] = ("goal", "goal_image")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_attributes("attributes", self.attributes)
        check_attributes("varied", self.varied, self.attributes)
        check_split(self.split)
        if not is_number(self.changes, 1, len(self.varied), whole=True):
            raise ConfigError(
                f"changes is {self.changes!r}; expected a whole number from 1 to {len(self.varied)}, one for "
                "each varied attribute"
            )
        if isinstance(self.goals, str) or not isinstance(self.goals, Sequence | None):
            raise ConfigError(f"goals is {self.goals!r}; give a tuple of texts")
        if self.goals is not None and not self.goals:
            raise ConfigError("goals is empty; give at least one text, or leave it out")
        if not is_number(self.block_cost):
            raise ConfigError(f"block_cost is {self.block_cost!r}; a cost is a number from 0 on")
        for text in self.goals or ():
            self._check_text(text)

    def check(self, config: WorldConfig) -> None:
        """Check that goals of such a world can be drawn and read.

        Raises:
            ConfigError: they cannot.
        """
        if self.goals is None or self.reward_fn is None:
            super().check(config)

    def open(self, rng: np.random.Generator, prompt: str | None, options: Mapping[str, Any]) -> Opening:
        """Draw a goal and a starting scene; see `Task`."""
        given = self._given_goal(options)
        if given is None and self.goals is not None:
            given = self.goals[rng.integers(len(self.goals))]
        if given is None:
            scene = sample_scene(rng, self.split)
            while not self._has_start(scene):  # few held-out scenes have held-out neighbours
                scene = sample_scene(rng, self.split)
            goal = goals.describe(goals.values_of(scene, self.attributes))
            start: Scene | None = self._start(scene, rng)
        else:
            goal = given
            start = None if self.goals is not None else self._start_of_text(given, rng)
        opening = prompt if prompt is not None or start is None else captions.caption(start, rng)
        return Opening({"goal": goal, "score": None}, opening)

    def _verdict(self, state: TaskState, block: Block, scores: Sequence[float]) -> Verdict:
        (score,) = scores
        success = score >= self.threshold
        before = score if state["score"] is None else state["score"]
        reward = (score - before if self.reward == "shaped" else 0.0) + success
        reward -= self.block_cost + self.prompt_cost * block.switched
        info = {"goal": state["goal"], "score": score, "success": success}
        return Verdict({**state, "score": score}, float(reward), success, info)

    def _given_goal(self, options: Mapping[str, Any]) -> str | None:
        goal, picture = options.get("goal"), options.get("goal_image")
        if goal is not None and picture is not None:
            raise ConfigError("got both a goal and a goal_image; give one of them")
        if picture is not None:
            reader = self.reward_fn or ProbeReward()
            if not isinstance(reader, Describes):
                raise ConfigError("this reward_fn cannot read a goal_image; give a goal text instead")
            return reader.describe(np.asarray(picture))
        if goal is not None:
            self._check_text(goal)
        return goal

    def _check_text(self, goal: Any) -> None:
        check_text(goal)
        if self.reward_fn is None:
            goals.parse_wholly(goal)  # fails early on text that the probe cannot read

    def _has_start(self, goal: Scene) -> bool:
        """Return whether `_start` can find a scene."""
        return any(
            in_split(replace(goal, **dict(zip(names, values, strict=True))), self.split)
            for names in itertools.combinations(self.varied, self.changes)
            for values in itertools.product(*(other_values(goal, name) for name in names))
        )

    def _start(self, goal: Scene, rng: np.random.Generator) -> Scene:
        """Draw a scene of the split that differs from `goal` in `changes` of the varied attributes."""
        while True:
            names = rng.permutation(list(self.varied))[: self.changes]
            start = replace(goal, **{str(name): another(str(name), goal, rng) for name in names})
            if in_split(start, self.split):
                return start

    def _start_of_text(self, goal: str, rng: np.random.Generator) -> Scene:
        """Draw a scene, of the split if possible, that differs from what a goal text names.

        Attributes that the text leaves open are drawn.
        """
        wanted = goals.parse(goal)
        names = [name for name in self.varied if name in wanted] or list(wanted)
        for _ in range(TRIES):
            scene = replace(sample_scene(rng, self.split), **wanted)
            chosen = rng.permutation(names)[: self.changes]
            start = replace(scene, **{str(name): another(str(name), scene, rng) for name in chosen})
            if in_split(start, self.split):
                break
        return start
