"""The seat of an agent that plays in the viewer: it thinks in a thread of its own, and the world plays on.

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
from longlive_env.envs.seat import Agent, SeatEnv
from longlive_env.errors import AgentError
from longlive_env.frames import Frames
from longlive_env.viewer.breakable import Breakable
from longlive_env.viewer.history import Beat

if TYPE_CHECKING:
    from longlive_env.engine.rollout import Rollout
    from longlive_env.engine.world import World

GLANCE_S = 0.1  # between two looks whether anybody still waits
PATIENCE_S = 0.2  # the world waits so long for an answer: quick agents play as they do without a clock


@dataclass(eq=False)
class _Thought:
    """What an agent is asked, and what it has answered once `done` is set.

    Attributes:
        episode: during which it was asked.
        rollout: the world as it was then, until the answer is there; nobody else moves it.
        generator: for the agent's own choices, if its episode begins with this.
        observation: uint8 [T, H, W, 3].
        info: about the newest block.
        answer: a prompt, or `""`.
        error: why there is none.
        done: whether it has come to an end.
    """

    episode: int
    rollout: Rollout | None
    generator: np.random.Generator | None
    observation: Frames
    info: dict[str, Any]
    answer: str = ""
    error: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)


class AgentSeat:
    """Asks an agent for prompts, and tells it when the world has jumped.

    An agent that takes long is not waited for: it is asked about one block, the blocks that are generated
    meanwhile keep their prompt, and its answer goes into the next one. If the world has jumped by then, the
    answer is dropped.

    Args:
        world: what is played.
        agent: who plays.
        patience_s: how long to wait for an answer before the world plays on; None for as long as it takes,
            and so it is where the two cannot use the device at the same time.
    """

    def __init__(self, world: World, agent: Agent, *, patience_s: float | None = PATIENCE_S) -> None:
        self._agent = agent
        # Weights that visit the device layer by layer can serve one at a time, and while one thread captures
        # a CUDA graph, which may be in any block of a world or of its forks, no other may use the device.
        alone = is_offloaded(world.transformer) or captures(world.compiled, world.device)
        self._patience_s = None if alone else patience_s
        self._env = SeatEnv(world)
        self._expected: int | None = None  # the position at which the agent's episode goes on
        self._episode = self._begun = 0  # the present one, and the one that the agent knows of
        self._thought: _Thought | None = None
        self._asked: SimpleQueue[_Thought | None] = SimpleQueue()
        self._thread: Breakable | None = None
        self._gone = threading.Event()

    @property
    def thinking(self) -> bool:
        """Whether the agent has yet to answer."""
        return self._thought is not None and not self._thought.done.is_set()

    def jumped(self) -> None:
        """The world has jumped: the agent begins anew when it is asked next."""
        self._expected = None

    def let_go(self) -> None:
        """Nobody waits for an answer any more; may be called while somebody does."""
        self._gone.set()

    def close(self) -> None:
        """The agent is asked no more, and what it computes is broken off.

        One that waits for a network may go on doing so, unheard.
        """
        if self._thread is not None:
            self._asked.put(None)
            self._thread.break_off()
            self._thread = None

    def act(self, rollout: Rollout, frames: Frames, beats: Sequence[Beat], seed: int, prompt: str) -> str:
        """The agent's prompt for the next block, or `""`, also while it is thinking.

        Args:
            rollout: the world after the newest block, which must not move as long as the agent is thinking.
            frames: of the newest block, uint8 [T, H, W, 3].
            beats: the take so far.
            seed: of the take; seeds the agent's own choices.
            prompt: that the next block would have.

        Raises:
            AgentError: the agent fails, or asks for what the world cannot read.
        """
        if self._expected != len(beats):
            self._episode += 1
        self._expected = len(beats) + 1
        if (
            self._thought is not None
            and self._thought.done.is_set()
            and self._thought.episode != self._episode
        ):
            self._answer(self._thought)  # too late, but a failure is told
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
            if self._gone.is_set():  # and the world must not go on beside the agent
                raise AgentError("nobody waits for the agent any more")

    def _answer(self, thought: _Thought) -> str:
        self._thought = None
        if thought.error is not None:
            raise AgentError(f"{thought.error}" or type(thought.error).__name__) from thought.error
        # To say the prompt again that one was told is to keep what there is, whatever that has become.
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
        """What the agent's thread does."""
        while (thought := self._asked.get()) is not None:
            try:
                self._env.rollout = thought.rollout
                if thought.generator is not None:
                    self._env.np_random = thought.generator
                    self._agent.reset(self._env, thought.info)
                thought.answer = self._env.checked(self._agent.act(thought.observation, thought.info))
            except Exception as error:
                thought.error = error
            finally:
                self._env.rollout = thought.rollout = None  # whose state is large
                thought.done.set()

    def _info(self, beats: Sequence[Beat], prompt: str) -> dict[str, Any]:
        """What `PromptEnv` tells about the newest block, with the prompt that is in force next."""
        newest = beats[-1]
        switched = len(beats) > 1 and beats[-2].prompt != newest.prompt
        frame_count = sum(beat.frames for beat in beats)
        recached = switched and newest.recache == "full"
        return self._env.info(prompt, newest.block, frame_count, recached=recached)
