"""Goals and prompts in observations, as numbers for agents that cannot handle text."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from longlive_env.envs import goals
from longlive_env.envs.rules import Rules
from longlive_env.envs.vocabulary import VOCABULARIES
from longlive_env.errors import ConfigError
from longlive_env.tiny.scene import ATTRIBUTES

GoalForm = Literal["values", "text"]


@dataclass(frozen=True)
class Goals:
    """The entries of an observation beside its frames.

    Attributes:
        form: `"values"` (one number for each attribute of the tiny world's scenes, 0 where the text leaves it
            open) or `"text"`.
        prompt: whether there is an entry for the prompt in force, beside the goal.
    """

    form: GoalForm
    prompt: bool = False

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
        if form == "values" and rules.world.config.name not in VOCABULARIES:
            raise ConfigError(f"goals in world {rules.world.config.name!r} have no values; use form='text'")
        return cls(form, prompt)

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the entries in the observation."""
        return ("goal", "prompt") if self.prompt else ("goal",)

    def beside(self, frames: spaces.Space[Any], texts: spaces.Space[str]) -> spaces.Dict:
        """Return the space of observations: `frames` and the entries beside them."""
        numbers = spaces.MultiDiscrete([len(values) + 1 for values in ATTRIBUTES.values()])
        said = texts if self.form == "text" else numbers
        # Copies, since each space holds its own random generator.
        return spaces.Dict({"frames": frames, **{key: copy.deepcopy(said) for key in self.keys}})

    def read(self, info: Mapping[str, Any]) -> dict[str, Any]:
        """Read the entries from a world's info.

        Raises:
            ConfigError: the task gives no goal.
        """
        if "goal" not in info:
            raise ConfigError("the task says no goal; a Verdict's info has to hold one, under 'goal'")
        if self.form == "text":
            return {key: info[key] for key in self.keys}
        try:
            return {key: values_in(info[key], strict=key == "goal") for key in self.keys}
        except ConfigError as error:
            raise ConfigError(f"{error}; or give texts: GoalInObservation(form='text')") from error


def values_in(text: str, *, strict: bool = True) -> npt.NDArray[np.int64]:
    """Return the values that a text names: int64, one per attribute, 0 for none, n for the n-th value.

    Args:
        text: a goal or a prompt.
        strict: whether it has to name something, and at most one value per attribute; otherwise such
            attributes are 0.

    Raises:
        ConfigError: a strict text names nothing, or two values of one attribute.
    """
    named = goals.parse(text) if strict else goals.parse_leniently(text)
    return np.array(
        [1 + values.index(named[name]) if name in named else 0 for name, values in ATTRIBUTES.items()],
        np.int64,
    )
