"""The settings that all worlds of an env share, and how each of their episodes starts."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from gymnasium import spaces

from longlive_env.engine.config import RECACHE_MODES, RecacheMode
from longlive_env.engine.seeds import checked_seed
from longlive_env.envs.checks import is_number
from longlive_env.envs.prompts import EmbeddedPrompt, checked_prompt
from longlive_env.envs.spaces import frames_space
from longlive_env.envs.task import Task, TaskState, resolve_task
from longlive_env.envs.torch_settings import plain_settings
from longlive_env.envs.vocabulary import vocabulary_of
from longlive_env.envs.world_cache import limit_child_threads, shared_world, warm
from longlive_env.errors import ConfigError, PromptError, did_you_mean
from longlive_env.frames import Frames

if TYPE_CHECKING:
    from torch import Tensor

    from longlive_env.engine.load_options import LoadOptions
    from longlive_env.engine.world import World


RESET_OPTIONS = ("prompt", "frames", "world_seed", "state")  # in addition to those of the task


@dataclass(frozen=True)
class Rules:
    """The settings that all worlds of an env share.

    Attributes:
        world: models and configuration.
        task: what sets goals and gives rewards; None for neither.
        recache: what a new prompt does to the memory of earlier frames.
        max_steps: number of steps after which an episode is truncated; None for no limit.
    """

    world: World
    task: Task | None = None
    recache: RecacheMode = "full"
    max_steps: int | None = None

    @classmethod
    @plain_settings()
    def of(
        cls,
        world: str | os.PathLike[str] | World,
        device: str | None,
        task: str | Mapping[str, Any] | Task | None,
        recache: RecacheMode,
        max_steps: int | None = None,
        batch: int = 1,
        states: int = 1,
        **load: Unpack[LoadOptions],
    ) -> Rules:
        """Create the rules from an env's arguments; loads the world, and compiles it if requested.

        Memory is planned for `batch` running worlds and `states` simultaneous states of them. `max_steps` may
        also be -1 for no limit.

        Raises:
            LongLiveError: the world cannot be loaded, or an argument is impossible.
        """
        if recache not in RECACHE_MODES:
            raise ConfigError(f"recache is {recache!r}; expected one of {', '.join(RECACHE_MODES)}")
        if max_steps == -1:  # `gym.make`'s value for no limit
            max_steps = None
        if max_steps is not None and not is_number(max_steps, 1, whole=True):
            raise ConfigError(
                f"max_episode_steps is {max_steps!r}; expected a whole number from 1 on, or -1 for no limit"
            )
        limit_child_threads()
        if isinstance(world, (str, os.PathLike)):
            loaded = shared_world(world, device or "cpu", batch=batch, states=states, **load)
        else:
            loaded = _checked_world(world)
            elsewhere = device is not None and not _is_on(loaded, device)
            for name, asked in {**load, "device": device if elsewhere else None}.items():
                if asked is not None:
                    raise ConfigError(
                        f"{name} is {asked!r} and the world is loaded already; "
                        "give it to World.load, or name the world"
                    )
        warm(loaded, batch)
        return cls(loaded, resolve_task(task, loaded.config), recache, max_steps)

    @property
    def observation_space(self) -> spaces.Space[Frames]:
        """Space of the newest block of frames, uint8 [T, H, W, 3]."""
        return frames_space(self.world.config)

    @property
    def task_options(self) -> tuple[str, ...]:
        """Options of `reset` that belong to the task."""
        return () if self.task is None else self.task.reset_options

    def starting_prompt(self, prompt: Any) -> str:
        """Return `prompt`, checked to be one that an episode can start with.

        Raises:
            PromptError: it is not a valid prompt, or empty.
        """
        text = checked_prompt(self.world, prompt)
        if not text:
            raise PromptError(
                "the starting prompt is empty; describe a scene, or leave it out to have one drawn"
            )
        return text


@dataclass(frozen=True)
class Start:
    """The start of an episode.

    Attributes:
        prompt: prompt of the first block.
        seed: seed of the world's noise.
        frames: clip of whole blocks that the world continues, uint8 [T, H, W, 3].
        task_state: state of the task before the first block.
    """

    prompt: str
    seed: int
    frames: Tensor | None = None
    task_state: TaskState = field(default_factory=dict)


@plain_settings()
def draw_start(
    rules: Rules, rng: np.random.Generator, options: Mapping[str, Any], default_prompt: str | None = None
) -> Start:
    """Draw the start of an episode, as far as the options leave it open.

    Args:
        rules: rules of the env.
        rng: random generator of the world; the seed of the noise is drawn from it first, so that the same
            generator gives the same noise whatever else is drawn.
        options: options of `reset` for this world, with `"frames"` in whole blocks.
        default_prompt: prompt to use if the options hold none.

    Raises:
        PromptError: the prompt is not valid.
        ConfigError: the seed is impossible, or the task cannot use one of its options.
    """
    prompt = options.get("prompt")
    asked = default_prompt if prompt is None else rules.starting_prompt(prompt)
    drawn, given_seed = int(rng.integers(2**32)), options.get("world_seed")
    seed = drawn if given_seed is None else checked_seed(given_seed)
    state: TaskState = {}
    if rules.task is not None:
        given = {name: options[name] for name in rules.task_options if name in options}
        whole = asked  # by which a task goes, as it is what the frames will show
        if asked is not None and not isinstance(asked, EmbeddedPrompt):
            whole = rules.world.completed(asked)
        opening = rules.task.open(rng, whole, given)
        state = opening.state
        if opening.prompt is not None and (asked is None or opening.prompt != whole):
            asked = rules.starting_prompt(opening.prompt)
    if asked is None:
        asked = vocabulary_of(rules.world.config.vocabulary).sample(rng)
    return Start(asked, seed, options.get("frames"), state)


def _is_on(world: World, device: str) -> bool:
    """Return whether a world is on this device, "cuda" standing for any GPU."""
    kind, _, index = device.partition(":")
    return world.device.type == kind and index in ("", str(world.device.index or 0))


def _checked_world(world: Any) -> World:
    from longlive_env.engine.world import World

    if not isinstance(world, World):
        raise ConfigError(f"world is {world!r:.60}; expected a name, a folder or a World")
    return world


def check_names(env: type, load: Mapping[str, Any]) -> None:
    """Check that the arguments that an env's class passes on to `World.load` belong there.

    Raises:
        TypeError: one does not.
    """
    from longlive_env.engine.load_options import LoadOptions

    for name in load:
        if name not in LoadOptions.__annotations__:
            own = [one for one in inspect.signature(env).parameters if one != "load"]
            known = [*own, *LoadOptions.__annotations__]
            remedy = did_you_mean(name, known, f"known arguments: {', '.join(known)}")
            # Python's own wording, since libraries look for it.
            raise TypeError(f"got an unexpected keyword argument {name!r}; {remedy}")


def check_options(options: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse options that `reset` does not know, and options given together with a state.

    Raises:
        ConfigError: there is such an option, or the options are not a mapping.
    """
    if not isinstance(options, Mapping):
        raise ConfigError(f"the options of reset are {options!r}; expected a dict of {', '.join(known)}")
    for name in options:
        if name not in known:
            remedy = did_you_mean(name, known, f"known options: {', '.join(known)}")
            raise ConfigError(f"reset has no option {name!r}; {remedy}")
    beside = [name for name in options if name not in ("state", "reset_mask")]
    if "state" in options and beside:
        raise ConfigError(f"a state says all about how to go on; leave {', '.join(beside)} out")


def checked_render_mode(mode: str | None, modes: Sequence[str]) -> str | None:
    """Return `mode`, checked to be a render mode.

    Raises:
        ConfigError: it is not one.
    """
    if mode is not None and mode not in modes:
        raise ConfigError(f"render_mode is {mode!r}; expected one of {', '.join(modes)}")
    return mode
