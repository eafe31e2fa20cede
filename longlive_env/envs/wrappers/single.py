"""Adapters around a single prompt env."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

from longlive_env.envs.seat import Env
from longlive_env.envs.stateful import layers
from longlive_env.envs.wrappers import views
from longlive_env.envs.wrappers.embeddings import PromptEmbeddings
from longlive_env.envs.wrappers.goal_values import (
    Entries,
    GoalForm,
    Goals,
    Hindsight,
    Rewards,
    Values,
    rewards,
)
from longlive_env.envs.wrappers.inside import check_takes_prompts, prompt_env
from longlive_env.envs.wrappers.menus import Menu, PromptSlots, PromptTable
from longlive_env.tiny.scene import ATTRIBUTES


class MenuActions(gym.ActionWrapper[Any, Any, str]):
    """Actions of a menu instead of prompts.

    Args:
        env: prompt env, wrapped or not.
        menu: menu of actions.

    Raises:
        ConfigError: the env takes other actions than prompts.
    """

    def __init__(self, env: Env, menu: Menu) -> None:
        super().__init__(env)
        check_takes_prompts(env.action_space)
        self.menu = menu
        self.action_space = menu.space

    def action(self, action: Any) -> str:
        """Return the prompt that `action` stands for."""
        return self.menu.prompt(action, prompt_env(self).rollout.prompts[0])


class DiscretePrompts(MenuActions, RecordConstructorArgs):
    """Prompts from a table; the action space is Discrete.

    Args:
        env: prompt env, wrapped or not.
        prompts: prompts of the table. By default, one entry for each value of each attribute of the tiny
            world's scenes, such as "in the forest"; it changes that attribute and leaves the rest of the
            prompt as it is.
        partial: whether entries of `prompts` change the prompt in force in this way, rather than replace it.
        keep: whether action 0 keeps the prompt in force and the table starts at action 1.
    """

    def __init__(
        self, env: Env, prompts: Sequence[str] | None = None, *, partial: bool = False, keep: bool = True
    ) -> None:
        RecordConstructorArgs.__init__(self, prompts=prompts, partial=partial, keep=keep)
        MenuActions.__init__(
            self, env, PromptTable.of(prompt_env(env).world, prompts, partial=partial, keep=keep)
        )


class SlotPrompts(MenuActions, RecordConstructorArgs):
    """One number for each attribute of the tiny world's scenes; the action space is MultiDiscrete.

    0 keeps the attribute as in the prompt in force; n selects its n-th value.

    Args:
        env: prompt env, wrapped or not.
        attributes: attributes that can be changed, out of subject, colour, setting, weather and action.
    """

    def __init__(self, env: Env, attributes: Sequence[str] = tuple(ATTRIBUTES)) -> None:
        RecordConstructorArgs.__init__(self, attributes=attributes)
        MenuActions.__init__(self, env, PromptSlots.of(prompt_env(env).world, attributes))


class EmbeddingPrompts(MenuActions, RecordConstructorArgs):
    """A vector in the text encoder's space; the action space is a Box.

    Args:
        env: prompt env, wrapped or not.
        prompts: table of prompts; a vector stands for the nearest one. None draws `count` prompts from the
            world's vocabulary.
        count: number of prompts to draw.
        components: number of principal components of the table's embeddings to keep; None keeps the whole
            space.
        direct: whether a vector conditions the world directly, rather than through the nearest prompt; see
            `embeddings.PromptEmbeddings`.
    """

    def __init__(
        self,
        env: Env,
        prompts: Sequence[str] | None = None,
        *,
        count: int = 256,
        components: int | None = None,
        direct: bool = False,
    ) -> None:
        RecordConstructorArgs.__init__(
            self, prompts=prompts, count=count, components=components, direct=direct
        )
        world = prompt_env(env).world
        menu = PromptEmbeddings.of(world, prompts, count=count, components=components, direct=direct)
        MenuActions.__init__(self, env, menu)


class FrameView(gym.ObservationWrapper[Any, Any, Any]):
    """Frames in another shape.

    Args:
        env: env whose observations are frames.
        view: view that reshapes them.

    Raises:
        ConfigError: the view does not fit the observations, or their channels already come first.
    """

    def __init__(self, env: Env, view: views.View) -> None:
        super().__init__(env)
        for layer in layers(env):
            views.check_channels_last(layer)
        self.view = view
        self.observation_space = views.seen_as(view, env.observation_space)

    def observation(self, observation: Any) -> Any:
        """Return the frames in the view's shape."""
        return self.view(observation)


class LastFrame(FrameView, RecordConstructorArgs):
    """The newest frame alone, uint8 [H, W, 3]."""

    def __init__(self, env: Env) -> None:
        RecordConstructorArgs.__init__(self)
        FrameView.__init__(self, env, views.Last())


class FramesOnChannels(FrameView, RecordConstructorArgs):
    """Frames of the block stacked on channels, oldest first, uint8 [H, W, 3 * frames].

    Args:
        env: prompt env.
        frames: number of evenly spaced frames, the newest included; None takes all.
    """

    def __init__(self, env: Env, frames: int | None = None) -> None:
        RecordConstructorArgs.__init__(self, frames=frames)
        FrameView.__init__(self, env, views.OnChannels(frames))


class ChannelFirst(FrameView, RecordConstructorArgs):
    """Channels before rows and columns, as in torch; apply it after the other frame adapters."""

    def __init__(self, env: Env) -> None:
        RecordConstructorArgs.__init__(self)
        FrameView.__init__(self, env, views.ChannelsFirst())


class ResizeFrames(FrameView, RecordConstructorArgs):
    """Frames of another size, uint8 [..., height, width, channels].

    Args:
        env: env whose observations are frames with channels last.
        height: pixel rows.
        width: pixel columns.
    """

    def __init__(self, env: Env, height: int, width: int) -> None:
        RecordConstructorArgs.__init__(self, height=height, width=width)
        FrameView.__init__(self, env, views.Resized(height, width))


class ProbeFeatures(FrameView, RecordConstructorArgs):
    """The probe's reading of the block instead of its frames: float32 [35], from 0 to 1.

    The probability of each value of subject, colour, setting, weather and action, in the order of
    `longlive_env.tiny.scene.ATTRIBUTES`. Rewards of tasks come from the same probe.

    Args:
        env: prompt env of the tiny world.

    Raises:
        ConfigError: the probe cannot read the env's world, or the observations are not blocks of frames of
            the world's size.
    """

    def __init__(self, env: Env) -> None:
        RecordConstructorArgs.__init__(self)
        config = prompt_env(env).world.config
        FrameView.__init__(self, env, views.Read(config.vocabulary, (config.height, config.width)))


class EntriesInObservation(gym.ObservationWrapper[Any, Any, Any]):
    """Observations with entries from the world's info.

    Args:
        env: prompt env, wrapped or not.
        entries: entries to add.
    """

    def __init__(self, env: Env, entries: Entries) -> None:
        super().__init__(env)
        self.entries = entries
        added = entries.spaces(prompt_env(env).action_space)
        self.observation_space = spaces.Dict({entries.own: env.observation_space, **added})

    def observation(self, observation: Any) -> dict[str, Any]:
        """Return the observation with its entries."""
        return {self.entries.own: observation, **self.entries.read(prompt_env(self).episodes.info(0))}


class GoalInObservation(EntriesInObservation, RecordConstructorArgs):
    """Observations with the task's goal: `{"frames": ..., "goal": ...}`.

    Args:
        env: prompt env with a task; apply frame adapters first.
        form: `"values"`: one number for each attribute of the tiny world's scenes, 0 if the goal leaves it
            open. `"text"`: the goal as the task words it.
        prompt: whether to add `"prompt"`, the prompt in force in the same form.

    Raises:
        ConfigError: the env has no task, or there is no such form.
    """

    def __init__(self, env: Env, form: GoalForm = "values", *, prompt: bool = False) -> None:
        RecordConstructorArgs.__init__(self, form=form, prompt=prompt)
        EntriesInObservation.__init__(self, env, Goals.of(prompt_env(env).rules, form, prompt))


class HindsightGoals(EntriesInObservation, RecordConstructorArgs):
    """A goal env for hindsight experience replay (HER, arXiv 1707.01495), as Stable-Baselines3 expects it.

    Observations are `{"observation": ..., "achieved_goal": ..., "desired_goal": ...}`: the env's own, what
    the probe sees in the newest block, and the goal. Both are one number for each of `attributes`; in a goal,
    0 leaves one open. The reward is 0 for a block that shows the goal and -1 for any other, in place of the
    task's, whose costs and shaping a goal that is set afterwards would change. Episodes end as the task says,
    once the probe is sure; a block may earn 0 before that. With a `threshold` below 0.9, one may end with -1.

    Args:
        env: prompt env with the goal task; apply frame adapters first.
        attributes: attributes that goals name, out of subject, colour, setting, weather and action; by
            default those that the task's drawn goals name.

    Raises:
        ConfigError: the env has another task, or one with a `reward_fn` that does not say what it sees; or
            `attributes` are not attributes, or lack one that drawn goals name. From `reset`, if a given goal
            names another attribute.
    """

    def __init__(self, env: Env, attributes: Sequence[str] | None = None) -> None:
        RecordConstructorArgs.__init__(self, attributes=attributes)
        EntriesInObservation.__init__(self, env, Hindsight.of(prompt_env(env).rules, attributes))

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Step; the reward is that of `compute_reward`."""
        observation, _, terminated, truncated, info = super().step(action)
        reward = self.compute_reward(observation["achieved_goal"], observation["desired_goal"], info)
        return observation, float(reward), terminated, truncated, info

    def compute_reward(self, achieved_goal: Values, desired_goal: Values, info: Any) -> Rewards:
        """Return 0 where what was achieved shows the desired goal, else -1: float32 [...].

        Args:
            achieved_goal: int [..., A], A attributes.
            desired_goal: int [..., A].
            info: not used.
        """
        return rewards(achieved_goal, desired_goal)
