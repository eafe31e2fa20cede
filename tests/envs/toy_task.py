"""A task whose rules are easy to foretell, for tests of envs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from longlive_env.engine.config import WorldConfig
from longlive_env.envs.task import Block, Opening, TaskState, Verdict

STORM = "a blue ghost dances in the castle"


@dataclass(frozen=True)
class Count:
    """Rewards the number of blocks; ends after `length` steps; imposes a prompt at `storm_at`."""

    length: int = 3
    storm_at: int = -1

    @property
    def reset_options(self) -> tuple[str, ...]:
        return ("length",)

    def check(self, config: WorldConfig) -> None:
        pass

    def open(self, rng: np.random.Generator, prompt: str | None, options: Mapping[str, Any]) -> Opening:
        length = int(options.get("length", self.length))
        return Opening({"blocks": 0, "length": length, "draw": int(rng.integers(1000))}, prompt)

    def disturb(self, state: TaskState) -> str | None:
        return STORM if state["blocks"] == self.storm_at else None

    def judge(self, states: Sequence[TaskState], blocks: Sequence[Block]) -> list[Verdict]:
        return [self._verdict(state, block) for state, block in zip(states, blocks, strict=True)]

    def _verdict(self, state: TaskState, block: Block) -> Verdict:
        blocks = state["blocks"] + 1
        mean = np.asarray(block.frames.mean(axis=(0, 1, 2)), np.float32)
        info = {"blocks": blocks, "draw": state["draw"], "asked": block.asked, "switched": block.switched}
        return Verdict(
            {**state, "blocks": blocks},
            reward=float(blocks),
            terminated=blocks > state["length"],
            info={**info, "mean": mean, "stops": ("a", "b")},
        )


@dataclass(frozen=True)
class Gives(Count):
    """Gives a verdict of one's own from the first step on."""

    verdict: Verdict = field(default_factory=lambda: Verdict({}))

    def _verdict(self, state: TaskState, block: Block) -> Verdict:
        usual = super()._verdict(state, block)
        return usual if not state["blocks"] else replace(self.verdict, state=usual.state)


@dataclass(frozen=True)
class Fails(Count):
    """Fails to judge once, at the call of this number, from 1 on."""

    at: int = 2
    calls: list[int] = field(default_factory=list)

    def judge(self, states: Sequence[TaskState], blocks: Sequence[Block]) -> list[Verdict]:
        self.calls.append(len(blocks))
        if len(self.calls) == self.at:
            raise TimeoutError("the judge is busy")
        return super().judge(states, blocks)
