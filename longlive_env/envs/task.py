"""Tasks: an episode's goal, rewards read from its frames, and disturbances of its world.

A `Task` is shared by all worlds of an env and stores nothing about an episode. What an episode has to
remember is its *state*, made of JSON values: the task returns a new one with every block and never changes
one in place. An env can therefore clone, fork and save an episode by keeping its state, and judge several
worlds in one call.

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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from longlive_env.envs.checks import as_number
from longlive_env.envs.infos import ENTRIES, plain_entry
from longlive_env.errors import ConfigError, did_you_mean
from longlive_env.frames import Frames

if TYPE_CHECKING:
    from longlive_env.engine.config import WorldConfig

TaskState = Mapping[str, Any]  # str -> JSON values; equal after json.loads(json.dumps(state))

# Entries of info that are the env's.
OWN_INFO = ("prompt", "block", "seconds", "recached", "unknown_words", "world_seed")
VECTOR_INFO = ("final_obs", "final_info")  # and those of vector envs, beside masks such as "_prompt"

TASKS = {  # name -> location of its dataclass, imported on demand
    "goal": "longlive_env.envs.tasks:GoalTask",
    "tour": "longlive_env.envs.tasks:TourTask",
    "hold": "longlive_env.envs.tasks:HoldTask",
}


@dataclass(frozen=True)
class Opening:
    """The start of an episode.

    Attributes:
        state: what the episode remembers before its first block.
        prompt: prompt of the first block; None leaves it to the env.
    """

    state: TaskState
    prompt: str | None = None


@dataclass(frozen=True)
class Block:
    """A block that a world has just generated.

    Attributes:
        frames: the observation, uint8 [T, H, W, 3]; a shorter first block begins with repeated frames.
        prompt: prompt in force while the block was generated.
        asked: whether the action was a prompt, rather than `""`.
        switched: whether the action changed the prompt in force; never true for a disturbed block or the
            block of a reset.
    """

    frames: Frames
    prompt: str
    asked: bool = False
    switched: bool = False


@dataclass(frozen=True)
class Verdict:
    """The judgement of a block.

    Attributes:
        state: new state of the episode.
        reward: reward of the step: a finite number, or an array or a tensor that holds one.
        terminated: whether the episode has ended.
        info: entries to add to the env's `info`; reproducible values only, with the same keys in every block,
            including the first, and of one kind and shape for each key. Texts, numbers, flags, None, lists
            and dicts of these, and arrays of numbers; lists become tuples, and NumPy's numbers Python's.
            Names of `OWN_INFO` and `VECTOR_INFO` are taken, and all that begin with `_`.
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
        """Names of this task's options of `env.reset(options=...)`, beside the env's own."""

    def check(self, config: WorldConfig) -> None:
        """Check that the task can be played in a world of this configuration.

        Raises:
            ConfigError: it cannot.
        """

    def open(self, rng: np.random.Generator, prompt: str | None, options: Mapping[str, Any]) -> Opening:
        """Draw an episode.

        Args:
            rng: source of all randomness of the episode, including later disturbances.
            prompt: requested starting prompt, if any; a task may override it.
            options: given options, out of `reset_options`.

        Raises:
            ConfigError: an option is impossible.
        """

    def disturb(self, state: TaskState) -> str | None:
        """Return a prompt to impose on the next block in place of the action; None leaves the action alone.

        Args:
            state: state after the last block.
        """

    def judge(self, states: Sequence[TaskState], blocks: Sequence[Block]) -> list[Verdict]:
        """Judge one new block for each of several worlds.

        Args:
            states: state of each world's episode before its block.
            blocks: new block of each world.
        """


@runtime_checkable
class Reseeds(Protocol):
    """A task whose states fix future random events, such as disturbances; other tasks need no `reseed`."""

    def reseed(self, state: TaskState, rng: np.random.Generator) -> TaskState:
        """Return the state with its future events redrawn, for a world that is to have another future.

        Args:
            state: state after the last block; the past stays as it is.
            rng: source of the new randomness.
        """


MEMBERS = ("reset_options", "check", "open", "disturb", "judge")  # members of a `Task`


def resolve_task(spec: str | Mapping[str, Any] | Task | None, config: WorldConfig) -> Task | None:
    """Return the task that an env's `task=` argument names, checked against the world.

    Args:
        spec: a name (`"goal"`), a name with options (`{"name": "goal", "reward": "sparse"}`), a task, or
            None.
        config: configuration of the env's world.

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
    task.check(config)
    return task


def checked_verdicts(task: Task, verdicts: Any, count: int) -> list[Verdict]:
    """Return what `task.judge` returned for `count` blocks, in plain types: see `Verdict`.

    Raises:
        ConfigError: it is not a sequence of as many verdicts, or one has no finite reward, no truth value in
            `terminated`, or in `info` no mapping, a name that is taken, or what no info can hold.
    """
    name = type(task).__name__
    if not isinstance(verdicts, Sequence) or len(verdicts) != count:
        got = f"{len(verdicts)} verdicts" if isinstance(verdicts, Sequence) else f"{verdicts!r:.60}"
        raise ConfigError(
            f"{name}.judge returned {got} for {count} blocks; return a list of one for each, in their order"
        )
    return [_checked_verdict(name, verdict) for verdict in verdicts]


def _checked_verdict(name: str, verdict: Any) -> Verdict:
    if not isinstance(verdict, Verdict):
        raise ConfigError(f"{name}.judge returned the verdict {verdict!r:.60}; return a Verdict(state, ...)")
    reward = as_number(verdict.reward)
    if reward is None:
        raise ConfigError(
            f"{name}.judge gave the reward {verdict.reward!r:.60}; expected a finite number, such as "
            "float(scores[i])"
        )
    try:
        terminated = bool(verdict.terminated)
    except (TypeError, ValueError, RuntimeError) as error:  # an array of several
        raise ConfigError(
            f"{name}.judge gave terminated as {verdict.terminated!r:.60}; expected True or False"
        ) from error
    info = verdict.info
    if not isinstance(info, Mapping) or not all(isinstance(key, str) for key in info):
        raise ConfigError(f"{name}.judge gave the info {info!r:.60}; expected a dict by names, {{}} for none")
    taken = [key for key in info if key in (*OWN_INFO, *VECTOR_INFO) or key.startswith("_")]
    if taken:
        raise ConfigError(
            f"{name}.judge gave {', '.join(map(repr, taken))} in a verdict's info; these names are the "
            "env's own, so choose others"
        )
    return replace(verdict, reward=reward, terminated=terminated, info=_plain_info(name, info))


def _plain_info(name: str, info: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for key, value in info.items():
        try:
            found[key] = plain_entry(value)
        except TypeError as error:
            raise ConfigError(
                f"{name}.judge gave {key!r} in a verdict's info, which holds {error}; expected {ENTRIES}"
            ) from error
    return found


def _named_task(spec: str | Mapping[str, Any]) -> Task:
    options = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = options.pop("name", None)
    if name not in TASKS:
        remedy = did_you_mean(name, TASKS, f"expected one of {', '.join(TASKS)}")
        raise ConfigError(f"there is no task {name!r}; {remedy}")
    kind = resolve_name(TASKS[name])
    known = [item.name for item in fields(kind) if item.init]
    for option in options:
        if option not in known:
            remedy = did_you_mean(option, known, f"known options: {', '.join(known)}")
            raise ConfigError(f"task {name!r} has no option {option!r}; {remedy}")
    # JSON has no tuples
    task: Task = kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in options.items()})
    return task
