"""Adapters for vector envs, with the names and arguments of those for single envs.

Final observations of episodes, which Gymnasium's SAME_STEP mode puts into `infos["final_obs"]`, are adapted
too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorActionWrapper, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array

from longlive_env.envs.stateful import layers
from longlive_env.envs.wrappers import views
from longlive_env.envs.wrappers.dataset import VectorCollectEpisodes as CollectEpisodes
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
from longlive_env.envs.wrappers.inside import (
    Outermost,
    check_batched_infos,
    check_takes_prompts,
    prompt_envs,
)
from longlive_env.envs.wrappers.menus import Menu, PromptSlots, PromptTable
from longlive_env.envs.wrappers.recording import VectorRecordFrames as RecordFrames
from longlive_env.errors import ConfigError, PromptError
from longlive_env.tiny.scene import ATTRIBUTES

Envs = VectorEnv[Any, Any, Any]

__all__ = [
    "ChannelFirst",
    "CollectEpisodes",
    "DiscretePrompts",
    "EmbeddingPrompts",
    "FramesOnChannels",
    "GoalInObservation",
    "HindsightGoals",
    "LastFrame",
    "ProbeFeatures",
    "RecordFrames",
    "ResizeFrames",
    "SlotPrompts",
]


class MenuActions(Outermost, VectorActionWrapper[Any, Any, Any, Any]):
    """Actions of a menu instead of prompts; see `single.MenuActions`."""

    def __init__(self, envs: Envs, menu: Menu) -> None:
        super().__init__(envs)
        check_takes_prompts(envs.single_action_space)
        self.menu = menu
        self.single_action_space = menu.space
        self.action_space = batch_space(menu.space, self.num_envs)

    def actions(self, actions: Any) -> tuple[str, ...]:
        """Return the prompts that `actions`, one per world, stand for.

        Raises:
            PromptError: they are no array, or one stands for no prompt.
            ConfigError: there are more or fewer than worlds.
        """
        try:
            given = np.asarray(actions)
        except ValueError:  # of several lengths
            given = np.asarray(None)
        if given.ndim == 0:
            raise PromptError(
                f"the actions are {actions!r:.80}; expected a list of one for each of {self.num_envs} worlds"
            )
        if len(given) != self.num_envs:
            raise ConfigError(f"got {len(given)} actions for {self.num_envs} worlds; give one for each")
        in_force = prompt_envs(self).rollout.prompts
        return tuple(self.menu.prompt(action, now) for action, now in zip(given, in_force, strict=True))


class DiscretePrompts(MenuActions):
    """See `longlive_env.envs.wrappers.DiscretePrompts`."""

    def __init__(
        self, envs: Envs, prompts: Sequence[str] | None = None, *, partial: bool = False, keep: bool = True
    ) -> None:
        super().__init__(envs, PromptTable.of(prompt_envs(envs).world, prompts, partial=partial, keep=keep))


class SlotPrompts(MenuActions):
    """See `longlive_env.envs.wrappers.SlotPrompts`."""

    def __init__(self, envs: Envs, attributes: Sequence[str] = tuple(ATTRIBUTES)) -> None:
        super().__init__(envs, PromptSlots.of(prompt_envs(envs).world, attributes))


class EmbeddingPrompts(MenuActions):
    """See `longlive_env.envs.wrappers.EmbeddingPrompts`."""

    def __init__(
        self,
        envs: Envs,
        prompts: Sequence[str] | None = None,
        *,
        count: int = 256,
        components: int | None = None,
        direct: bool = False,
    ) -> None:
        world = prompt_envs(envs).world
        menu = PromptEmbeddings.of(world, prompts, count=count, components=components, direct=direct)
        super().__init__(envs, menu)


class _Observations(Outermost, VectorWrapper[Any, Any, Any, Any, Any]):
    """Adapts observations wherever they occur, in infos too."""

    def __init__(self, envs: Envs) -> None:
        super().__init__(envs)
        check_batched_infos(envs, self)

    def _adapt_space(self, single: spaces.Space[Any]) -> None:
        self.single_observation_space = single
        self.observation_space = batch_space(single, self.num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset and adapt."""
        observations, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        return self.observations(observations), infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step and adapt."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        if "final_obs" in infos:
            finals = np.full(self.num_envs, None, dtype=object)
            for world in np.flatnonzero(infos["_final_obs"]):
                finals[world] = self.final_observation(infos["final_obs"][world], infos, int(world))
            infos = {**infos, "final_obs": finals}
        return self.observations(observations), rewards, terminations, truncations, infos

    def observations(self, observations: Any) -> Any:
        """Adapt the observations of all worlds."""
        raise NotImplementedError

    def final_observation(self, observation: Any, infos: dict[str, Any], world: int) -> Any:
        """Adapt the last observation of a world's episode."""
        raise NotImplementedError


class FrameView(_Observations):
    """Frames in another shape; see `single.FrameView`."""

    def __init__(self, envs: Envs, view: views.View) -> None:
        super().__init__(envs)
        for layer in layers(envs):
            views.check_channels_last(layer)
        self.view = view
        self._adapt_space(views.seen_as(view, envs.single_observation_space))

    def observations(self, observations: Any) -> Any:
        """Frames in the view's shape."""
        return self.view(observations)

    def final_observation(self, observation: Any, infos: dict[str, Any], world: int) -> Any:
        """Frames in the view's shape."""
        return self.view(observation)


class LastFrame(FrameView):
    """See `longlive_env.envs.wrappers.LastFrame`."""

    def __init__(self, envs: Envs) -> None:
        super().__init__(envs, views.Last())


class FramesOnChannels(FrameView):
    """See `longlive_env.envs.wrappers.FramesOnChannels`."""

    def __init__(self, envs: Envs, frames: int | None = None) -> None:
        super().__init__(envs, views.OnChannels(frames))


class ChannelFirst(FrameView):
    """See `longlive_env.envs.wrappers.ChannelFirst`."""

    def __init__(self, envs: Envs) -> None:
        super().__init__(envs, views.ChannelsFirst())


class ResizeFrames(FrameView):
    """See `longlive_env.envs.wrappers.ResizeFrames`."""

    def __init__(self, envs: Envs, height: int, width: int) -> None:
        super().__init__(envs, views.Resized(height, width))


class ProbeFeatures(FrameView):
    """See `longlive_env.envs.wrappers.ProbeFeatures`."""

    def __init__(self, envs: Envs) -> None:
        config = prompt_envs(envs).world.config
        super().__init__(envs, views.Read(config.vocabulary, (config.height, config.width)))


class EntriesInObservation(_Observations):
    """Observations with entries from the worlds' infos; see `single.EntriesInObservation`."""

    def __init__(self, envs: Envs, entries: Entries) -> None:
        super().__init__(envs)
        self.entries = entries
        self._added = entries.spaces(prompt_envs(envs).single_action_space)
        self._adapt_space(spaces.Dict({entries.own: envs.single_observation_space, **self._added}))

    def observations(self, observations: Any) -> dict[str, Any]:
        """Return the observations with their entries."""
        episodes = prompt_envs(self).episodes
        read = [self.entries.read(episodes.info(world)) for world in range(self.num_envs)]
        added = {}
        for key, space in self._added.items():
            empty: Any = create_empty_array(space, self.num_envs)
            added[key] = concatenate(space, [one[key] for one in read], empty)
        return {self.entries.own: observations, **added}

    def final_observation(self, observation: Any, infos: dict[str, Any], world: int) -> dict[str, Any]:
        """Return the final observation with the entries of the episode that ended."""
        final = {name: infos["final_info"][name][world] for name in self.entries.sources}
        return {self.entries.own: observation, **self.entries.read(final)}


class GoalInObservation(EntriesInObservation):
    """See `longlive_env.envs.wrappers.GoalInObservation`."""

    def __init__(self, envs: Envs, form: GoalForm = "values", *, prompt: bool = False) -> None:
        super().__init__(envs, Goals.of(prompt_envs(envs).rules, form, prompt))


class HindsightGoals(EntriesInObservation):
    """See `longlive_env.envs.wrappers.HindsightGoals`."""

    def __init__(self, envs: Envs, attributes: Sequence[str] | None = None) -> None:
        super().__init__(envs, Hindsight.of(prompt_envs(envs).rules, attributes))

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step; rewards are those of `compute_reward`, and 0 for a world that has started instead."""
        observations, _, terminations, truncations, infos = super().step(actions)
        achieved, desired = (observations[name].copy() for name in ("achieved_goal", "desired_goal"))
        for world in np.flatnonzero(infos.get("_final_obs", ())):
            final = infos["final_obs"][world]
            achieved[world], desired[world] = final["achieved_goal"], final["desired_goal"]
        earned = self.compute_reward(achieved, desired, infos).astype(np.float64)
        if "final_obs" not in infos:
            earned[infos["block"] == 0] = 0.0
        return observations, earned, terminations, truncations, infos

    def compute_reward(self, achieved_goal: Values, desired_goal: Values, info: Any) -> Rewards:
        """See `longlive_env.envs.wrappers.HindsightGoals.compute_reward`."""
        return rewards(achieved_goal, desired_goal)
