"""What an agent is, and how one plays an episode.

Shapes: T = 12 pixel frames of a block, H rows, W columns.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import gymnasium as gym
import numpy as np

from longlive_env.envs.seat import Agent, Env
from longlive_env.errors import AgentError
from longlive_env.frames import Frames

if TYPE_CHECKING:
    from longlive_env.engine.rollout import Rollout
    from longlive_env.engine.world import World


class Seat(Protocol):
    """What agents may look into: an env around a running world, or the seat of a viewer."""

    world: World

    @property
    def rollout(self) -> Rollout:
        """The running world."""

    @property
    def np_random(self) -> np.random.Generator:
        """The env's own generator; agents do not draw from it, see `generator`."""


def seat(env: Env) -> Seat:
    """The env inside any wrappers of `env`, or the viewer's seat.

    Raises:
        AgentError: `env` does not run a world of this package.
    """
    inner = env.unwrapped
    if not hasattr(inner, "rollout") or not hasattr(inner, "world"):
        raise AgentError(f"{env} runs no prompt world; agents play envs such as LongLive/Tiny-v0")
    return cast(Seat, inner)


def generator(env: Env) -> np.random.Generator:
    """Random numbers for an agent: they follow from the env's seed and episode, but draw nothing from it.

    They come from a hash of the state of the env's generator. Jumping ahead from that state would give all
    episodes since a seed the same numbers, shifted by what the env has drawn in between.
    """
    state = seat(env).np_random.bit_generator.state
    return np.random.default_rng(int.from_bytes(hashlib.sha256(repr(state).encode()).digest()))


@dataclass(frozen=True)
class Episode:
    """What happened in one episode.

    Attributes:
        prompts: the prompt in force at each observation, the first included.
        rewards: the reward of each step.
        terminated: whether the env ended the episode, rather than a limit of steps.
    """

    prompts: tuple[str, ...]
    rewards: tuple[float, ...]
    terminated: bool

    @property
    def total(self) -> float:
        """Sum of the rewards."""
        return sum(self.rewards)


def play_episode(
    env: gym.Env[Frames, str],
    agent: Agent,
    *,
    seed: int | None = None,
    options: dict[str, Any] | None = None,
    steps: int | None = None,
) -> Episode:
    """Let an agent play until the env ends the episode.

    Args:
        env: a prompt env.
        agent: the agent that plays.
        seed: seed of the env, and so of the agent.
        options: passed on to `env.reset`.
        steps: largest number of steps.
    """
    observation, info = env.reset(seed=seed, options=options)
    agent.reset(env, info)
    prompts: list[str] = [info["prompt"]]
    rewards: list[float] = []
    terminated = truncated = False
    while not (terminated or truncated or (steps is not None and len(rewards) >= steps)):
        observation, reward, terminated, truncated, info = env.step(agent.act(observation, info))
        prompts.append(info["prompt"])
        rewards.append(float(reward))
    return Episode(tuple(prompts), tuple(rewards), bool(terminated))
