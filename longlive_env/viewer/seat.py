"""The seat of an agent in the viewer: the agent thinks in a separate thread while the world plays on.

Shapes: T pixel frames of a block, H rows, W columns.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from longlive_env.engine.compile import captures
from longlive_env.engine.offload import is_offloaded
from longlive_env.envs.seat import Agent, SeatEnv, ask
from longlive_env.errors import AgentError
from longlive_env.frames import Frames
from longlive_env.viewer.breakable import Breakable, BrokenOff
from longlive_env.viewer.history import Beat

if TYPE_CHECKING:
    from longlive_env.engine.rollout import Rollout
    from longlive_env.engine.world import World

GLANCE_S = 0.1  # interval of checks whether anybody still waits
PATIENCE_S = 0.2  # wait for an answer, so that quick agents play as they do without a clock


@dataclass(eq=False)
class _Thought:
    """A question to an agent, and its answer once `done` is set.

    Attributes:
        episode: episode in which it was asked.
        rollout: world at that time, kept until the answer arrives; nobody else moves it.
        generator: random generator of the agent's choices, if this begins its episode.
        observation: newest block, uint8 [T, H, W, 3].
        info: info about the newest block.
        answer: a prompt, or `""`.
        error: why there is no answer.
        done: whether the agent has finished.
    """

    episode: int
    rollout: Rollout | None
    generator: np.random.Generator | None
    observation: Frames
    info: dict[str, Any]
    answer: str = ""
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)


class AgentSeat:
    """Asks an agent for prompts; its episode restarts when the world has jumped or the user has set a prompt.

    The world does not wait for a slow agent: blocks that are generated while it thinks keep their prompt, and
    its answer applies to the next one. If its episode is over by then, the answer is dropped.

    Args:
        world: world being played.
        agent: agent that plays.
        patience_s: how long to wait for an answer before the world plays on; None waits as long as it takes,
            as does any value if the two cannot use the device at the same time.
    """

    def __init__(self, world: World, agent: Agent, *, patience_s: float | None = PATIENCE_S) -> None:
        self._agent = agent
        # Weights that visit the device layer by layer can serve only one thread at a time. And while a thread
        # captures a CUDA graph, which may happen in any block of a world or its forks, no other may use the
        # device.
        alone = is_offloaded(world.transformer) or captures(world.compiled, world.device)
        self._patience_s = None if alone else patience_s
        self._env = SeatEnv(world)
        self._expected: int | None = None  # position at which the agent's episode continues
        self._episode = self._begun = 0  # the current one, and the one that the agent knows
        self._thought: _Thought | None = None
        self._asked: SimpleQueue[_Thought | None] = SimpleQueue()
        self._thread: Breakable | None = None
        self._gone = threading.Event()

    @property
    def thinking(self) -> bool:
        """Whether the agent has yet to answer."""
        return self._thought is not None and not self._thought.done.is_set()

    def jumped(self) -> None:
        """Note that the world has jumped: the agent begins a new episode when it is asked next."""
        self._expected = None

    def let_go(self) -> None:
        """Stop waiting for an answer; may be called while somebody waits."""
        self._gone.set()

    def close(self) -> None:
        """Stop asking the agent, and abort what it computes.

        An agent that waits for a network may continue to do so, unheard.
        """
        if self._thread is not None:
            self._asked.put(None)
            self._thread.break_off()
            self._thread = None

    def act(self, rollout: Rollout, frames: Frames, beats: Sequence[Beat], seed: int, prompt: str) -> str:
        """Return the agent's prompt for the next block; `""` keeps it, also while the agent is thinking.

        Args:
            rollout: world after the newest block; it must not move while the agent is thinking.
            frames: frames of the newest block, uint8 [T, H, W, 3].
            beats: blocks of the take so far.
            seed: seed of the take, and of the agent's own choices.
            prompt: prompt that the next block would have.

        Raises:
            AgentError: the agent fails, or asks for a prompt that the world cannot read.
        """
        if self._expected != len(beats):
            self._episode += 1
        self._expected = len(beats) + 1
        if (
            self._thought is not None
            and self._thought.done.is_set()
            and self._thought.episode != self._episode
        ):
            self._answer(self._thought)  # too late, but a failure is reported
        if self._thought is None:
            self._thought = self._ask(rollout, frames, beats, seed, prompt)
            self._wait_for(self._thought)
        if self.thinking or self._thought.episode != self._episode:
            return ""
        return self._answer(self._thought)

    def _wait_for(self, thought: _Thought) -> None:
        if self._patience_s is not None:
            thought.done.wait(self._patience_s)
            return
        while not thought.done.wait(GLANCE_S):
            if self._gone.is_set():  # the world must not run beside the agent
                raise AgentError("nobody waits for the agent any more")

    def _answer(self, thought: _Thought) -> str:
        self._thought = None
        if thought.error is not None:
            raise AgentError(f"{thought.error}" or type(thought.error).__name__) from thought.error
        # Repeating the prompt it was given means keeping the current one, whatever that is by now.
        return "" if thought.answer == thought.info["prompt"] else thought.answer

    def _ask(
        self, rollout: Rollout, frames: Frames, beats: Sequence[Beat], seed: int, prompt: str
    ) -> _Thought:
        thought = _Thought(
            self._episode,
            rollout,
            np.random.default_rng(seed) if self._begun != self._episode else None,
            self._env.observation(frames),
            self._info(beats, prompt),
        )
        self._begun = self._episode
        if self._thread is None:
            self._thread = Breakable(self._think, name="longlive-agent")
            self._thread.start()
        self._asked.put(thought)
        return thought

    def _think(self) -> None:
        """Body of the agent's thread."""
        while (thought := self._asked.get()) is not None:
            try:
                self._env.rollout = thought.rollout
                if begins := thought.generator is not None:
                    self._env.np_random = thought.generator
                thought.answer = ask(self._agent, self._env, thought.observation, thought.info, begins=begins)
            except BrokenOff:
                raise
            except BaseException as error:
                thought.error = error
            finally:
                self._env.rollout = thought.rollout = None  # whose state is large
                thought.done.set()

    def _info(self, beats: Sequence[Beat], prompt: str) -> dict[str, Any]:
        """Return the info of `PromptEnv` about the newest block, with the prompt that is in force next."""
        newest = beats[-1]
        frame_count = sum(beat.frames for beat in beats)
        recached = len(beats) > 1 and newest.mix.recaches(beats[-2].mix, newest.recache)
        return self._env.info(prompt, newest.block, frame_count, recached=recached)
