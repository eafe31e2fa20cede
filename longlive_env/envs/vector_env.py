"""Many prompt worlds as one Gymnasium vector env: one batched engine call a step.

Shapes: N worlds, T pixel frames of a block, H rows, W columns.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from longlive_env.engine.config import RecacheMode
from longlive_env.engine.prefill import given_clips
from longlive_env.envs.batches import (
    checked_actions,
    checked_autoreset_mode,
    checked_mask,
    goal_images_of_worlds,
    goals_of_worlds,
    prompts_of_worlds,
    seeds_of_worlds,
    tiled,
    world_seeds_of,
)
from longlive_env.envs.prompts import prompt_space
from longlive_env.envs.rules import (
    RESET_OPTIONS,
    Rules,
    Start,
    check_options,
    checked_render_mode,
    draw_start,
)
from longlive_env.envs.spaces import PromptSpace
from longlive_env.envs.task import Task
from longlive_env.envs.vector_state import Actions, VectorState
from longlive_env.errors import ConfigError
from longlive_env.frames import Frames

if TYPE_CHECKING:
    from longlive_env.engine.load_options import LoadOptions
    from longlive_env.engine.world import World

Rewards = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class PromptVectorEnv(VectorState):
    """N video worlds that step together; every world plays exactly what a `PromptEnv` with its seed plays.

    Worlds have their own age, prompt and generator: a reset, a new prompt or a fork touches its own world
    alone. Actions are a sequence of N prompts, `""` keeps one. For what a world shows and says, see
    `PromptEnv`; infos are in Gymnasium's batched form.

    What becomes of a world whose episode has ended depends on `autoreset_mode`. NEXT_STEP: its next step
    ignores the action and starts an episode, within the same engine call as its neighbours' steps. SAME_STEP:
    the step that ends it also starts the next one; `final_obs` and `final_info` hold its end. This costs a
    second engine call for the worlds that ended. DISABLED: nothing, until
    `reset(options={"reset_mask": ended})`.

    Args:
        num_envs: N.
        world: name of a world, a folder of weights, or a world that is already loaded.
        device: where a world that is not yet loaded goes, as torch spells it; "cpu" by default.
        prompt: prompt of every reset without one of its own: one for all worlds, or N; None samples it.
        task: sets goals and gives rewards, as in `PromptEnv`.
        recache: what a new prompt does to the memory of earlier frames; other than `"full"` is for studies.
        render_mode: as in `PromptEnv`; `render` returns N results, and the window shows all worlds.
        max_episode_steps: an episode is truncated after so many steps; None and -1 mean no limit.
            `gym.make_vec` gives the limit that an id was registered with, where this is left out, but hands a
            None on as it is; to `gym.make` None means the registered limit, and -1 none.
        autoreset_mode: a member of `gymnasium.vector.AutoresetMode` or its value.
        load: `precision`, `kv_precision`, `memory`, `compile`, `codec`, `steps` and `rope` of a world that is
            not yet loaded, as `World.load` takes them. A compiled world is warmed up here.

    Raises:
        LongLiveError: the world cannot be loaded, or an argument is impossible.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["human", "rgb_array", "rgb_array_list"],
        "render_fps": 16,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        world: str | os.PathLike[str] | World = "tiny",
        *,
        device: str | None = None,
        prompt: str | Sequence[str | None] | None = None,
        task: str | Mapping[str, Any] | Task | None = None,
        recache: RecacheMode = "full",
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        **load: Unpack[LoadOptions],
    ) -> None:
        if num_envs < 1:
            raise ConfigError(f"num_envs is {num_envs}; expected 1 or more")
        self.num_envs = num_envs
        self.render_mode = checked_render_mode(render_mode, self.metadata["render_modes"])
        self.autoreset_mode = checked_autoreset_mode(autoreset_mode)
        # In other modes worlds that ended start as a batch of their own, beside the running ones.
        states = 1 if self.autoreset_mode is AutoresetMode.NEXT_STEP else 2
        self.rules = Rules.of(world, device, task, recache, max_episode_steps, num_envs, states, **load)
        self.world = self.rules.world
        self.metadata = {  # type: ignore[misc]
            **self.metadata,
            "render_fps": self.world.config.fps,
            "autoreset_mode": self.autoreset_mode,
        }
        self.single_observation_space = self.rules.observation_space
        self.single_action_space: PromptSpace = prompt_space(self.world)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._default_prompts = [
            None if one is None else self.rules.starting_prompt(one)
            for one in prompts_of_worlds(prompt, num_envs)
        ]
        self._generators, self._seeds = seeds_of_worlds(None, num_envs)

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The random generator of each world."""
        return tuple(self._generators)

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """What each world's generator was seeded with; -1 where that is unknown."""
        return tuple(self._seeds)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Frames, dict[str, Any]]:
        """Start all worlds, or some, anew and generate their first blocks in one batch.

        Args:
            seed: world `i` is seeded with `seed + i`, or with the `i`-th of a sequence; None goes on with its
                generator.
            options: `"reset_mask"`: bool `[N]`, which worlds start anew, beside neighbours that stand still;
                all without it. `"prompt"`: one for all, or N. `"frames"`: a clip for all, `[N, T, H, W, 3]`,
                or a sequence of N clips or Nones; see `PromptEnv.reset`. `"world_seed"`: of the noise, N of
                them, or one for the first world, on from which the others count. `"state"`: what
                `clone_state` returned, to go on from instead, as `restore_state` does. Also the options of
                the task, for all worlds; `"goal"` may be N of them, and so may `"goal_image"`, as a list or
                as blocks `[N, T, H, W, 3]`. They hold for this reset, not for later ones that happen by
                themselves.

        Returns:
            Observations of all worlds, and infos of those that started.

        Raises:
            PromptError: a prompt is not valid.
            ConfigError: an option is unknown or impossible; no world has moved.
            SnapshotError: the state is not one of this env, or holds too many worlds or too few.
        """
        check_options(options or {}, ("reset_mask", *RESET_OPTIONS, *self.rules.task_options))
        options = dict(options or {})
        mask = checked_mask(options.pop("reset_mask", None), self.num_envs)
        chosen = [world for world in range(self.num_envs) if mask[world]]
        if len(chosen) < self.num_envs:
            self.episodes  # noqa: B018  there must be neighbours
        generators, seeds = seeds_of_worlds(seed, self.num_envs, self._generators, self._seeds, chosen)
        if "state" in options:
            self._generators, self._seeds = generators, seeds
            return self.restore_state(options["state"], chosen)
        prompts = prompts_of_worlds(options.pop("prompt", None), self.num_envs)
        world_seeds = world_seeds_of(options.pop("world_seed", None), self.num_envs)
        clips = given_clips(options.pop("frames", None), self.num_envs, self.world.config)
        goals = goals_of_worlds(options.pop("goal", None), self.num_envs)
        pictures = goal_images_of_worlds(options.pop("goal_image", None), self.num_envs)
        starts = {
            world: draw_start(
                self.rules,
                generators[world],
                {
                    **options,
                    "prompt": prompts[world],
                    "frames": clips[world],
                    "world_seed": world_seeds[world],
                    **({} if goals[world] is None else {"goal": goals[world]}),
                    **({} if pictures[world] is None else {"goal_image": pictures[world]}),
                },
                self._default_prompts[world],
            )
            for world in chosen
        }
        self._generators, self._seeds = generators, seeds
        self.closed = False  # what is started again can be closed again
        if len(chosen) == self.num_envs:
            self._start(list(starts.values()))
        else:
            self.episodes.timing = {}
            self.episodes.restart(starts)
        self._show()
        return self.episodes.observations.copy(), self._infos(chosen)

    def step(self, actions: Actions) -> tuple[Frames, Rewards, Flags, Flags, dict[str, Any]]:
        """Generate the next block of every world.

        Args:
            actions: a prompt for each world, see `PromptEnv.step`; `""`, or the prompt in force, changes
                nothing.

        Raises:
            PromptError: an action is not valid, or `actions` is not a sequence of N; no world has moved.
            gymnasium.error.ResetNeeded: a world has ended and resets are disabled; or there was no reset yet,
                or none of all worlds since a step that has failed in another way, see `PromptEnv.step`.
        """
        episodes, prompts = self.episodes, checked_actions(actions, self.num_envs)
        ended = [int(world) for world in np.flatnonzero(episodes.ended)]
        if ended and self.autoreset_mode is AutoresetMode.DISABLED:
            raise gym.error.ResetNeeded(
                f"the episodes of worlds {ended} have ended; call "
                'envs.reset(options={"reset_mask": terminations | truncations}) first'
            )
        outcome = episodes.step(prompts, ended, self._next_start)
        infos: dict[str, Any] = {}
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            infos = self._start_ended()
        self._show()
        infos = self._infos(range(self.num_envs), infos)
        return episodes.observations.copy(), outcome.rewards, outcome.terminated, outcome.truncated, infos

    def render(self) -> tuple[Any, ...] | None:
        """For each world its last frame, or a list of every frame of the step; None in other modes."""
        worlds = range(self.num_envs)
        if self.render_mode == "rgb_array":
            return tuple(self.episodes.frames(world)[-1].copy() for world in worlds)
        if self.render_mode == "rgb_array_list":
            return tuple([frame.copy() for frame in self.episodes.frames(world)] for world in worlds)
        return None

    def close_extras(self, **kwargs: Any) -> None:
        """Drop the running worlds and close the window; the weights stay cached for the process."""
        self._drop()

    def _next_start(self, world: int) -> Start:
        """How the next episode of a world starts, when it does so by itself."""
        return draw_start(self.rules, self._generators[world], {}, self._default_prompts[world])

    def _start_ended(self) -> dict[str, Any]:
        """Start worlds that have just ended anew; infos of how they ended."""
        episodes, infos = self.episodes, dict[str, Any]()
        ended = [int(world) for world in np.flatnonzero(episodes.ended)]
        for world in ended:
            final = {"final_obs": episodes.observations[world].copy(), "final_info": episodes.info(world)}
            infos = self._add_info(infos, final, world)
        if ended:
            with episodes.moving():  # a failure would keep what the step gave from the caller
                episodes.restart({world: self._next_start(world) for world in ended})
        return infos

    def _show(self) -> None:
        """Play the newest blocks of all worlds side by side in a window."""
        if self.render_mode == "human":
            self._play(tiled(self.episodes.observations), f"{self.num_envs} worlds")
