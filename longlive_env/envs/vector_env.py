"""Many prompt worlds as one Gymnasium vector env, with one batched engine call per step.

Shapes: N worlds, T pixel frames per block, H rows, W columns.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from longlive_env.engine.config import RecacheMode
from longlive_env.envs.batches import (
    checked_actions,
    checked_autoreset_mode,
    checked_mask,
    for_worlds,
    options_of_worlds,
    seeds_of_worlds,
)
from longlive_env.envs.checks import is_number
from longlive_env.envs.prompts import prompt_space
from longlive_env.envs.rules import (
    RESET_OPTIONS,
    Rules,
    Start,
    check_names,
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
    """N video worlds that step together; each plays, up to rounding, what a `PromptEnv` with its seed plays.

    Each world has its own age, prompt and generator: a reset, a new prompt or a fork affects no other world.
    Actions are a sequence of N prompts; `""` keeps the one in force. See `PromptEnv` for observations and
    info; infos are in Gymnasium's batched form.

    `autoreset_mode` says what happens to a world whose episode has ended. NEXT_STEP: its next step ignores
    the action and starts an episode, in the same engine call as the other worlds' steps. SAME_STEP: the step
    that ends the episode also starts the next one, at the cost of a second engine call for the worlds that
    ended; `final_obs` and `final_info` hold the end. DISABLED: nothing, until `reset(options={"reset_mask":
    ended})`.

    Args:
        num_envs: number of worlds, N.
        world: name of a world, a folder of weights, or a world that is already loaded.
        device: torch device for a world that is not loaded yet; "cpu" by default.
        prompt: starting prompt of resets that pass none: one for all worlds, or N; None samples one.
        task: what sets goals and gives rewards, as in `PromptEnv`.
        recache: what a new prompt does to the memory of earlier frames; values other than `"full"` are for
            studies.
        render_mode: as in `PromptEnv`; `render` returns N results, and the window shows all worlds.
        max_episode_steps: number of steps after which an episode is truncated; None and -1 mean no limit. If
            it is left out, `gym.make_vec` passes the registered limit of the id, but it passes None on as it
            is; to `gym.make`, None means the registered limit and -1 means no limit.
        autoreset_mode: a member of `gymnasium.vector.AutoresetMode` or its value.
        load: `precision`, `kv_precision`, `memory`, `compile`, `codec`, `steps` and `rope` for a world that
            is not loaded yet, as in `World.load`. A compiled world is warmed up here.

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
        check_names(PromptVectorEnv, load)
        if not is_number(num_envs, 1, whole=True):
            raise ConfigError(f"num_envs is {num_envs!r}; expected a whole number from 1 on")
        self.num_envs = num_envs = int(num_envs)
        self.render_mode = checked_render_mode(render_mode, self.metadata["render_modes"])
        self.autoreset_mode = checked_autoreset_mode(autoreset_mode)
        # In other modes, worlds that ended restart as a separate batch, beside the running ones.
        states = 1 if self.autoreset_mode is AutoresetMode.NEXT_STEP else 2
        self.rules = Rules.of(world, device, task, recache, max_episode_steps, num_envs, states, **load)
        self.world = self.rules.world
        self.metadata = {  # type: ignore[misc]
            **self.metadata,
            "render_fps": self.world.config.fps,
            "autoreset_mode": self.autoreset_mode,
        }
        self.single_observation_space = self.rules.observation_space
        self.single_action_space: PromptSpace = prompt_space(self.world.config)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._default_prompts = [
            None if one is None else self.rules.starting_prompt(one)
            for one in for_worlds(prompt, num_envs, "prompts")
        ]
        drawn = [seeding.np_random() for _ in range(num_envs)]
        self._generators = [generator for generator, _ in drawn]
        self._seeds = [seed for _, seed in drawn]

    @property  # type: ignore[override]
    def np_random(self) -> tuple[np.random.Generator, ...]:
        """The random generator of each world; a sequence of N others can be assigned.

        Raises:
            ConfigError: on assignment, if it is something else.
        """
        return tuple(self._generators)

    @np_random.setter
    def np_random(self, value: Any) -> None:
        found = list(value) if isinstance(value, Sequence) else [value]
        if len(found) != self.num_envs or not all(isinstance(one, np.random.Generator) for one in found):
            raise ConfigError(f"np_random is {value!r:.60}; expected {self.num_envs} generators, one a world")
        self._generators, self._seeds = found, [-1] * self.num_envs

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seed of each world's generator; -1 if unknown."""
        return tuple(self._seeds)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Frames, dict[str, Any]]:
        """Start new episodes in all or some worlds and generate their first blocks in one batch.

        Args:
            seed: world `i` is seeded with `seed + i`, or with item `i` of a sequence; None keeps its
                generator.
            options: `"reset_mask"`: bool `[N]`, the worlds to reset, while the others stand still; all by
                default. `"prompt"`: one for all, or N. `"frames"`: a clip for all, `[N, T, H, W, 3]`, or a
                sequence of N clips or Nones; see `PromptEnv.reset`. `"world_seed"`: N seeds of the noise, or
                one seed for the first world, from which the others count up. `"state"`: a state from
                `clone_state` to resume instead, as `restore_state` does. Also the options of the task, for
                all worlds; `"goal"` may be N goals, and `"goal_image"` N pictures, as a list or as blocks
                `[N, T, H, W, 3]`. Options apply to this reset, not to later automatic ones.

        Returns:
            Observations of all worlds, and infos of those that started.

        Raises:
            PromptError: a prompt is not valid.
            ConfigError: an option is unknown or impossible; no world has moved.
            SnapshotError: the state does not fit this env, or holds too many or too few worlds.
        """
        options = {} if options is None else options
        check_options(options, ("reset_mask", *RESET_OPTIONS, *self.rules.task_options))
        mask = checked_mask(options.get("reset_mask"), self.num_envs)
        chosen = [world for world in range(self.num_envs) if mask[world]]
        if len(chosen) < self.num_envs:
            self.check_running()  # there must be neighbours
        generators, seeds = seeds_of_worlds(seed, self._generators, self._seeds, chosen)
        if "state" in options:
            before = self._generators, self._seeds
            self._generators, self._seeds = generators, seeds
            try:
                return self.restore_state(options["state"], chosen)
            except Exception:
                self._generators, self._seeds = before
                raise
        given = options_of_worlds(options, self.num_envs, self.world.config)
        starts = {
            world: draw_start(self.rules, generators[world], given[world], self._default_prompts[world])
            for world in chosen
        }
        self._generators, self._seeds = generators, seeds
        self.closed = False  # a restarted env can be closed again
        if len(chosen) == self.num_envs:
            self._start(list(starts.values()))
        else:
            self.episodes.timing = {}
            self.episodes.restart(starts)
        self._collect(chosen, begun=True)
        self._show()
        return self.episodes.observations.copy(), self._infos(chosen)

    def step(self, actions: Actions) -> tuple[Frames, Rewards, Flags, Flags, dict[str, Any]]:
        """Generate the next block of every world.

        Args:
            actions: one prompt per world, see `PromptEnv.step`; `""` or the prompt in force changes nothing.

        Raises:
            PromptError: an action is not valid, or `actions` is not a sequence of N; no world has moved.
            gymnasium.error.ResetNeeded: a world has ended and autoreset is disabled; or there was no reset
                yet, or none of all worlds since a step that failed for another reason, see `PromptEnv.step`.
        """
        episodes, prompts = self.episodes, checked_actions(actions, self.num_envs)
        ended = [int(world) for world in np.flatnonzero(episodes.ended)]
        if ended and self.autoreset_mode is AutoresetMode.DISABLED:
            raise gym.error.ResetNeeded(
                f"the episodes of worlds {ended} have ended; call "
                'envs.reset(options={"reset_mask": terminations | truncations}) first'
            )
        outcome = episodes.step(prompts, ended, self._next_start)
        self._collect(range(self.num_envs), restarted=ended)
        ends = self._start_ended() if self.autoreset_mode is AutoresetMode.SAME_STEP else {}
        self._show()
        infos = {**ends, **self._infos(range(self.num_envs))}
        return episodes.observations.copy(), outcome.rewards, outcome.terminated, outcome.truncated, infos

    def render(self) -> tuple[Any, ...] | None:
        """Return each world's last frame, or a list of its frames since the last call or reset; else None.

        A world that resets itself goes on with its list, which keeps the newest of its ended episodes.
        """
        episodes, worlds = self.episodes, range(self.num_envs)
        if self.render_mode == "rgb_array":
            return tuple(episodes.frames(world)[-1].copy() for world in worlds)
        if self.render_mode == "rgb_array_list":
            return tuple(self._unseen(world) for world in worlds)
        return None

    def close_extras(self, **kwargs: Any) -> None:
        """Drop the running worlds and close the window; the weights stay cached in the process."""
        self._drop()

    def _next_start(self, world: int) -> Start:
        """Draw how a world's next episode starts on an automatic reset."""
        return draw_start(self.rules, self._generators[world], {}, self._default_prompts[world])

    def _start_ended(self) -> dict[str, Any]:
        """Restart worlds that have just ended; returns infos about how they ended."""
        episodes, over = self.episodes, self.episodes.ended
        ended = [int(world) for world in np.flatnonzero(over)]
        if not ended:
            return {}
        final_obs = np.full(self.num_envs, None, object)
        for world in ended:
            final_obs[world] = episodes.observations[world].copy()
        final_info = self._infos(ended)
        with episodes.moving():  # on failure the caller would never get the step's results
            episodes.restart({world: self._next_start(world) for world in ended})
        self._collect(ended, restarted=ended)
        return {
            "final_obs": final_obs,
            "_final_obs": over,
            "final_info": final_info,
            "_final_info": over.copy(),
        }
