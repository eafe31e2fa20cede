"""Prompt switches half-way through short takes: whether they are obeyed, and how smooth they are.

Shapes: R rollouts, B of them together, T pixel frames per block, H x W pixels, D features, A attributes, S
blocks under the new prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from longlive_env.evaluate import (
    SETTLE_BLOCKS,
    SOON_BLOCKS,
    EvalConfig,
    Trial,
    asked_values,
    begin,
    changed_attributes,
    labels,
    padded_blocks,
    switched,
)
from longlive_env.intervals import Estimate, FloatArray, Share, ratio_of_means
from longlive_env.long_take import OnBlock
from longlive_env.tiny.probe import Probe, to_pixels
from longlive_env.tiny.scene import ATTRIBUTES

if TYPE_CHECKING:
    from longlive_env.engine.config import RecacheMode
    from longlive_env.engine.world import World

DISTANCES = ("pixels", "features", "unchanged")


class SwitchRow(TypedDict):
    """One rollout, in JSON values.

    Attributes:
        changed: attribute in which the prompts differ.
        before: whether the last block under the old prompt shows each of its attributes [A].
        after: the same for the first blocks under the new prompt [S, A].
        jump: distances across the switch, see `Switches`.
        usual: mean distances between neighbouring blocks before it.
    """

    changed: str
    before: list[bool]
    after: list[list[bool]]
    jump: dict[str, float]
    usual: dict[str, float]


@dataclass(frozen=True)
class Switches:
    """Results of prompt switches.

    Distances between neighbouring blocks are measured in "pixels", between the last frame of one and the
    first of the next; in the probe's "features" of both blocks; and in its features of the "unchanged"
    attributes, since a requested change is not a jump.

    Attributes:
        changed: whether the prompts differ in an attribute [R, A].
        before: whether the last block under the old prompt shows each of its attributes [R, A].
        after: the same for the first blocks under the new prompt [R, S, A].
        jumps: distances across the switch [R], by name.
        usual: distances between neighbouring blocks before it [R], by name.
    """

    changed: npt.NDArray[np.bool_]
    before: npt.NDArray[np.bool_]
    after: npt.NDArray[np.bool_]
    jumps: dict[str, FloatArray]
    usual: dict[str, FloatArray]

    @classmethod
    def of(cls, rows: Sequence[SwitchRow]) -> Switches:
        """Collect the rows of rollouts."""
        return cls(
            changed=np.array([[name == row["changed"] for name in ATTRIBUTES] for row in rows]),
            before=np.array([row["before"] for row in rows]),
            after=np.array([row["after"] for row in rows]),
            jumps={name: np.array([row["jump"][name] for row in rows]) for name in DISTANCES},
            usual={name: np.array([row["usual"][name] for row in rows]) for name in DISTANCES},
        )

    @property
    def rollouts(self) -> int:
        """Number of rollouts."""
        return len(self.changed)

    def obeyed(self, block: int = SETTLE_BLOCKS) -> Share:
        """Return the share of rollouts that show the new value in the `block`-th block after the switch."""
        return switched(self.before, self.after[:, block - 1], self.changed)["changed"]

    def kept(self) -> Share:
        """Return the share of unchanged, previously right attributes that are still right once settled."""
        return switched(self.before, self.after[:, SETTLE_BLOCKS - 1], self.changed)["unchanged"]

    @property
    def settled(self) -> FloatArray:
        """1 for rollouts that obey in the block that judges them, 0 for others [R]."""
        return self.after[:, SETTLE_BLOCKS - 1][self.changed].astype(np.float64)

    def jump(self, distance: str) -> Estimate:
        """Return the mean distance across the switch, relative to that of ordinary neighbours."""
        return ratio_of_means(self.jumps[distance], self.usual[distance])

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "rollouts": self.rollouts,
            "obeyed": self.obeyed().to_json(),
            "obeyed_soon": self.obeyed(SOON_BLOCKS).to_json(),
            "kept": self.kept().to_json(),
            "jump": {name: self.jump(name).to_json() for name in DISTANCES},
        }


def roll_out(
    world: World,
    group: Sequence[Trial],
    config: EvalConfig,
    probe: Probe,
    recache: RecacheMode = "full",
    on_block: OnBlock | None = None,
) -> list[SwitchRow]:
    """Roll out a batch of takes whose prompts switch half-way.

    Args:
        world: world to roll out.
        group: prompts and seeds.
        config: when the prompts switch.
        probe: probe that reads the frames.
        recache: what a switch does to the cache.
        on_block: called with the index of each block and its frames, uint8 [B, T, H, W, 3].
    """
    asked, changed = asked_values(group), torch.from_numpy(changed_attributes(group))
    rollout = begin(world, group)
    distances: list[dict[str, Tensor]] = []  # of each block from the previous one: [B]
    shown, last = [], None
    for block in range(config.switch + SETTLE_BLOCKS):
        if block == config.switch:
            rollout.switch_prompt([one.prompts[1] for one in group], recache)
        frames = padded_blocks(rollout.step())
        with torch.no_grad():
            pooled = probe.pooled(to_pixels(frames).to(probe.device))
        look = _Look(frames[:, 0].float() / 255, frames[:, -1].float() / 255, pooled)
        if last is not None:
            distances.append(look.distances(last, changed))
        last = look
        if block >= config.switch - 1:
            shown.append(labels(probe, frames) == asked[:, int(block >= config.switch)])
        if on_block is not None:
            on_block(block, frames)
    *usual, jump = (_rounded(one) for one in distances[: config.switch])
    return [
        SwitchRow(
            changed=one.changed,
            before=shown[0][i].tolist(),
            after=[block[i].tolist() for block in shown[1:]],
            jump={name: jump[name][i] for name in DISTANCES},
            usual={name: float(np.mean([one[name][i] for one in usual])) for name in DISTANCES},
        )
        for i, one in enumerate(group)
    ]


def _rounded(distances: dict[str, Tensor]) -> dict[str, list[float]]:
    return {name: [round(value, 6) for value in values.tolist()] for name, values in distances.items()}


@dataclass(frozen=True)
class _Look:
    """What is compared between blocks: first and last frame [B, H, W, 3], features [B, D] by attribute."""

    first: Tensor
    last: Tensor
    pooled: dict[str, Tensor]

    def distances(self, before: _Look, changed: Tensor) -> dict[str, Tensor]:
        """Return distances from the previous block, [B] by name; `changed` [B, A] is what prompts change."""
        squares = torch.stack(
            [(self.pooled[name] - before.pooled[name]).square().sum(dim=1) for name in ATTRIBUTES], dim=1
        ).cpu()  # [B, A]
        return {
            "pixels": (self.first - before.last).abs().flatten(1).mean(dim=1),
            "features": squares.sum(dim=1).sqrt(),
            "unchanged": (squares * ~changed).sum(dim=1).sqrt(),
        }
