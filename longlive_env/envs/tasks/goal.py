"""Reach a goal."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np

from longlive_env.envs import goals
from longlive_env.envs.checks import check_text, is_number
from longlive_env.envs.goals import LOOKS, check_attributes
from longlive_env.envs.rewards import Describes, ProbeReward
from longlive_env.envs.task import Block, Opening, TaskState, Verdict
from longlive_env.envs.tasks.base import PixelTask, another
from longlive_env.errors import ConfigError
from longlive_env.tiny import captions
from longlive_env.tiny.scene import Scene, in_split, other_values, sample_scene

TRIES = 100  # scenes that are drawn to find one of the split


@dataclass(frozen=True)
class GoalTask(PixelTask):
    """Make the frames show the goal, with few changes of prompt and in few blocks.

    An episode begins with a scene that differs from the goal in some attributes, and terminates with success
    once a block shows the goal. Success pays 1; a block costs `block_cost`, a change of the prompt in force
    `prompt_cost`; the shaped reward adds by how much the score has risen since the block before.

    `info` holds `goal` (the text), `score` and `success`. Reset options: `goal` (a text) or `goal_image`
    (uint8 [H, W, 3], or a block [T, H, W, 3]), which the probe reads; a `prompt` is kept as it is.

    Attributes:
        attributes: what a drawn goal says.
        varied: in which of them goal and beginning may differ.
        changes: in how many they do.
        block_cost: taken from the reward for every step.
        split: `"train"` or `"held_out"`: which combinations of attributes are drawn.
        goals: texts to draw goals from, instead of scenes. Beginnings are then left to the env.
    """

    attributes: tuple[str, ...] = LOOKS
    varied: tuple[str, ...] = ("setting", "weather")
    changes: int = 2
    block_cost: float = 0.01
    split: Literal["train", "held_out"] = "train"
    goals: tuple[str, ...] | None = None

    name: str = field(default="goal", init=False)  # so that plain values tell it
    reset_options: ClassVar[tuple[str, ...]] = ("goal", "goal_image")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_attributes("attributes", self.attributes)
        check_attributes("varied", self.varied, self.attributes)
        if self.split not in ("train", "held_out"):
            raise ConfigError(f"split is {self.split!r}; expected 'train' or 'held_out'")
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

    def check(self, world: str) -> None:
        """Whether goals of this world can be drawn and read.

        Raises:
            ConfigError: they cannot.
        """
        if self.goals is None or self.reward_fn is None:
            super().check(world)

    def open(self, rng: np.random.Generator, prompt: str | None, options: Mapping[str, Any]) -> Opening:
        """Draw a goal and a beginning; see `Task`."""
        given = self._given_goal(options)
        if given is None and self.goals is not None:
            given = self.goals[rng.integers(len(self.goals))]
        if given is None:
            scene = sample_scene(rng, self.split)
            while not self._has_start(scene):  # few held-out scenes have neighbours that are held out, too
                scene = sample_scene(rng, self.split)
            goal = goals.describe(goals.values_of(scene, self.attributes))
            start: Scene | None = self._start(scene, rng)
        else:
            goal = given
            start = None if self.goals is not None else self._start_of_text(given, rng)
        opening = prompt if prompt is not None or start is None else captions.caption(start, rng)
        return Opening({"goal": goal, "score": None}, opening)

    def _verdict(self, state: TaskState, block: Block, score: float) -> Verdict:
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
            goals.parse_wholly(goal)  # says at once what the probe cannot read

    def _has_start(self, goal: Scene) -> bool:
        """Whether `_start` has something to find."""
        return any(
            in_split(replace(goal, **dict(zip(names, values, strict=True))), self.split)
            for names in itertools.combinations(self.varied, self.changes)
            for values in itertools.product(*(other_values(goal, name) for name in names))
        )

    def _start(self, goal: Scene, rng: np.random.Generator) -> Scene:
        """A scene of the split that differs from `goal` in `changes` of the varied attributes."""
        while True:
            names = rng.permutation(list(self.varied))[: self.changes]
            start = replace(goal, **{str(name): another(str(name), goal, rng) for name in names})
            if in_split(start, self.split):
                return start

    def _start_of_text(self, goal: str, rng: np.random.Generator) -> Scene:
        """A scene of the split, if there is one, that differs from what a goal text names.

        What the text leaves open is drawn.
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
