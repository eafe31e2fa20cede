"""Task of visiting a list of settings with a subject."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from longlive_env.envs import goals
from longlive_env.envs.checks import is_number
from longlive_env.envs.task import Block, Opening, TaskState, Verdict
from longlive_env.envs.tasks.base import PixelTask
from longlive_env.errors import ConfigError
from longlive_env.tiny import captions
from longlive_env.tiny.scene import ATTRIBUTES, sample_scene

SEEN = 0.5  # a subject that scores less counts as unseen


@dataclass(frozen=True)
class TourTask(PixelTask):
    """Take a subject through a list of settings, in order, and keep it recognisable.

    A stop is visited once a step's block shows the subject, its colour and the setting. The last stop ends
    the episode with success; the episode ends without success if the subject is not seen for `patience`
    blocks in a row. A change of the prompt in force costs `prompt_cost`. The shaped reward pays 1 for each
    stop, plus the rise of the next stop's score since the previous block, the block of an arrival included;
    the sparse reward pays only for the last stop.

    `info` holds `goal` (the next stop, or the last one), `route` (all stops), `visited` (how many), `score`
    (of `goal`), `subject_score` and `success`. Reset option: `route`, a list of settings.

    Attributes:
        stops: number of settings in a drawn route.
        patience: number of consecutive blocks without the subject that end the episode.
    """

    stops: int = 3
    patience: int = 4

    name: str = field(default="tour", init=False)  # a field, so that plain values include it
    reset_options: ClassVar[tuple[str, ...]] = ("route",)

    def __post_init__(self) -> None:
        super().__post_init__()
        most = len(ATTRIBUTES["setting"]) - 1
        if not is_number(self.stops, 1, most, whole=True):
            raise ConfigError(f"stops is {self.stops!r}; expected a whole number from 1 to {most}")
        if not is_number(self.patience, 1, whole=True):
            raise ConfigError(f"patience is {self.patience!r}; expected a whole number of blocks, from 1 on")

    def open(self, rng: np.random.Generator, prompt: str | None, options: Mapping[str, Any]) -> Opening:
        """Draw a subject and a route; see `Task`. A given `prompt` has to name its subject."""
        scene = sample_scene(rng)
        drawn = [str(place) for place in rng.permutation(list(ATTRIBUTES["setting"]))]
        named = {} if prompt is None else goals.parse(prompt, "prompt")
        if prompt is None:
            who = goals.values_of(scene, ("subject", "colour"))
        else:
            who = {name: value for name, value in named.items() if name in ("subject", "colour")}
            if "subject" not in who:
                raise ConfigError(f"the prompt {prompt!r} names no subject to keep; name one")
        route = self._given_route(options)
        if route is None:
            route = [place for place in drawn if place != named.get("setting")][: self.stops]
        starts = [place for place in drawn if place not in route] or [
            place for place in drawn if place != route[0]
        ]
        opening = prompt or captions.caption(replace(scene, setting=starts[0]), rng)
        stops = [goals.describe({**who, "setting": place}) for place in route]
        return Opening(
            {"who": goals.describe(who), "route": stops, "visited": 0, "unseen": 0, "score": None}, opening
        )

    def _texts(self, states: Sequence[TaskState]) -> list[list[str]]:
        """Return the next stops, the stops after them, and the subjects."""
        ahead = [[_stop(state["route"], state["visited"] + more) for state in states] for more in (0, 1)]
        return [*ahead, [state["who"] for state in states]]

    def _verdict(self, state: TaskState, block: Block, scores: Sequence[float]) -> Verdict:
        score, following, who = scores
        route: list[str] = state["route"]
        # The block of a reset pays nothing, so a stop that it shows counts with the next one.
        arrived = state["score"] is not None and score >= self.threshold
        visited = min(state["visited"] + arrived, len(route))
        success = visited >= len(route)
        unseen = 0 if who >= SEEN else state["unseen"] + 1
        before = score if state["score"] is None else state["score"]
        reward = score - before + arrived if self.reward == "shaped" else float(success)
        reward -= self.prompt_cost * block.switched
        # After an arrival, rises are measured for the stop that is now next.
        newest = following if arrived and not success else score
        info = {
            "goal": _stop(route, visited),
            "route": tuple(route),
            "visited": visited,
            "score": newest,
            "subject_score": who,
            "success": success,
        }
        after = {**state, "visited": visited, "unseen": unseen, "score": newest}
        return Verdict(after, float(reward), success or unseen >= self.patience, info)

    def _given_route(self, options: Mapping[str, Any]) -> list[str] | None:
        route = options.get("route")
        if route is None:
            return None
        known = ATTRIBUTES["setting"]
        if isinstance(route, str) or not isinstance(route, Iterable):
            raise ConfigError(f"the route is {route!r}; expected a list, such as ['city', 'moon']")
        places = list(route)
        if not places or any(place not in known for place in places):
            raise ConfigError(f"the route is {places!r}; expected one or more of {', '.join(known)}")
        return places


def _stop(route: Sequence[str], number: int) -> str:
    """Return a stop by its index, or the last one beyond the end."""
    return route[min(number, len(route) - 1)]
