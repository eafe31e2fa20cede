"""Adapters around a single prompt env."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

from longlive_env.envs.vocabulary import VOCABULARIES
from longlive_env.envs.wrappers import menus, views
from longlive_env.envs.wrappers.goal_values import GoalForm, goal_as, goal_space
from longlive_env.envs.wrappers.inside import prompt_env
from longlive_env.errors import ConfigError
from longlive_env.tiny.scene import ATTRIBUTES

Env = gym.Env[Any, Any]


def check_vocabulary(world: str) -> None:
    """Pass if the attributes of scenes are known for the world of this name.

    Raises:
        ConfigError: they are not.
    """
    if world not in VOCABULARIES:
        raise ConfigError(
            f"world {world!r} has no vocabulary of attributes; use DiscretePrompts with prompts of your own"
        )


def table_of(world: str, prompts: Sequence[str] | None, partial: bool, keep: bool) -> menus.PromptTable:
    """The table that the arguments of `DiscretePrompts` describe."""
    if prompts is None or partial:
        check_vocabulary(world)
    if prompts is None:
        return menus.PromptTable(menus.attribute_prompts(), partial=True, keep=keep)
    return menus.PromptTable(prompts, partial=partial, keep=keep)


class MenuActions(gym.ActionWrapper[Any, Any, str]):
    """Actions of a menu instead of prompts.

    Args:
        env: a prompt env, wrapped or not.
        menu: the actions.
    """

    def __init__(self, env: Env, menu: menus.Menu) -> None:
        super().__init__(env)
        self.menu = menu
        self.action_space = menu.space

    def action(self, action: Any) -> str:
        """The prompt that `action` stands for."""
        return self.menu.prompt(action, prompt_env(self).rollout.prompts[0])


class DiscretePrompts(MenuActions, RecordConstructorArgs):
    """Prompts from a table; the action space is Discrete.

    Args:
        env: a prompt env, wrapped or not.
        prompts: the table. By default one entry for each value of each attribute of the tiny world's scenes,
            such as "in the forest", which changes that one and leaves the rest of the prompt as it is.
        partial: whether entries of `prompts` change the prompt in force in this way, rather than replace it.
        keep: whether action 0 keeps the prompt, in front of the table.
    """

    def __init__(
        self, env: Env, prompts: Sequence[str] | None = None, *, partial: bool = False, keep: bool = True
    ) -> None:
        RecordConstructorArgs.__init__(self, prompts=prompts, partial=partial, keep=keep)
        MenuActions.__init__(self, env, table_of(prompt_env(env).world.config.name, prompts, partial, keep))


class SlotPrompts(MenuActions, RecordConstructorArgs):
    """One number for each attribute of the tiny world's scenes; the action space is MultiDiscrete.

    0 leaves an attribute as it is in the prompt in force, n asks for its n-th value.

    Args:
        env: a prompt env, wrapped or not.
        attributes: which can be changed, of subject, colour, setting, weather and action.
    """

    def __init__(self, env: Env, attributes: Sequence[str] = tuple(ATTRIBUTES)) -> None:
        RecordConstructorArgs.__init__(self, attributes=attributes)
        check_vocabulary(prompt_env(env).world.config.name)
        MenuActions.__init__(self, env, menus.PromptSlots(attributes))


class EmbeddingPrompts(MenuActions, RecordConstructorArgs):
    """A vector in the text encoder's space, for the nearest prompt of a table; the action space is a Box.

    Args:
        env: a prompt env, wrapped or not.
        prompts: the table; None draws `count` prompts of the world's vocabulary.
        count: how many to draw.
        components: keep so many principal components of the table's embeddings; None keeps the whole space.
    """

    def __init__(
        self,
        env: Env,
        prompts: Sequence[str] | None = None,
        *,
        count: int = 256,
        components: int | None = None,
    ) -> None:
        RecordConstructorArgs.__init__(self, prompts=prompts, count=count, components=components)
        world = prompt_env(env).world
        table = menus.sampled_prompts(world.config.name, count) if prompts is None else prompts
        MenuActions.__init__(self, env, menus.PromptEmbeddings(world, table, components=components))


class FrameView(gym.ObservationWrapper[Any, Any, Any]):
    """Frames in another shape.

    Args:
        env: an env whose observations are frames.
        view: the shape.

    Raises:
        ConfigError: its observations cannot be seen so, or have their channels first already.
    """

    def __init__(self, env: Env, view: views.View) -> None:
        super().__init__(env)
        layer: gym.Env[Any, Any] = env
        while isinstance(layer, gym.Wrapper):
            check_channels_last(layer)
            layer = layer.env
        self.view = view
        self.observation_space = views.seen_as(view, env.observation_space)

    def observation(self, observation: Any) -> Any:
        """The frames in the view's shape."""
        return self.view(observation)


def check_channels_last(layer: object) -> None:
    """Pass unless a wrapper has put channels first.

    Raises:
        ConfigError: it has.
    """
    if isinstance(getattr(layer, "view", None), views.ChannelsFirst):
        raise ConfigError("channels come first already; put ChannelFirst around the other frame adapters")


class LastFrame(FrameView, RecordConstructorArgs):
    """The newest frame alone, uint8 [H, W, 3]."""

    def __init__(self, env: Env) -> None:
        RecordConstructorArgs.__init__(self)
        FrameView.__init__(self, env, views.Last())


class FramesOnChannels(FrameView, RecordConstructorArgs):
    """Frames of the block stacked on channels, oldest first, uint8 [H, W, 3 * frames].

    Args:
        env: a prompt env.
        frames: how many, at even distances, the newest included; None takes all.
    """

    def __init__(self, env: Env, frames: int | None = None) -> None:
        RecordConstructorArgs.__init__(self, frames=frames)
        FrameView.__init__(self, env, views.OnChannels(frames))


class ChannelFirst(FrameView, RecordConstructorArgs):
    """Channels before rows and columns, as torch has them; goes around the other frame adapters."""

    def __init__(self, env: Env) -> None:
        RecordConstructorArgs.__init__(self)
        FrameView.__init__(self, env, views.ChannelsFirst())


class ResizeFrames(FrameView, RecordConstructorArgs):
    """Frames of another size, uint8 [..., height, width, channels].

    Args:
        env: an env whose observations are frames with channels last.
        height: pixel rows.
        width: pixel columns.
    """

    def __init__(self, env: Env, height: int, width: int) -> None:
        RecordConstructorArgs.__init__(self, height=height, width=width)
        FrameView.__init__(self, env, views.Resized(height, width))


class GoalInObservation(gym.ObservationWrapper[Any, Any, Any], RecordConstructorArgs):
    """Observations with the task's goal: `{"frames": ..., "goal": ...}`.

    Args:
        env: a prompt env with a task; frame adapters go inside.
        form: `"values"`: one number for each attribute of the tiny world's scenes, 0 where the goal leaves it
            open. `"text"`: the goal as the task words it.

    Raises:
        ConfigError: the env has no task, or there is no such form.
    """

    def __init__(self, env: Env, form: GoalForm = "values") -> None:
        RecordConstructorArgs.__init__(self, form=form)
        gym.ObservationWrapper.__init__(self, env)
        inner = prompt_env(env)
        check_goals(inner.rules.task, inner.world.config.name, form)
        self.form = form
        self.observation_space = spaces.Dict(
            {"frames": env.observation_space, "goal": goal_space(form, inner.action_space)}
        )

    def observation(self, observation: Any) -> dict[str, Any]:
        """The observation with the present goal."""
        info = prompt_env(self).episodes.info(0)
        return {"frames": observation, "goal": goal_as(self.form, info["goal"])}


def check_goals(task: object, world: str, form: GoalForm) -> None:
    """Pass if episodes have goals that can be given in this form.

    Raises:
        ConfigError: there is no task, or goals of this world have no values.
    """
    if task is None:
        raise ConfigError("the env has no task and so no goal; make one such as LongLive/TinyGoal-v0")
    if form == "values" and world not in VOCABULARIES:
        raise ConfigError(f"goals in world {world!r} have no values; use form='text'")
