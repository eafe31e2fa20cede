"""Access to the prompt env inside wrappers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import VectorEnv
from gymnasium.wrappers.vector import DictInfoToList

from longlive_env.envs.prompt_env import PromptEnv
from longlive_env.envs.stateful import layers
from longlive_env.envs.task import VECTOR_INFO
from longlive_env.envs.vector_env import PromptVectorEnv
from longlive_env.errors import ConfigError


class WithoutTrace(gym.Wrapper[Any, Any, Any, Any]):
    """Base of wrappers that leave no trace in what the env does, and so none in its spec."""

    @property
    def spec(self) -> EnvSpec | None:  # type: ignore[override]  # Env declares an attribute
        """The spec of the wrapped env."""
        return self.env.spec


class Outermost:
    """Attributes that some libraries expect of the outermost wrapper of a vector env."""

    @property
    def autoreset_mode(self) -> Any:
        """What happens to a world whose episode has ended; see `PromptVectorEnv`."""
        return self.metadata["autoreset_mode"]  # type: ignore[attr-defined]


def copied(options: Any) -> Any:
    """Copy reset options for the wrapped env, since Gymnasium's wrappers remove theirs from the dict."""
    return dict(options) if isinstance(options, Mapping) else options


def prompt_env(env: gym.Env[Any, Any]) -> PromptEnv:
    """Return the prompt env inside `env`.

    Raises:
        ConfigError: there is none.
    """
    if not isinstance(env.unwrapped, PromptEnv):
        raise ConfigError(f"{env} is not a prompt env; adapters go around envs such as LongLive/Tiny-v0")
    return env.unwrapped


def prompt_envs(envs: VectorEnv[Any, Any, Any]) -> PromptVectorEnv:
    """Return the vector env of prompts inside `envs`.

    Raises:
        ConfigError: there is none.
    """
    if not isinstance(envs.unwrapped, PromptVectorEnv):
        raise ConfigError(
            f"{envs} is not a vector env of prompts; adapters go around gym.make_vec('LongLive/Tiny-v0', ...)"
        )
    return envs.unwrapped


def check_takes_prompts(actions: spaces.Space[Any]) -> None:
    """Check that actions are texts, which a menu can choose.

    Raises:
        ConfigError: they are something else, such as those of another menu.
    """
    if not isinstance(actions, spaces.Text):
        raise ConfigError(f"the env's actions are {actions}; expected prompts, put only one menu around it")


def check_batched_infos(envs: VectorEnv[Any, Any, Any], reader: object) -> None:
    """Check that infos of `envs` come in Gymnasium's batched form, for a wrapper that reads them.

    Raises:
        ConfigError: a wrapper inside turns them into a list.
    """
    if any(isinstance(layer, DictInfoToList) for layer in layers(envs)):
        raise ConfigError(
            f"DictInfoToList is inside {type(reader).__name__}, which reads infos before they become a "
            "list; put DictInfoToList around all other wrappers"
        )


def of_world(infos: dict[str, Any], world: int) -> dict[str, Any]:
    """Extract the info of one world from Gymnasium's batched form."""
    return {
        name: of_world(values, world) if isinstance(values, dict) else values[world]
        for name, values in infos.items()
        if not name.startswith("_")
        and name not in VECTOR_INFO
        and infos.get(f"_{name}", [True] * (world + 1))[world]
    }
