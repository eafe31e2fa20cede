"""A batch of worlds as a vectorised env of Stable-Baselines3: one engine call steps them all.

Stable-Baselines3 has vector envs of its own making; its `DummyVecEnv` would step one world after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from longlive_env.envs.wrappers.inside import of_world, prompt_envs
from longlive_env.errors import ConfigError, MissingExtraError

try:
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as error:
    raise MissingExtraError.of("SB3VecEnv needs Stable-Baselines3", "rl") from error

# Reset options that each world may have its own of.
PER_WORLD = ("prompt", "frames", "world_seed", "goal", "goal_image")


class SB3VecEnv(VecEnv):
    """Worlds that step together, for algorithms of Stable-Baselines3.

    `metadata["render_fps"]` is for videos of one frame a step, such as those of `VecVideoRecorder`. It is a
    whole number, as they expect: 1, where steps of 0.75 s would ask for 1.33.

    Args:
        envs: a vector env of prompts in the SAME_STEP mode, adapted so that spaces are ones that the library
            knows.

    Raises:
        ConfigError: episodes do not start anew within the step that ends them.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any]) -> None:
        mode = envs.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            raise ConfigError(
                f"the autoreset mode is {mode}; Stable-Baselines3 needs "
                "gym.make_vec(..., autoreset_mode=AutoresetMode.SAME_STEP)"
            )
        self.envs = envs
        self._actions: Any = None
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)
        config = prompt_envs(envs).world.config
        fps = max(1, round(config.fps / config.block_pixel_frames))
        self.metadata: dict[str, Any] = {**self.metadata, "render_fps": fps}

    def reset(self) -> Any:
        """Start all worlds, with the seeds and options that `seed` and `set_options` have set.

        Returns:
            Their observations.

        Raises:
            ConfigError: options other than prompts, frames, their seeds and goals differ between worlds.
        """
        seeds = None if all(seed is None for seed in self._seeds) else list(self._seeds)
        observations, infos = self.envs.reset(seed=seeds, options=self._shared_options())  # type: ignore[arg-type]
        self.reset_infos = [of_world(infos, world) for world in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        return observations

    def _shared_options(self) -> dict[str, Any] | None:
        """One dict for the batch, of what may be one for each world."""
        names = dict.fromkeys(name for options in self._options for name in options)
        found: dict[str, Any] = {}
        for name in names:
            values: list[Any] = [options.get(name) for options in self._options]
            if name in PER_WORLD:
                found[name] = values
            elif all(value is values[0] or np.array_equal(value, values[0]) for value in values):
                found[name] = values[0]
            else:
                raise ConfigError(
                    f"the option {name!r} differs between worlds; only {', '.join(PER_WORLD)} can, "
                    "so set the others for all"
                )
        return found or None

    def step_async(self, actions: Any) -> None:
        """Take the actions of the next step."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, Any, Any, list[dict[str, Any]]]:
        """Observations, rewards, whether episodes ended, and an info for each world.

        Where an episode ended, the observation is the first of the next one, and the info is that of its end,
        with `terminal_observation` and `TimeLimit.truncated`. The `success` of a task is there as
        `is_success`, too, the name by which the library counts it.
        """
        observations, rewards, terminated, truncated, infos = self.envs.step(self._actions)
        done = terminated | truncated
        listed = []
        for world in range(self.num_envs):
            info = of_world(infos, world)
            if done[world]:
                final = of_world(infos["final_info"], world)
                self.reset_infos[world] = {name: info[name] for name in info if name in final}
                info |= final  # wrappers put what they say of an episode beside the new one's
                info["terminal_observation"] = infos["final_obs"][world]
            info["TimeLimit.truncated"] = bool(truncated[world] and not terminated[world])
            if "success" in info:
                info["is_success"] = info["success"]
            listed.append(info)
        return observations, rewards.astype(np.float32), done, listed

    def close(self) -> None:
        """Close the worlds."""
        self.envs.close()

    def get_images(self) -> Sequence[Any]:
        """The newest frame of each world."""
        return list(self.envs.render() or [None] * self.num_envs)

    def render(self, mode: str | None = None) -> Any:
        """As the library does it for frames; a window, and lists of frames, as the worlds do."""
        if self.render_mode == "rgb_array":
            return super().render(mode)
        return self.envs.render()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute that all worlds share, once for each of them."""
        holder = self.envs if hasattr(self.envs, attr_name) else self.envs.unwrapped
        return [getattr(holder, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refused: worlds of a batch are one env.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{attr_name!r} cannot be set for one world of a batch; set it on .envs.unwrapped")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Refused: worlds of a batch are one env.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{method_name!r} cannot be called on one world of a batch; use .envs.unwrapped")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Whether a wrapper for single envs is around the worlds: never."""
        return [False] * len(list(self._get_indices(indices)))
