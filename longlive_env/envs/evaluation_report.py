"""What a policy reached in the episodes of `envs.evaluation`, and under which conditions.

Shapes: E episodes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from longlive_env.engine.config_values import to_dict
from longlive_env.envs.checks import is_json
from longlive_env.envs.prompt_env import PromptEnv
from longlive_env.errors import ConfigError
from longlive_env.intervals import Estimate, Share, mean, ratio_of_means

if TYPE_CHECKING:
    from longlive_env.engine.world import World

PROTOCOL = 1
SCALE = ("silent", "asks")  # the agents that earn a score of 0 and 1


@dataclass(frozen=True)
class Row:
    """An episode.

    Attributes:
        seed: seed of the reset.
        total: return, the sum of the task's rewards.
        steps: number of blocks after that of the reset.
        success: whether the task ended with success or, in a task that never ends, the share of blocks that
            show the goal; None in a task that does not tell.
    """

    seed: int
    total: float
    steps: int
    success: float | None

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {"seed": self.seed, "return": self.total, "steps": self.steps, "success": self.success}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Row:
        """Read what `to_json` returned."""
        return cls(values["seed"], values["return"], values["steps"], values["success"])


@dataclass(frozen=True)
class Figure:
    """A mean over episodes, its standard error, and its 95 % interval, which is None for a few episodes."""

    mean: float
    standard_error: float
    interval: tuple[float, float] | None

    @classmethod
    def of(cls, values: npt.NDArray[np.float64], *, share: bool = False) -> Figure:
        """The figure of values [E]; of a `share`, values in [0, 1], the interval is Wilson's."""
        interval = Share.of(values).interval if share else mean(values).interval
        return cls(float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5), interval)

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        interval = None if self.interval is None else [round(end, 4) for end in self.interval]
        error = round(self.standard_error, 4)
        return {"mean": round(self.mean, 4), "standard_error": error, "interval": interval}

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.standard_error:.3f}{_between(self.interval)}"


@dataclass(frozen=True)
class Conditions:
    """What two reports have to share for their figures to be compared; its values are JSON's.

    Attributes:
        id: registered id.
        world: fingerprint of the world's weights.
        task: class and settings of the task.
        changed: arguments of `gym.make` that differ from the id as it is registered; of a `World` its
            options, of other objects their types.
        untold: names of arguments and of settings of the task that are here by the name of a function or a
            type alone, so that other conditions may look the same.
        max_steps: limit of steps.
        episodes: number of episodes.
        protocol: number of the protocol.
    """

    id: str
    world: str
    task: dict[str, Any]
    changed: dict[str, Any]
    untold: list[str]
    max_steps: int
    episodes: int
    protocol: int = PROTOCOL

    @classmethod
    def of(cls, env: gym.Env[Any, Any], inside: PromptEnv, episodes: int) -> Conditions:
        """The conditions in a registered env with this env `inside`."""
        assert inside.spec is not None
        registered, task = gym.spec(inside.spec.id), inside.rules.task
        limit = (env.spec and env.spec.max_episode_steps) or registered.max_episode_steps
        if task is None or limit is None:
            lack, argument = ("task", "task=") if task is None else ("limit of steps", "max_episode_steps=")
            raise ConfigError(
                f"{registered.id} has no {lack}; choose an id with one, such as 'LongLive/TinyGoal-v0', or "
                f"give make=lambda: gym.make({registered.id!r}, {argument}...)"
            )
        changed = {
            name: _described(value) if value is inside.world else value
            for name, value in {**inside.spec.kwargs, "max_episode_steps": limit}.items()
            if name != "render_mode"
            and value != {**registered.kwargs, "max_episode_steps": registered.max_episode_steps}.get(name)
        }
        settings: dict[str, Any] = {}
        if is_dataclass(task):
            settings = {one.name: getattr(task, one.name) for one in fields(task)}
        others = {**changed, **settings, "task": None}  # a task is told by its settings, if at all
        untold = [name for name, value in others.items() if not is_json(value)]
        if not is_dataclass(task):
            untold.append("task")
        return cls(
            registered.id,
            inside.world.fingerprint,
            _plain({"class": type(task).__name__, **settings}),
            _plain(changed),
            untold,
            limit,
            episodes,
        )


@dataclass(frozen=True)
class Report:
    """What a policy reached. Print it, or keep its `to_json()`.

    Reports are equal if conditions and episodes are, wherever and whenever they were measured.

    Attributes:
        conditions: what was played.
        env: the env with its wrappers, as a text.
        rows: the policy's episodes.
        baselines: name -> the same episodes of each agent of `SCALE`; empty if they were not played.
        origin: commit, versions, command and machine, see `longlive_env.provenance`.
    """

    conditions: Conditions
    env: str
    rows: tuple[Row, ...]
    baselines: dict[str, tuple[Row, ...]] = field(default_factory=dict)
    origin: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def returns(self) -> Figure:
        """Returns of the policy's episodes."""
        return Figure.of(_totals(self.rows))

    @property
    def steps(self) -> Figure:
        """Their numbers of steps."""
        return Figure.of(np.array([row.steps for row in self.rows], np.float64))

    @property
    def success(self) -> Figure | None:
        """Their successes, see `Row`; None in a task that does not tell."""
        known = [row.success for row in self.rows if row.success is not None]
        return Figure.of(np.array(known), share=True) if len(known) == len(self.rows) else None

    @property
    def score(self) -> Estimate | None:
        """(return - silent's) / (asks' - silent's) of the means, with an interval over paired episodes.

        None if the baselines were not played, or if asking earned no more than keeping silent.
        """
        if not self.baselines:
            return None
        low, high = (_totals(self.baselines[name]) for name in SCALE)
        return ratio_of_means(_totals(self.rows) - low, high - low) if high.mean() > low.mean() else None

    def to_json(self) -> dict[str, Any]:
        """JSON values: conditions, figures, every episode, and where it was measured."""
        score, success = self.score, self.success
        return {
            **asdict(self.conditions),
            "env": self.env,
            "return": self.returns.to_json(),
            "success": success and success.to_json(),
            "steps": self.steps.to_json(),
            "score": score and score.to_json(),
            "rows": [row.to_json() for row in self.rows],
            "baselines": {name: [row.to_json() for row in rows] for name, rows in self.baselines.items()},
            "origin": self.origin,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Report:
        """Read what `to_json` returned; figures are computed from the episodes again.

        Raises:
            ConfigError: an entry is missing.
        """
        try:
            return cls(
                Conditions(**{one.name: values[one.name] for one in fields(Conditions)}),
                values["env"],
                tuple(map(Row.from_json, values["rows"])),
                {name: tuple(map(Row.from_json, rows)) for name, rows in values["baselines"].items()},
                values["origin"],
            )
        except KeyError as error:
            raise ConfigError(
                f"a report of an evaluation has {error}, and this one has not; it may be of an earlier "
                "version, so evaluate again"
            ) from error

    def __str__(self) -> str:
        given = self.conditions
        lines = [
            f"{given.id}, protocol {given.protocol}, {given.episodes} episodes of at most {given.max_steps} "
            f"steps, world {given.world}",
            *([f"changed  {given.changed}"] if given.changed else []),
            f"return   {self.returns}",
            *([f"success  {self.success}"] if self.success else []),
            f"steps    {self.steps}",
        ]
        if self.baselines:
            low, high = (f"{name} ({_totals(self.baselines[name]).mean():.3f})" for name in SCALE)
            score = self.score
            lines.append(
                f"score    {score.value:.3f}{_between(score.interval)}, where 0 is {low} and 1 is {high}"
                if score
                else f"score    none, since {high} earned no more than {low}"
            )
        return "\n".join(lines)


def _totals(rows: Iterable[Row]) -> npt.NDArray[np.float64]:
    """Return the returns [E] of episodes."""
    return np.array([row.total for row in rows], np.float64)


def _between(interval: tuple[float, float] | None) -> str:
    """Return an interval as the end of a line."""
    return "" if interval is None else f" (95 %: {interval[0]:.3f} to {interval[1]:.3f})"


def _described(world: World) -> dict[str, Any]:
    """Return what frames depend on beside a world's weights, as values of JSON."""
    digest = hashlib.sha256(json.dumps(to_dict(world.config)).encode()).hexdigest()[:16]
    return {"config": digest, "dtype": str(world.dtype).removeprefix("torch."), **world.options}


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as JSON gives them back, with names for functions and for objects of other types."""
    found = {
        name: value if is_json(value) else getattr(value, "__qualname__", type(value).__name__)
        for name, value in values.items()
    }
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain
