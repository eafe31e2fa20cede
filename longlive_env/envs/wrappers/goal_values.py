"""Goals, prompts and what is seen in observations, as numbers for agents that cannot handle text.

Shapes: A attributes of a scene, ... leading batch axes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from longlive_env.envs import goals
from longlive_env.envs.rewards import ReadsFrames
from longlive_env.envs.rules import Rules
from longlive_env.envs.tasks import GoalTask
from longlive_env.envs.vocabulary import vocabulary_of
from longlive_env.errors import ConfigError
from longlive_env.tiny.scene import ATTRIBUTES

GoalForm = Literal["values", "text"]
Values = npt.NDArray[np.int64]
Rewards = npt.NDArray[np.float32]


class Entries(Protocol):
    """Entries of an observation beside the env's own observation, read from a world's info."""

    @property
    def own(self) -> str:
        """Name of the entry that holds the env's own observation."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the entries of `info` that are read."""

    def spaces(self, texts: spaces.Space[str]) -> dict[str, spaces.Space[Any]]:
        """Return the space of each entry, given the space of prompts."""

    def read(self, info: Mapping[str, Any]) -> dict[str, Any]:
        """Read the entries from a world's info.

        Raises:
            ConfigError: it holds none, or they have no values.
        """


@dataclass(frozen=True)
class Goals:
    """The goal, and possibly the prompt in force, beside the frames; see `Entries`.

    Attributes:
        form: `"values"` (one number for each attribute of the tiny world's scenes, 0 where the text leaves it
            open) or `"text"`.
        prompt: whether there is an entry for the prompt in force, beside the goal.
    """

    form: GoalForm
    prompt: bool = False
    own: ClassVar[str] = "frames"

    @classmethod
    def of(cls, rules: Rules, form: GoalForm, prompt: bool) -> Goals:
        """Create the entries for envs with these rules.

        Raises:
            ConfigError: there is no such form, the env has no task, or goals of this world have no values.
        """
        if form not in get_args(GoalForm):
            raise ConfigError(f"form is {form!r}; expected 'values' or 'text'")
        if rules.task is None:
            raise ConfigError("the env has no task and so no goal; make one such as LongLive/TinyGoal-v0")
        config = rules.world.config
        if form == "values" and not vocabulary_of(config.vocabulary).attributes:
            raise ConfigError(
                f"goals in world {config.name!r}, whose vocabulary is {config.vocabulary!r}, have no values; "
                "use form='text'"
            )
        return cls(form, prompt)

    @property
    def sources(self) -> tuple[str, ...]:
        """See `Entries`."""
        return ("goal", "prompt") if self.prompt else ("goal",)

    def spaces(self, texts: spaces.Space[str]) -> dict[str, spaces.Space[Any]]:
        """See `Entries`."""
        said = texts if self.form == "text" else values_space()
        # Copies, since each space holds its own random generator.
        return {name: copy.deepcopy(said) for name in self.sources}

    def read(self, info: Mapping[str, Any]) -> dict[str, Any]:
        """See `Entries`."""
        if "goal" not in info:
            raise ConfigError("the task says no goal; a Verdict's info has to hold one, under 'goal'")
        if self.form == "text":
            return {name: info[name] for name in self.sources}
        try:
            return {name: values_in(info[name], strict=name == "goal") for name in self.sources}
        except ConfigError as error:
            raise ConfigError(f"{error}; or give texts: GoalInObservation(form='text')") from error


@dataclass(frozen=True)
class Hindsight:
    """The goal that was set and what is shown, in the layout of a goal env; see `Entries`.

    Attributes:
        attributes: attributes that goals name, and of which what is shown can become a goal.
    """

    attributes: tuple[str, ...]
    own: ClassVar[str] = "observation"
    sources: ClassVar[tuple[str, ...]] = ("goal", "seen")

    @classmethod
    def of(cls, rules: Rules, attributes: Sequence[str] | None) -> Hindsight:
        """Create the entries for envs with these rules; `attributes` are by default those of drawn goals.

        Raises:
            ConfigError: the env has another task than `GoalTask`, or one whose `reward_fn` does not say what
                it sees, or `attributes` are not attributes, or leave out what drawn goals name.
        """
        task = rules.task
        if not isinstance(task, GoalTask) or not isinstance(task.reward_fn, ReadsFrames | None):
            raise ConfigError(
                f"the env's task is {task!r:.60}; HindsightGoals needs the goal task, such as that of "
                "LongLive/TinyGoal-v0; a reward_fn of your own has to be a rewards.ReadsFrames"
            )
        named = {name for text in task.goals or () for name in goals.parse(text)}
        drawn = task.attributes if task.goals is None else [name for name in ATTRIBUTES if name in named]
        chosen = drawn if attributes is None else attributes
        goals.check_attributes("attributes", chosen)
        entries = cls(tuple(name for name in ATTRIBUTES if name in chosen))
        entries.check_named(drawn, "the task's goals name")
        return entries

    def check_named(self, named: Iterable[str], what: str) -> None:
        """Check that goals name no other attributes.

        Raises:
            ConfigError: they do.
        """
        beyond = [name for name in named if name not in self.attributes]
        if beyond:
            raise ConfigError(
                f"{what} {', '.join(beyond)}, which the attributes of HindsightGoals, "
                f"{', '.join(self.attributes)}, leave out; give more attributes"
            )

    def spaces(self, texts: spaces.Space[str]) -> dict[str, spaces.Space[Any]]:
        """See `Entries`."""
        return {name: values_space(self.attributes) for name in ("achieved_goal", "desired_goal")}

    def read(self, info: Mapping[str, Any]) -> dict[str, Any]:
        """See `Entries`."""
        if "seen" not in info:
            raise ConfigError(
                "nobody says what was seen in the newest block; the state is of an env with a reward_fn that "
                "does not read frames, so call reset without it"
            )
        self.check_named(goals.parse(info["goal"]), f"the goal {info['goal']!r} names")
        achieved, desired = (values_in(info[name], self.attributes) for name in ("seen", "goal"))
        return {"achieved_goal": achieved, "desired_goal": desired}


def rewards(achieved: Values, desired: Values) -> Rewards:
    """Return 0 where what was achieved is what was desired, and -1 elsewhere: float32 [...].

    Args:
        achieved: values as from `values_in`, int [..., A].
        desired: the same, with 0 for what may be anything.
    """
    shown = ((desired == 0) | (achieved == desired)).all(axis=-1)
    return np.asarray(shown, np.float32) - np.float32(1)


def values_space(attributes: Sequence[str] = tuple(ATTRIBUTES)) -> spaces.MultiDiscrete:
    """Return the space of `values_in`."""
    return spaces.MultiDiscrete([len(ATTRIBUTES[name]) + 1 for name in attributes])


def values_in(
    text: str, attributes: Sequence[str] = tuple(ATTRIBUTES), *, strict: bool = True
) -> npt.NDArray[np.int64]:
    """Return the values that a text names: int64 [A], 0 for none, n for an attribute's n-th value.

    Args:
        text: a goal or a prompt.
        attributes: attributes to return the values of.
        strict: whether it has to name something, and at most one value per attribute; otherwise such
            attributes are 0.

    Raises:
        ConfigError: a strict text names nothing, or two values of one attribute.
    """
    named = goals.parse(text) if strict else goals.parse_leniently(text)
    return np.array(
        [1 + ATTRIBUTES[name].index(named[name]) if name in named else 0 for name in attributes], np.int64
    )
