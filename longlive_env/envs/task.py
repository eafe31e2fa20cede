"""What a task is: an episode's goal, rewards read from its frames, and disturbances of its world.

A `Task` is shared by all worlds of an env and holds no episode. What an episode has to remember is a value,
its *state*, made of JSON values: the task returns a new one with every block, and never changes one in place.
So an env clones, forks and saves an episode by keeping its state, and several worlds are judged in one call.

An env with a task does, for each world::

    opening = task.open(np_random, prompt, options)       # on reset
    ... generate the first block under opening.prompt, or as without a task where that is None ...
    (verdict,) = task.judge([opening.state], [Block(...)])  # its state and info count, its reward does not

    imposed = task.disturb(state)                          # on step, before the block
    ... if it is a prompt, it takes the place of the action for this block ...
    (verdict,) = task.judge([state], [Block(...)])         # after the block

    state = task.reseed(state, np_random)                  # for another future, of a task that `Reseeds`

Shapes: T = 12 pixel frames of an observation, H rows, W columns.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, runtime_checkable

import numpy as np

from longlive_env.errors import ConfigError, did_you_mean
from longlive_env.frames import Frames

TaskState = Mapping[str, Any]  # str -> JSON values; equal after json.loads(json.dumps(state))

TASKS = {  # name -> where its dataclass is, imported when it is wanted
    "goal": "longlive_env.envs.tasks:GoalTask",
    "tour": "longlive_env.envs.tasks:TourTask",
    "hold": "longlive_env.envs.tasks:HoldTask",
}


@dataclass(frozen=True)
class Opening:
    """How an episode begins.

    Attributes:
        state: what the episode remembers before its first block.
        prompt: of the first block; None leaves it to the env.
    """

    state: TaskState
    prompt: str | None = None


@dataclass(frozen=True)
class Block:
    """A block that a world has just generated.

    Attributes:
        frames: uint8 [T, H, W, 3], the observation: a shorter first block begins with repeats.
        prompt: in force while it was generated.
        asked: whether the action was a prompt, rather than `""`.
        switched: whether the action changed the prompt in force; never true together with a disturbance, nor
            for the block of a reset.
    """

    frames: Frames
    prompt: str
    asked: bool = False
    switched: bool = False


@dataclass(frozen=True)
class Verdict:
    """What a block means for its episode.

    Attributes:
        state: replaces the state before.
        reward: of the step.
        terminated: whether the episode has ended.
        info: joins the env's `info`; reproducible values only, under the same keys in each block, the
            first included.
    """

    state: TaskState
    reward: float = 0.0
    terminated: bool = False
    info: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Task(Protocol):
    """Goals, rewards and disturbances of an env."""

    @property
    def reset_options(self) -> tuple[str, ...]:
        """Names that `env.reset(options=...)` takes for this task, beside the env's own."""

    def check(self, world: str) -> None:
        """Whether the task can be played in the world of this name.

        Raises:
            ConfigError: it cannot.
        """

    def open(self, rng: np.random.Generator, prompt: str | None, options: Mapping[str, Any]) -> Opening:
        """Draw an episode.

        Args:
            rng: source of all randomness of the episode, later disturbances included.
            prompt: the starting prompt that was asked for, if one was; a task may insist on another.
            options: those of `reset_options` that were given.

        Raises:
            ConfigError: an option is impossible.
        """

    def disturb(self, state: TaskState) -> str | None:
        """The prompt that the world takes for the next block, whatever the action; None lets the action be.

        Args:
            state: after the last block.
        """

    def judge(self, states: Sequence[TaskState], blocks: Sequence[Block]) -> list[Verdict]:
        """Look at one new block of each of some worlds.

        Args:
            states: of those worlds' episodes, before the block.
            blocks: as many.
        """


@runtime_checkable
class Reseeds(Protocol):
    """A task whose states settle what chance will bring, such as disturbances; others need not have this."""

    def reseed(self, state: TaskState, rng: np.random.Generator) -> TaskState:
        """The state with what is still to come drawn anew, for a world that is to have another future.

        Args:
            state: after the last block; what has happened by then stays.
            rng: source of the new randomness.
        """


MEMBERS = ("reset_options", "check", "open", "disturb", "judge")  # of a `Task`


def resolve_task(spec: str | Mapping[str, Any] | Task | None, world: str) -> Task | None:
    """The task that an env's `task=` argument names, checked against the world.

    Args:
        spec: a name (`"goal"`), one with options (`{"name": "goal", "reward": "sparse"}`), a task, or None.
        world: name of the env's world.

    Raises:
        ConfigError: there is no such task or option, or the world cannot show it.
    """
    if spec is None:
        return None
    if isinstance(spec, (str, Mapping)):
        task = _named_task(spec)
    elif isinstance(spec, type) or not isinstance(spec, Task):
        remedy = (
            f"give an object, {spec.__name__}(...)"
            if isinstance(spec, type)
            else f"it lacks {', '.join(name for name in MEMBERS if not hasattr(spec, name))}"
        )
        raise ConfigError(f"the task is {spec!r}; expected a name, a dict with one, or a Task: {remedy}")
    else:
        task = spec
    task.check(world)
    return task


def _named_task(spec: str | Mapping[str, Any]) -> Task:
    options = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = options.pop("name", None)
    if name not in TASKS:
        remedy = did_you_mean(name, TASKS, f"expected one of {', '.join(TASKS)}")
        raise ConfigError(f"there is no task {name!r}; {remedy}")
    module, _, attribute = TASKS[name].partition(":")
    kind = getattr(importlib.import_module(module), attribute)
    known = [item.name for item in fields(kind) if item.init]
    for option in options:
        if option not in known:
            remedy = did_you_mean(option, known, f"known options: {', '.join(known)}")
            raise ConfigError(f"task {name!r} has no option {option!r}; {remedy}")
    # JSON has no tuples
    task: Task = kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in options.items()})
    return task
