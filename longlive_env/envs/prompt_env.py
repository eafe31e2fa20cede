"""A Gymnasium env whose actions are prompts and whose steps generate blocks of video.

Shapes: T pixel frames per block, H rows, W columns.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import gymnasium as gym
from gymnasium.vector import AutoresetMode

from longlive_env.engine.config import RecacheMode
from longlive_env.engine.prefill import fitted_clip
from longlive_env.envs import state
from longlive_env.envs.prompts import prompt_space
from longlive_env.envs.rules import (
    RESET_OPTIONS,
    Rules,
    check_names,
    check_options,
    checked_render_mode,
    draw_start,
)
from longlive_env.envs.running import Running
from longlive_env.envs.spaces import PromptSpace
from longlive_env.envs.task import Task
from longlive_env.errors import SnapshotError
from longlive_env.frames import Frames

if TYPE_CHECKING:
    from longlive_env.engine.load_options import LoadOptions
    from longlive_env.engine.world import World
    from longlive_env.envs.vector_env import PromptVectorEnv


class PromptEnv(Running, gym.Env[Frames, str]):
    """A video world behind the Gymnasium API.

    An action is a prompt; `""` keeps the one in force. A step generates one block. The observation is the
    newest block: 12 frames, uint8 `[T, H, W, 3]`. The block of a reset is shorter, so its first frame is
    repeated in front, as in a frame stack. Without a task the reward is 0 and nothing terminates.

    `info` holds `prompt`, `block` (index of the newest block since the reset), `seconds` (of video generated
    since the reset), `recached`, `unknown_words` (words of the prompt that the world does not know),
    `world_seed` (seed of the episode's noise, as in the options of `reset`), and the task's entries. Values
    that differ from run to run are in `timing` instead. To begin an episode::

        env = PromptEnv("tiny", task="goal")
        observation, info = env.reset(seed=0)
        observation, reward, terminated, truncated, info = env.step(info["goal"])

    Args:
        world: name of a world, a folder of weights, or a world that is already loaded.
        device: torch device for a world that is not loaded yet; "cpu" by default.
        prompt: starting prompt of resets that pass none; None samples one with `np_random`.
        task: what sets goals and gives rewards: a name ("goal"), a name with options ({"name": "goal", ...}),
            or a `Task`.
        recache: what a new prompt does to the memory of earlier frames; values other than `"full"` are for
            studies.
        render_mode: `"rgb_array"` (last frame), `"rgb_array_list"` (every frame since the last call of
            `render` or reset), `"human"` (a window that plays every frame), or None.
        load: `precision`, `kv_precision`, `memory`, `compile`, `codec`, `steps` and `rope` for a world that
            is not loaded yet, as in `World.load`. A compiled world is warmed up here.

    Raises:
        LongLiveError: the world cannot be loaded, or an argument is impossible.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["human", "rgb_array", "rgb_array_list"],
        "render_fps": 16,
    }

    def __init__(
        self,
        world: str | os.PathLike[str] | World = "tiny",
        *,
        device: str | None = None,
        prompt: str | None = None,
        task: str | Mapping[str, Any] | Task | None = None,
        recache: RecacheMode = "full",
        render_mode: str | None = None,
        **load: Unpack[LoadOptions],
    ) -> None:
        check_names(PromptEnv, load)
        self.render_mode = checked_render_mode(render_mode, self.metadata["render_modes"])
        self.rules = Rules.of(world, device, task, recache, **load)
        self.world = self.rules.world
        self.metadata = {**self.metadata, "render_fps": self.world.config.fps}  # type: ignore[misc]
        self.observation_space = self.rules.observation_space
        self.action_space: PromptSpace = prompt_space(self.world.config)
        self._default_prompt = None if prompt is None else self.rules.starting_prompt(prompt)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Frames, dict[str, Any]]:
        """Start a new episode and generate its first block.

        Args:
            seed: seed of `np_random`, which draws the world's seed, and the prompt if none is given. A
                restored state that holds a generator replaces it.
            options: `"prompt"`: starting prompt. `"frames"`: a picture `[H, W, 3]` or a clip `[T, H, W, 3]`,
                uint8, that the first block continues; see `World.start`. `"world_seed"`: the seed of the
                world's noise, as in `World.start` and `longlive run --seed`. `"state"`: a state from
                `clone_state` to resume instead, as `restore_state` does; a limit of steps around this env
                then counts from 0, which `longlive_env.envs.stateful.restore_state` sets right. Also the
                options of the task.

        Returns:
            Observation and `info`; see the class.

        Raises:
            PromptError: the prompt is not valid.
            ConfigError: an option is unknown or impossible; the episode and `np_random` are as before.
            SnapshotError: the state does not fit this env.
        """
        options = {} if options is None else options
        check_options(options, (*RESET_OPTIONS, *self.rules.task_options))
        if "state" in options:
            with self._generator_kept():
                super().reset(seed=seed)
                restored = self.restore_state(options["state"])
            self._warn_of_lost_steps()
            return restored
        with self._generator_kept():
            super().reset(seed=seed)
            if options.get("frames") is not None:
                options = {**options, "frames": fitted_clip(options["frames"], self.world.config)}
            start = draw_start(self.rules, self.np_random, options, self._default_prompt)
        self._start([start])
        return self._seen(begun=True)

    def step(self, action: str) -> tuple[Frames, float, bool, bool, dict[str, Any]]:
        """Generate the next block under the prompt `action`; `""` or the prompt in force changes nothing.

        Stepping a terminated episode continues it, with a warning.

        Args:
            action: a text, or an embedding (`longlive_env.envs.prompts.EmbeddedPrompt`).

        Returns:
            Observation, reward, whether the task has ended the episode, False (truncation is up to a
            wrapper), and `info`; see the class.

        Raises:
            PromptError: the prompt is not valid; the world has not moved.
            gymnasium.error.ResetNeeded: there was no reset yet, or none since a step that failed for another
                reason, such as an error in a reward function, and whose block is lost.
        """
        if self.episodes.ended[0]:
            gym.logger.warn("the episode has terminated, and rewards mean nothing any more; call reset")
        outcome = self.episodes.step([action])
        observation, info = self._seen()
        return observation, float(outcome.rewards[0]), bool(outcome.terminated[0]), False, info

    def clone_state(self, include_rng: bool = True) -> bytes:
        """Serialize everything that the future depends on: the world, the episode, its task and `np_random`.

        Args:
            include_rng: whether to keep the random generators. Without them, a restored world draws from the
                generators of the env that restores it, so its future differs each time: other noise, and
                other disturbances if its task has any.
        """
        return state.to_bytes(self.episodes, [self.np_random] if include_rng else None)

    def restore_state(self, data: state.Serialized) -> tuple[Frames, dict[str, Any]]:
        """Resume from a state of `clone_state`, from this or another env; returns what `reset` would.

        The future is bit-identical, or equal up to rounding if the state was cloned from a batch.
        Wrappers such as `TimeLimit` do not notice: for an env from `gym.make` use
        `longlive_env.envs.stateful.restore_state(env, data)`.

        Raises:
            SnapshotError: the state is damaged, is of another version, world or task, or holds several
                worlds.
        """
        saved = state.read(data, self.rules)
        if len(saved.episodes) != 1:
            raise SnapshotError(
                f"the state holds {len(saved.episodes)} worlds and this env runs one; "
                "clone one of them with worlds=[i]"
            )
        self._episodes = saved.resume(self._reusable())
        if saved.generators is None:
            self._episodes.reseed(0, self.np_random)
        else:
            self.np_random = saved.generators[0]
        return self._seen(begun=True)

    def fork(
        self, n: int = 1, *, include_rng: bool = True, seed: int | None = None, **kwargs: Any
    ) -> PromptVectorEnv:
        """Copy the running world `n` times, for look-ahead with one batched engine call per step.

        Copies show what this world would show up to rounding, which is coarser in bf16 and in compiled code.
        Those of an episode that has ended start another one with their first step, as a warning says.

        Args:
            n: number of copies.
            include_rng: whether the copies keep this world's random numbers, so that they differ only by
                their actions and foresee what this world will meet, disturbances included; otherwise each has
                its own future.
            seed: seed of these separate futures; None leaves them to chance.
            **kwargs: arguments of `PromptVectorEnv`, such as `max_episode_steps` and `autoreset_mode`.
        """
        from longlive_env.envs.vector_env import PromptVectorEnv

        settings = {"prompt": self._default_prompt, "recache": self.rules.recache, **kwargs}
        envs = PromptVectorEnv(n, self.world, task=self.rules.task, **settings)
        envs.seed_futures(seed, include_rng)
        envs.adopt(self.episodes.select([0] * n), [self.np_random] * n if include_rng else None)
        if envs.episodes.ended[0] and envs.autoreset_mode is not AutoresetMode.DISABLED:
            gym.logger.warn(
                "the episode has ended, so the first step of the copies ignores their actions and starts "
                "another one; fork before the end, or reset the env first"
            )
        return envs

    def render(self) -> Any:
        """Return the last frame, or all frames since the last call or reset; None in mode `"human"`."""
        if self.render_mode is None:
            return None
        frames = self.episodes.frames(0)
        if self.render_mode == "rgb_array":
            return frames[-1].copy()
        return self._unseen(0) if self.render_mode == "rgb_array_list" else None

    def close(self) -> None:
        """Drop the running world and close the window; the weights stay cached in the process."""
        self._drop()

    @contextmanager
    def _generator_kept(self) -> Iterator[None]:
        """Give the random generator back as it was if the body of the `with` statement fails."""
        before = copy.deepcopy(self._np_random), self._np_random_seed
        try:
            yield
        except Exception:
            self._np_random, self._np_random_seed = before
            raise

    def _warn_of_lost_steps(self) -> None:
        """Warn if wrappers of `gym.make` have missed the steps of a state that a reset has restored."""
        steps = self.episodes.episodes[0].steps
        if steps and self.spec is not None and not self.counters_follow:
            gym.logger.warn(
                f"the state is at step {steps}, and a limit of steps around this env, if any, counts from 0; "
                "longlive_env.envs.stateful.restore_state(env, state) sets it right"
            )

    def _seen(self, *, begun: bool = False) -> tuple[Frames, dict[str, Any]]:
        """Return observation and info of the newest block, after a step or where a world has just begun."""
        episodes = self.episodes
        self._collect([0], begun=begun)
        if self.render_mode == "human":
            self._play(episodes.frames(0), episodes.rollout.prompts[0])
        return episodes.observations[0].copy(), episodes.info(0)
