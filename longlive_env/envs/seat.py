"""The agent protocol, and an env through which an agent sees a world that is stepped for it.

Shapes: T pixel frames, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Protocol

import gymnasium as gym

from longlive_env.envs.prompts import EmbeddedPrompt, checked_prompt, prompt_space
from longlive_env.envs.spaces import frames_space
from longlive_env.errors import AgentError, ConfigError, LongLiveError, PromptError
from longlive_env.frames import Frames, whole_block

if TYPE_CHECKING:
    from longlive_env.engine.rollout import Rollout
    from longlive_env.engine.world import World

Info = Mapping[str, Any]
Env = gym.Env[Any, Any]


class Agent(Protocol):
    """Chooses prompts from observations. Any object with these two methods is an agent."""

    def reset(self, env: Env, info: Info, /) -> None:
        """Start a new episode and forget the last one.

        Args:
            env: env being played. An agent may inspect and fork it, but not step it.
            info: info that `env.reset` returned with the first observation.
        """

    def act(self, observation: Frames, info: Info, /) -> str:
        """Return the next prompt; `""` keeps the one in force.

        Args:
            observation: newest block of frames, uint8 [T, H, W, 3].
            info: the env's info about that block.
        """


def ask(agent: Agent, env: SeatEnv, observation: Frames, info: Info, *, begins: bool) -> str:
    """Ask an agent for the next prompt, as the world reads it; `""` keeps the one in force.

    Args:
        agent: the agent.
        env: env in which it is seated.
        observation: newest block of frames, uint8 [T, H, W, 3].
        info: info about that block.
        begins: whether an episode begins, so that the agent has to forget the last one.

    Raises:
        AgentError: the agent fails, calls `sys.exit`, or gives an answer that the world cannot read; its
            cause is what the agent has raised. Subclasses of `SystemExit` pass: a viewer breaks agents off by
            one.
    """
    try:
        if begins:
            agent.reset(env, info)
        answer = agent.act(observation, info)
    except (AgentError, KeyboardInterrupt):
        raise
    except BaseException as error:  # such as of `sys.exit`, a cancelled request, or a library in Rust
        if isinstance(error, SystemExit) and type(error) is not SystemExit:
            raise
        raise AgentError(f"the agent has failed at block {info['block']}: {_told(error)}") from error
    try:
        return env.checked(answer)
    except PromptError as error:
        raise AgentError(f"the agent's answer at block {info['block']} is no prompt: {error}") from None


def _told(error: BaseException) -> str:
    if isinstance(error, LongLiveError):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class SeatEnv(gym.Env[Frames, str]):
    """A running world as an env: agents may inspect and fork it, but only its player steps it.

    Args:
        world: world being played.

    Attributes:
        world: world being played.
        rollout: the running world.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]

    def __init__(self, world: World) -> None:
        self.world = world
        self.rollout: Rollout | None = None
        self.observation_space = frames_space(world.config)
        self.action_space = prompt_space(world.config)

    def observation(self, frames: Frames) -> Frames:
        """Return a block as an env would show it: uint8 [T, H, W, 3], with T as in the observation space."""
        return whole_block(frames, self.world.config.block_pixel_frames)

    def info(self, prompt: str, block: int, frame_count: int, *, recached: bool) -> dict[str, Any]:
        """Return the info that an env would give about the newest block, except for `world_seed`.

        Args:
            prompt: prompt in force.
            block: index of the block.
            frame_count: number of pixel frames up to its end.
            recached: whether the block was generated after a recache.
        """
        return {
            "prompt": prompt,
            "block": block,
            "seconds": frame_count / self.world.config.fps,
            "recached": recached,
            "unknown_words": tuple(self.world.unknown_words(prompt)),
        }

    def checked(self, answer: object) -> str:
        """Return an agent's answer as the world reads it.

        Raises:
            PromptError: it is not text that the world can read, or it is an embedding.
        """
        if isinstance(answer, EmbeddedPrompt):
            raise PromptError("the agent answers with an embedding; a run's log keeps texts, so return one")
        return checked_prompt(self.world, answer)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> NoReturn:
        """Refused.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("an agent cannot reset the world that it is seated in; return a prompt from act()")

    def step(self, action: str) -> NoReturn:
        """Refused.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("an agent cannot step the world itself; return a prompt from act()")
