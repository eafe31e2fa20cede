"""A batch of worlds as a vectorised env of Stable-Baselines3, stepped by one engine call.

Stable-Baselines3 has its own vector env API; its `DummyVecEnv` would step the worlds one after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from longlive_env.envs.batches import PER_WORLD
from longlive_env.envs.stateful import layers
from longlive_env.envs.wrappers.inside import check_batched_infos, of_world, prompt_envs
from longlive_env.envs.wrappers.vector import HindsightGoals
from longlive_env.errors import ConfigError, MissingExtraError

try:
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as error:
    raise MissingExtraError.of("SB3VecEnv needs Stable-Baselines3", "rl") from error


class SB3VecEnv(VecEnv):
    """Worlds that step together, for the algorithms of Stable-Baselines3.

    `metadata["render_fps"]` is meant for videos of one frame per step, such as those of `VecVideoRecorder`.
    It is a whole number, as these require: 1, although steps of 0.75 s would need 1.33.

    Args:
        envs: vector env of prompts in SAME_STEP mode, adapted to spaces that the library supports.

    Raises:
        ConfigError: the autoreset mode is not SAME_STEP, or a wrapper turns infos into a list.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any]) -> None:
        mode = envs.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            raise ConfigError(
                f"the autoreset mode is {mode}; Stable-Baselines3 needs "
                "gym.make_vec(..., autoreset_mode=AutoresetMode.SAME_STEP)"
            )
        check_batched_infos(envs, self)
        self.envs = envs
        self._actions: Any = None
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)
        config = prompt_envs(envs).world.config
        fps = max(1, round(config.fps / config.block_pixel_frames))
        self.metadata: dict[str, Any] = {**self.metadata, "render_fps": fps}

    def reset(self) -> Any:
        """Start all worlds, with the seeds and options set by `seed` and `set_options`.

        Returns:
            Observations of all worlds.

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
        """Merge the options of each world into one dict for the batch."""
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
        """Store the actions of the next step."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, Any, Any, list[dict[str, Any]]]:
        """Step; returns observations, rewards, whether episodes ended, and one info per world.

        If an episode ended, the observation is the first of the next episode, and the info is that of the
        end, with `terminal_observation` and `TimeLimit.truncated`. A task's `success` is also given as
        `is_success`, the name under which the library counts it.
        """
        observations, rewards, terminated, truncated, infos = self.envs.step(self._actions)
        done = terminated | truncated
        listed = []
        for world in range(self.num_envs):
            info = of_world(infos, world)
            if done[world]:
                final = of_world(infos["final_info"], world)
                self.reset_infos[world] = {name: info[name] for name in info if name in final}
                info |= final  # wrappers put an ended episode's info beside the new one's
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
        """Return the newest frame of each world."""
        return list(self.envs.render() or [None] * self.num_envs)

    def render(self, mode: str | None = None) -> Any:
        """Render frames as the library does, and windows and lists of frames as the worlds do."""
        if self.render_mode == "rgb_array":
            return super().render(mode)
        return self.envs.render()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute that all worlds share, once per world."""
        holder = self.envs if hasattr(self.envs, attr_name) else self.envs.unwrapped
        return [getattr(holder, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refused: worlds of a batch are one env.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{attr_name!r} cannot be set for one world of a batch; set it on .envs.unwrapped")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Call `compute_reward`, as hindsight replay does; other methods are refused, as worlds are one env.

        Raises:
            ConfigError: it is another method, or no `vector.HindsightGoals` is around the worlds.
        """
        for layer in layers(self.envs):
            if method_name == "compute_reward" and isinstance(layer, HindsightGoals):
                return [layer.compute_reward(*args, **kwargs)] * len(list(self._get_indices(indices)))
        raise ConfigError(f"{method_name!r} cannot be called on one world of a batch; use .envs.unwrapped")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Return False for each world: none has wrappers of single envs."""
        return [False] * len(list(self._get_indices(indices)))
