"""Playing a plan in a world.

Shapes: T pixel frames, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from longlive_env.errors import RecordingError
from longlive_env.recording.log import ActionLog
from longlive_env.scenario.model import RECACHE_MODES, Plan, Recache

if TYPE_CHECKING:
    from longlive_env.engine.rollout import World


@dataclass(frozen=True)
class Block:
    """One generated block: its index, the prompt in force, and its frames, uint8 [T, H, W, 3]."""

    index: int
    prompt: str
    frames: npt.NDArray[np.uint8]


def play(world: World, plan: Plan) -> Iterator[Block]:
    """The blocks of `plan`, each generated when it is asked for.

    Raises:
        PromptError: the world cannot read one of the prompts.
    """
    from longlive_env.envs.prompts import checked_prompt  # torch loads here

    prompt = checked_prompt(world, plan.prompt)
    switches = {index: checked_prompt(world, text) for index, text in plan.switches.items()}
    return _blocks(world, replace(plan, prompt=prompt, switches=switches))


def _blocks(world: World, plan: Plan) -> Iterator[Block]:
    rollout = world.start(plan.prompt, seed=plan.seed)
    prompt = plan.prompt
    for index in range(plan.blocks):
        if plan.switches.get(index, prompt) != prompt:
            prompt = plan.switches[index]
            rollout.switch_prompt(prompt, recache=plan.recache)
        yield Block(index, prompt, rollout.step()[0].numpy())


def replay_plan(log: ActionLog) -> Plan:
    """The plan that repeats a recorded run, as far as its log goes.

    Raises:
        RecordingError: the log holds no block, or was written with an unknown recache mode.
    """
    if not log.blocks:
        raise RecordingError("the log holds no block; there is nothing to replay")
    if log.header.recache not in RECACHE_MODES:
        raise RecordingError(
            f"the log's recache is {log.header.recache!r}; expected {', '.join(RECACHE_MODES)}"
        )
    switches = {
        block.block: block.prompt
        for before, block in zip(log.blocks, log.blocks[1:], strict=False)
        if block.prompt != before.prompt
    }
    return Plan(
        prompt=log.blocks[0].prompt,
        seed=log.header.seed,
        blocks=len(log.blocks),
        switches=MappingProxyType(switches),
        recache=cast(Recache, log.header.recache),
    )
