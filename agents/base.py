"""What an agent is, and how one plays an episode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import numpy.typing as npt


class Agent(Protocol):
    """Chooses prompts from what it sees.

    Observations are uint8 `[T, H, W, 3]`, the newest block of frames; `info` is the env's.
    """

    def begin(self, observation: npt.NDArray[np.uint8], info: Mapping[str, Any], seed: int | None) -> None:
        """Forget the last episode; the observation is the first of a new one.

        Args:
            observation: what `env.reset` returned.
            info: what came with it.
            seed: seeds the agent's own choices; None leaves them to chance.
        """

    def act(self, observation: npt.NDArray[np.uint8], info: Mapping[str, Any]) -> str:
        """The next prompt; `""` keeps the one in force."""


@dataclass(frozen=True)
class Episode:
    """What happened in one episode.

    Attributes:
        prompts: the prompt in force at each observation, the first included.
        rewards: one for each step.
        terminated: whether the env ended it, rather than a limit of steps.
    """

    prompts: tuple[str, ...]
    rewards: tuple[float, ...]
    terminated: bool

    @property
    def total(self) -> float:
        """Sum of the rewards."""
        return sum(self.rewards)


def play_episode(
    env: gym.Env[npt.NDArray[np.uint8], str],
    agent: Agent,
    *,
    seed: int | None = None,
    options: dict[str, Any] | None = None,
    steps: int | None = None,
) -> Episode:
    """Let an agent play until the env ends the episode.

    Args:
        env: a prompt env.
        agent: who plays.
        seed: seeds the env and the agent.
        options: passed on to `env.reset`.
        steps: stop after this many at the latest.
    """
    observation, info = env.reset(seed=seed, options=options)
    agent.begin(observation, info, seed)
    prompts: list[str] = [info["prompt"]]
    rewards: list[float] = []
    terminated = truncated = False
    while not (terminated or truncated or (steps is not None and len(rewards) >= steps)):
        observation, reward, terminated, truncated, info = env.step(agent.act(observation, info))
        prompts.append(info["prompt"])
        rewards.append(float(reward))
    return Episode(tuple(prompts), tuple(rewards), bool(terminated))
