"""An agent that plays a policy saved by Stable-Baselines3, without unpickling anything in the file.

`PPO.load` and the like unpickle parts of the zip, which runs whatever its author put there. This module reads
only two parts: `policy.pth` as plain tensors (`weights_only=True`), and the plain JSON values of `data`. It
rebuilds the network from them, so a policy with classes of its own needs these as an argument.

Shapes: T = 12 pixel frames of a block, H rows, W columns.
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from longlive_env.agents.base import generator, seat
from longlive_env.engine.seeds import seeded
from longlive_env.envs.goals import LOOKS
from longlive_env.envs.rewards import ProbeReward
from longlive_env.envs.seat import Env, Info
from longlive_env.envs.spaces import frames_space
from longlive_env.envs.wrappers import menus
from longlive_env.envs.wrappers.goal_values import Entries, Goals, Hindsight
from longlive_env.envs.wrappers.views import Last, View, seen_as
from longlive_env.errors import AgentError, ConfigError, MissingExtraError
from longlive_env.frames import Frames

if TYPE_CHECKING:
    from stable_baselines3.common.policies import BasePolicy
    from torch import Tensor

LARGEST_PART_BYTES = 1 << 30
PLAIN_SETTINGS = ("net_arch", "normalize_images", "share_features_extractor", "squash_output")
CLASS_SETTINGS = ("activation_fn", "features_extractor_class", "features_extractor_kwargs")


class SB3Agent:
    """Plays a policy of PPO, A2C or DQN.

    The policy has to see and act as in training: `menu` and `views` stand in for the wrappers of its training
    env. A policy whose observation is a dictionary gets `frames`, the task's `goal` and, if it saw that in
    training, the `prompt` in force, as from `GoalInObservation`; or what `HindsightGoals` gives for goals
    that name subject, colour, setting and weather.

    Args:
        path: the zip that `model.save` wrote, with or without `.zip`.
        menu: what actions stand for; None takes the default table of `DiscretePrompts`.
        views: transforms of a block of frames, applied in order; `LastFrame` alone by default.
        policy_kwargs: those of training, needed only where they name classes, such as a features extractor.
        deterministic: whether to take the likeliest action, rather than draw one by the env's seed and
            episode. A DQN always takes the best.

    Raises:
        MissingExtraError: Stable-Baselines3 is not installed.
        AgentError: the file is missing or is not such a zip.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        menu: menus.Menu | None = None,
        views: Sequence[View] = (Last(),),
        policy_kwargs: Mapping[str, Any] | None = None,
        deterministic: bool = True,
    ) -> None:
        try:
            import stable_baselines3  # noqa: F401
        except ImportError as error:
            raise MissingExtraError.of("the agent 'sb3' needs stable-baselines3", "rl") from error
        self._path = os.fspath(path)
        if not os.path.exists(self._path) and os.path.exists(f"{self._path}.zip"):
            self._path += ".zip"  # as `model.save` adds it
        self._weights, settings, seen = _read(self._path)
        entries, self._trained_on = _entries(seen), _shape(seen)
        self._settings = dict(policy_kwargs) if policy_kwargs is not None else self._plain(settings)
        self._menu = menu or menus.PromptTable(menus.attribute_prompts(), partial=True, keep=True)
        self._views = tuple(views)
        self._deterministic = deterministic
        self._told = _entries_told(entries)
        self._policy: BasePolicy | None = None
        self._rng = np.random.default_rng()

    def reset(self, env: Env, info: Info) -> None:
        """Build the network for the pictures of this world, if there is none yet.

        Raises:
            AgentError: the pictures or the weights do not fit, or the policy needs a goal and there is none.
        """
        if self._told is not None and "goal" not in info:
            raise AgentError(f"the policy in {self._path} was trained with a goal, and this env tells none")
        if self._policy is None:
            space = self._observation_space(env)
            self._check_shape(space if self._told is None else space[self._told.own])
            self._policy = self._built(space)
        self._rng = generator(env)

    def act(self, observation: Frames, info: Info) -> str:
        """The prompt of the policy's action.

        Raises:
            AgentError: the goal is none that the policy was trained for.
        """
        assert self._policy is not None, "reset comes first"
        frames: Any = observation
        for view in self._views:
            frames = view(frames)
        seen = frames if self._told is None else {self._told.own: frames, **self._beside(observation, info)}
        with seeded(int(self._rng.integers(2**63))):
            action, _ = self._policy.predict(seen, deterministic=self._deterministic)
        return self._menu.prompt(action, info["prompt"])

    def _beside(self, observation: Frames, info: Info) -> dict[str, Any]:
        """The entries beside the frames, from the info."""
        assert self._told is not None
        if "seen" in self._told.sources and "seen" not in info:  # not every env tells
            info = {**info, "seen": ProbeReward().describe(observation)}
        try:
            return self._told.read(info)
        except ConfigError as error:
            raise AgentError(f"the policy in {self._path} was not trained for this goal: {error}") from error

    def _plain(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The saved policy's settings that are plain values."""
        classes = [name for name in CLASS_SETTINGS if name in settings]
        if classes:
            raise AgentError(
                f"the policy in {self._path} was trained with {', '.join(classes)} of its own, which is "
                "code; give them as policy_kwargs="
            )
        return {name: settings[name] for name in PLAIN_SETTINGS if name in settings}

    def _observation_space(self, env: Env) -> Any:
        from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
        from stable_baselines3.common.vec_env import VecTransposeImage

        frames: Any = frames_space(seat(env).world.config)
        for view in self._views:
            frames = seen_as(view, frames)
        space: spaces.Space[Any] = frames
        if is_image_space(frames) and not is_image_space_channels_first(frames):
            space = VecTransposeImage.transpose_space(frames)  # as SB3 trains; it turns pictures by itself
        if self._told is None:
            return space
        return spaces.Dict({self._told.own: space, **self._told.spaces(spaces.Text(1))})

    def _check_shape(self, frames: spaces.Space[Any]) -> None:
        """Check that the policy was trained on observations of this shape, as far as its file tells."""
        trained, here = self._trained_on, frames.shape
        if trained is None or here is None or trained == here:
            return
        remedy = "give the views that it was trained with"
        if len(trained) == len(here) == 3:
            larger = sorted(mine / its for mine, its in zip(here, trained, strict=True))
            if larger == [1, 2, 2]:
                remedy = "try --codec light"
            elif larger == [0.5, 0.5, 1]:
                remedy = "leave --codec light out"
        raise AgentError(
            f"the policy in {self._path} was trained on pictures of {_size(trained)}, here they are "
            f"{_size(here)}; {remedy}"
        )

    def _built(self, space: spaces.Space[Any]) -> BasePolicy:
        from stable_baselines3 import DQN, PPO

        algorithm = DQN if any(name.startswith("q_net.") for name in self._weights) else PPO
        cnn = any("features_extractor.cnn." in name for name in self._weights)
        kind = "MultiInputPolicy" if self._told is not None else "CnnPolicy" if cnn else "MlpPolicy"
        try:
            make: Any = algorithm.policy_aliases[kind]
            with seeded(0):  # the weights that it draws are replaced
                policy: BasePolicy = make(space, self._menu.space, lambda _: 0.0, **self._settings)
            policy.load_state_dict(self._weights)
        except (RuntimeError, AssertionError, TypeError, ValueError) as error:
            reasons = str(error).splitlines()  # of torch: a heading, and a line for each misfit
            raise AgentError(
                f"the policy in {self._path} does not fit; give the menu, views and policy_kwargs that it "
                f"was trained with. It sees {space} here: {shorten((reasons[1:] or reasons)[0], 200)}"
            ) from error
        policy.set_training_mode(False)
        return policy


def _read(path: str) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
    """What a saved model holds, as far as it is plain.

    Returns:
        The weights, the settings of the policy, and the fields of its observation space.
    """
    import torch

    try:
        with zipfile.ZipFile(path) as file:
            weights = torch.load(io.BytesIO(_part(file, "policy.pth")), map_location="cpu", weights_only=True)
            data = json.loads(_part(file, "data"))
            settings, seen = data.get("policy_kwargs", {}), data.get("observation_space", {})
    except OSError as error:
        raise AgentError(f"cannot read {path}: {error.strerror or error}") from error
    except KeyError as error:
        raise AgentError(f"{path} was not saved by Stable-Baselines3: {error.args[0]}") from error
    except AgentError:
        raise
    except Exception as error:  # damaged in one of many ways, or made to do harm
        raise AgentError(
            f"{path} is damaged or no model of Stable-Baselines3: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}"
        ) from error
    if not all(isinstance(part, dict) for part in (weights, settings, seen)):
        raise AgentError(f"{path} was not saved by Stable-Baselines3; expected what model.save() writes")
    return weights, settings, seen


def _entries_told(entries: set[str]) -> Entries | None:
    """The entries beside the frames, given the names of all; None if there are only frames."""
    if "desired_goal" in entries:
        return Hindsight(LOOKS)
    return Goals("values", prompt="prompt" in entries) if "goal" in entries else None


def _entries(seen: Mapping[str, Any]) -> set[str]:
    """The names of the entries of an observation space, if that is a dictionary."""
    return set(re.findall(r"'(\w+)': ", str(seen.get("spaces", ""))))


def _shape(seen: Mapping[str, Any]) -> tuple[int, ...] | None:
    """The shape of the frames in an observation space, or None if it is not told."""
    entry = re.search(r"'(?:frames|observation)': Box\([^()]*\(([\d, ]+)\)", str(seen.get("spaces", "")))
    numbers = re.findall(r"\d+", entry[1] if entry else str(seen.get("_shape")))
    return tuple(map(int, numbers)) or None


def _size(shape: tuple[int, ...]) -> str:
    """Width and height of a picture with channels first, or else the shape."""
    return f"{shape[2]}x{shape[1]}" if len(shape) == 3 and shape[0] == 3 else str(list(shape))


def _part(file: zipfile.ZipFile, name: str) -> bytes:
    if file.getinfo(name).file_size > LARGEST_PART_BYTES:
        raise AgentError(f"{name} in {file.filename} unpacks to more than {LARGEST_PART_BYTES >> 20} MB")
    return file.read(name)
