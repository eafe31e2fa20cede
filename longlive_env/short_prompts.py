"""Measure how well a world follows prompts of a few words, which leave most attributes out.

A take begins with a prompt that names what is unusual about a held-out scene; the rest should be usual.
Half-way, one attribute changes, and the prompt names nothing but that; the rest should stay as it was. See
`longlive_env.tiny.scene.completed` for what is meant.

Shapes: R rollouts, S blocks of a rollout, A attributes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from longlive_env.evaluate import (
    SETTLE_BLOCKS,
    EvalConfig,
    Measure,
    OnBlock,
    Trial,
    asked_values,
    changed_attributes,
    read_values,
    scene_pair,
    switched,
)
from longlive_env.intervals import Share
from longlive_env.tiny.captions import short_caption
from longlive_env.tiny.probe import Probe
from longlive_env.tiny.scene import ATTRIBUTES, sample_usual, without_saying

if TYPE_CHECKING:
    from longlive_env.engine.world import World

BLOCKS = 4 * SETTLE_BLOCKS  # length of a rollout


def short_config(config: EvalConfig) -> EvalConfig:
    """Settings for short prompts: those of an evaluation, with shorter rollouts."""
    return replace(config, blocks=min(BLOCKS, config.blocks))


def short_trials(config: EvalConfig) -> Iterator[Trial]:
    """Rollouts whose prompts are short; attributes take turns to change."""
    for index in range(config.rollouts):
        rng = np.random.default_rng((config.seed, 2, index))
        changed = list(ATTRIBUTES)[index % len(ATTRIBUTES)]
        first, second = scene_pair(sample_usual, changed, rng)
        prompts = short_caption(first, rng), short_caption(second, rng, first)
        yield Trial((first, second), prompts, changed, seed=config.seed * 1_000_000 + index)


def evaluate_short(world: World, config: EvalConfig, on_block: OnBlock | None = None) -> tuple[Measure, ...]:
    """Generate videos from short prompts, read them with the probe, and count.

    Args:
        world: world that shows the tiny world's scenes.
        config: what to generate, see `short_config`.
        on_block: callback as in `evaluate`.

    Returns:
        Lines of a report, without bars: of the group "few", the shares of attributes that the first prompt
        names, and of those that it leaves out, that blocks before the switch show; of the group "edit", the
        shares of `switched` for the third block after it.
    """
    planned = list(short_trials(config))
    read = read_values(world, planned, config, Probe.load(device=world.device), on_block)
    return _measures(planned, read, config.switch)


def _measures(planned: list[Trial], read: npt.NDArray[np.int64], switch: int) -> tuple[Measure, ...]:
    """Count what was read [R, S, A]."""
    asked, changed = asked_values(planned), changed_attributes(planned)
    unsaid = asked[:, 0] == np.array([without_saying(one.scenes[0]).labels() for one in planned])  # [R, A]
    before, after = read[:, :switch] == asked[:, :1], read[:, switch:] == asked[:, 1:]
    shown = before.mean(axis=1)  # [R, A]
    values = {
        "few": {"named": _mean_share(shown, ~unsaid), "left out": _mean_share(shown, unsaid)},
        "edit": switched(before[:, -1], after[:, SETTLE_BLOCKS - 1], changed),
    }
    return tuple(
        Measure(group, name, value, bar=None, target=None)
        for group, lines in values.items()
        for name, value in lines.items()
    )


def _mean_share(shown: npt.NDArray[np.float64], counted: npt.NDArray[np.bool_]) -> Share:
    """The mean of counted shares [R, A]; a rollout with any counts once."""
    some = counted.any(axis=1)
    return Share.of((shown * counted).sum(axis=1)[some] / counted.sum(axis=1)[some])
