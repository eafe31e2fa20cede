"""Task of holding a scene against disturbances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np

from longlive_env.envs import goals
from longlive_env.envs.checks import check_text, is_number
from longlive_env.envs.goals import LOOKS, check_attributes
from longlive_env.envs.task import Block, Opening, TaskState, Verdict
from longlive_env.envs.tasks.base import PixelTask, another
from longlive_env.errors import ConfigError
from longlive_env.tiny import captions
from longlive_env.tiny.scene import ATTRIBUTES, Scene, check_split, sample_scene


@dataclass(frozen=True)
class HoldTask(PixelTask):
    """Hold a scene that changes by itself.

    Every few blocks a disturbance replaces the action: the world's prompt becomes one in which one attribute
    of the scene has changed. The player has to notice this and ask for the scene again. Each block pays the
    score of the held scene (shaped), or 1 if the scene is shown (sparse). An action other than `""` costs
    `prompt_cost` whether or not it changes the prompt, so it pays to look before acting. Episodes never
    terminate.

    `info` holds `goal`, `score`, `success` (whether the block shows the scene), `held` (share of blocks that
    did, that of the reset included) and `disturbed` (whether a disturbance replaced this block's action).
    Reset option: `goal`, a text.

    Attributes:
        attributes: attributes to hold, of the drawn scene or of a given prompt.
        varied: those of them that disturbances change.
        calm: minimum and maximum number of blocks between two disturbances.
        split: `"train"` or `"held_out"`: which combinations of attributes are drawn to be held. Disturbances
            may bring any.
    """

    attributes: tuple[str, ...] = LOOKS
    varied: tuple[str, ...] = ("setting", "weather")
    calm: tuple[int, int] = (6, 12)
    split: Literal["train", "held_out"] = "train"

    name: str = field(default="hold", init=False)  # a field, so that plain values include it
    reset_options: ClassVar[tuple[str, ...]] = ("goal",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_attributes("attributes", self.attributes)
        check_attributes("varied", self.varied, self.attributes)
        check_split(self.split)
        calm = self.calm if isinstance(self.calm, (tuple, list)) else ()
        if len(calm) != 2 or not all(is_number(one, 1, whole=True) for one in calm) or calm[0] > calm[1]:
            raise ConfigError(
                f"calm is {self.calm!r}; expected two whole numbers, such as (6, 12): fewest and most blocks "
                "between disturbances, from 1 on"
            )

    def open(self, rng: np.random.Generator, prompt: str | None, options: Mapping[str, Any]) -> Opening:
        """Draw a scene and the seed of its disturbances; see `Task`."""
        scene = sample_scene(rng, self.split)
        goal = options.get("goal")
        if goal is not None:
            check_text(goal)
            wanted = goals.parse_wholly(goal)
        elif prompt is None:
            wanted = goals.values_of(scene, self.attributes)
        else:
            named = goals.parse(prompt, "prompt")
            wanted = {name: value for name, value in named.items() if name in self.attributes}
            if not wanted:
                raise ConfigError(f"the prompt {prompt!r} names none of {', '.join(self.attributes)} to hold")
        scene = replace(scene, **(wanted if prompt is None else {**goals.parse_leniently(prompt), **wanted}))
        seed = int(rng.integers(2**32))
        state = {
            "goal": goals.describe(wanted),
            "scene": goals.values_of(scene, tuple(ATTRIBUTES)),
            "seed": seed,
            "disturbances": 0,
            "since": 0,  # index of the first block after the last disturbance
            "due": self._gap(seed, 0),  # index of the next block to be disturbed
            "block": 0,  # index of the next block
            "held": 0,
        }
        return Opening(state, prompt or captions.caption(scene, rng))

    def disturb(self, state: TaskState) -> str | None:
        """Return the next disturbance, if it is due."""
        if state["block"] != state["due"]:
            return None
        rng = np.random.default_rng((state["seed"], state["disturbances"], 0))
        scene = Scene(**state["scene"])
        held = goals.parse(state["goal"])
        name = str(rng.choice([name for name in self.varied if name in held] or list(held)))
        return captions.caption(replace(scene, **{name: another(name, scene, rng)}), rng)

    def reseed(self, state: TaskState, rng: np.random.Generator) -> TaskState:
        """Draw other disturbances, the next one within the limits of `calm`; see `Reseeds`."""
        low, high = self.calm
        passed = state["block"] - state["since"]  # more than `high` if another task's `calm` was longer
        gap = int(rng.integers(max(low, passed), max(high, passed) + 1))
        return {**state, "seed": int(rng.integers(2**32)), "due": state["since"] + gap}

    def _verdict(self, state: TaskState, block: Block, scores: Sequence[float]) -> Verdict:
        (score,) = scores
        shown, disturbed = score >= self.threshold, state["block"] == state["due"]
        count, held = state["block"] + 1, state["held"] + shown
        reward = (score if self.reward == "shaped" else float(shown)) - self.prompt_cost * block.asked
        after = {**state, "block": count, "held": held}
        if disturbed:
            after["disturbances"] = state["disturbances"] + 1
            after["since"] = count
            after["due"] = count + self._gap(state["seed"], after["disturbances"])
        info = {
            "goal": state["goal"],
            "score": score,
            "success": shown,
            "held": held / count,
            "disturbed": disturbed,
        }
        return Verdict(after, float(reward), False, info)

    def _gap(self, seed: int, disturbances: int) -> int:
        """Draw the number of blocks before the next disturbance."""
        low, high = self.calm
        return int(np.random.default_rng((seed, disturbances, 1)).integers(low, high + 1))
