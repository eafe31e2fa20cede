"""Menus: numbers that stand for prompts, for agents that cannot handle text.

A menu has a Gymnasium space and turns a member of it into a prompt. It is stateless: all that it needs from a
world is the prompt in force, so worlds can be cloned and restored freely.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from longlive_env.envs import goals
from longlive_env.envs.prompts import checked_prompt
from longlive_env.envs.vocabulary import vocabulary_of
from longlive_env.errors import ConfigError, PromptError
from longlive_env.tiny.scene import ATTRIBUTES

if TYPE_CHECKING:
    from longlive_env.engine.world import World


class Menu(Protocol):
    """Maps actions of some space to prompts."""

    @property
    def space(self) -> spaces.Space[Any]:
        """Action space of one world."""

    def prompt(self, action: Any, now: str) -> str:
        """Return the prompt that `action` stands for; `""` keeps the one in force.

        Args:
            action: member of `space`.
            now: prompt in force.

        Raises:
            PromptError: there is no such action.
        """


def check_vocabulary(world: World) -> None:
    """Check that the attributes of this world's scenes are known.

    Raises:
        ConfigError: they are not.
    """
    config = world.config
    if not vocabulary_of(config.vocabulary).attributes:
        raise ConfigError(
            f"the vocabulary of world {config.name!r}, {config.vocabulary!r}, has no attributes; use "
            "DiscretePrompts with prompts of your own"
        )


def attribute_prompts(*attributes: str) -> tuple[str, ...]:
    """Return one text per value of the given attributes (by default all) of the tiny world's scenes.

    Raises:
        ConfigError: there is no such attribute, or it is given twice.
    """
    names = attributes or tuple(ATTRIBUTES)
    goals.check_attributes("the list of attributes", names)
    return tuple(goals.describe({name: value}) for name in names for value in ATTRIBUTES[name])


def with_values(prompt: str, values: Mapping[str, str]) -> str:
    """Set some attributes of `prompt`, in plain words; `prompt` itself if it has these values already.

    The other attributes keep the values that `prompt` names, the first if it names several.
    """
    if values.items() <= goals.parse_leniently(prompt).items():
        return prompt
    return goals.describe({**goals.parse_first(prompt), **values})


def checked_prompts(prompts: Sequence[str]) -> tuple[str, ...]:
    """Return `prompts`, checked to be a list of texts.

    Raises:
        ConfigError: it is not.
    """
    if isinstance(prompts, str) or not isinstance(prompts, Iterable):
        raise ConfigError(f"got the prompts {prompts!r}; expected a list of texts")
    for one in prompts:
        if not isinstance(one, str):
            raise ConfigError(f"the list of prompts holds {one!r} ({type(one).__name__}); expected texts")
    return tuple(prompts)


class PromptTable:
    """Numbered list of prompts. The space is Discrete.

    Args:
        prompts: prompts of the list.
        partial: whether the prompts name only what changes, such as "in the snow", and leave the rest of the
            prompt in force as it is. Only for prompts about the tiny world's scenes.
        keep: whether action 0 keeps the prompt in force and the list starts at action 1.

    Raises:
        ConfigError: the list is empty or holds something other than texts, or a partial prompt names nothing.
    """

    def __init__(self, prompts: Sequence[str], *, partial: bool = False, keep: bool = True) -> None:
        listed = checked_prompts(prompts)
        if not listed:
            raise ConfigError("the list of prompts is empty; give one or more")
        self.prompts = ("", *listed) if keep else listed
        self._values = None
        if partial:
            self._values = [goals.parse(one, "partial prompt") if one else {} for one in self.prompts]
        self.space = spaces.Discrete(len(self.prompts))

    @classmethod
    def of(cls, world: World, prompts: Sequence[str] | None, *, partial: bool, keep: bool) -> PromptTable:
        """Create the table for a world; without `prompts`, with one for each attribute value of its scenes.

        Raises:
            ConfigError: as above, or scenes of this world have no attributes to name.
            PromptError: a prompt is none that the world reads.
        """
        if prompts is None or partial:
            check_vocabulary(world)
        if prompts is None:
            return cls(attribute_prompts(), partial=True, keep=keep)
        table = cls(prompts, partial=partial, keep=keep)
        for one in () if partial else table.prompts:
            checked_prompt(world, one)
        return table

    def prompt(self, action: Any, now: str) -> str:
        """See `Menu`."""
        index = _integers(action, (), self.prompts)
        if self._values is None:
            return self.prompts[int(index)]
        return with_values(now, self._values[int(index)]) if self._values[int(index)] else ""


class PromptSlots:
    """One number per attribute of the tiny world's scenes; 0 leaves it as it is.

    The space is MultiDiscrete.

    Args:
        attributes: attributes that can be changed.

    Raises:
        ConfigError: there is no such attribute, or it is given twice.
    """

    def __init__(self, attributes: Sequence[str] = tuple(ATTRIBUTES)) -> None:
        goals.check_attributes("the list of slots", attributes)
        self.attributes = tuple(attributes)
        self.space = spaces.MultiDiscrete([len(ATTRIBUTES[name]) + 1 for name in self.attributes])

    @classmethod
    def of(cls, world: World, attributes: Sequence[str]) -> PromptSlots:
        """Create the slots for a world.

        Raises:
            ConfigError: as above, or scenes of this world have no attributes to name.
        """
        check_vocabulary(world)
        return cls(attributes)

    def prompt(self, action: Any, now: str) -> str:
        """See `Menu`."""
        values = {}
        numbers = _integers(action, (len(self.attributes),))
        for name, number in zip(self.attributes, numbers.tolist(), strict=True):
            known = ATTRIBUTES[name]
            if not 0 <= number <= len(known):
                raise PromptError(f"the {name} of action {numbers.tolist()} is not from 0 to {len(known)}")
            if number:
                values[name] = known[number - 1]
        return with_values(now, values) if values else ""


def _integers(
    action: Any, shape: tuple[int, ...], entries: Sequence[str] | None = None
) -> npt.NDArray[np.int64]:
    """Return `action` as integers of a shape, each an index into `entries` if given.

    Raises:
        PromptError: it has another shape, is not an integer, or stands for no entry.
    """
    numbers = np.asarray(action)
    if numbers.shape != shape or not np.issubdtype(numbers.dtype, np.integer):
        wanted = f"{shape[0]} integers" if shape else "an integer"
        raise PromptError(f"the action is {action!r}; expected {wanted}")
    if entries is not None and not 0 <= int(numbers) < len(entries):
        raise PromptError(
            f"the action is {action!r}; expected 0 to {len(entries) - 1}, a prompt of the table"
        )
    return numbers.astype(np.int64)
