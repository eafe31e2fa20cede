"""Measure what a precision costs: how far a world's latents move, and what the probe still reads.

The latents of two worlds that run freely from the same noise and prompts are compared block by block: the
first block has only the error of the arithmetic, later ones also what has grown from it. Adherence is
measured by `evaluate`.

Shapes: B worlds, F latent frames of a block, C latent channels, h x w latents.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from longlive_env.evaluate import EvalConfig, OnBlock, Report, begin, evaluate, trials
from longlive_env.tiny.probe import Probe

if TYPE_CHECKING:
    from longlive_env.engine.config import Precision
    from longlive_env.engine.world import World

COMPARED_WORLDS = 4
COMPARED_BLOCKS = 4  # a full context


@dataclass(frozen=True)
class Outcome:
    """Results of a world in one precision.

    Attributes:
        precision: name of the precision; None is the world as loaded by default, the reference.
        relative_error: ``|x - reference| / |reference|`` of each block's latents, over all worlds compared.
        report: what the probe reads.
    """

    precision: Precision | None
    relative_error: tuple[float, ...]
    report: Report

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "precision": self.precision,
            "relative_error": [float(f"{error:.3g}") for error in self.relative_error],
            **self.report.to_json(),
        }


def compare(
    load: Callable[[Precision | None], World],
    precisions: Sequence[Precision],
    config: EvalConfig,
    probe: Probe | None = None,
    on_block: OnBlock | None = None,
) -> list[Outcome]:
    """Evaluate a world by default and in other precisions; one world is in memory at a time.

    Args:
        load: function that loads the world in a precision.
        precisions: precisions to compare.
        config: what to generate for each.
        probe: probe that reads the frames; None loads the shipped one.
        on_block: see `evaluate`.

    Returns:
        The default first, then the precisions in the order given.
    """
    outcomes, reference = [], None
    for precision in (None, *precisions):
        world = load(precision)
        found = latents(world, config)
        reference = reference or found
        errors = tuple(_relative(mine, theirs) for mine, theirs in zip(found, reference, strict=True))
        outcomes.append(Outcome(precision, errors, evaluate(world, config, probe, on_block)))
        del world  # before the next is loaded
    return outcomes


def latents(world: World, config: EvalConfig) -> list[Tensor]:
    """The first blocks ``[B, F, C, h, w]`` of the evaluation's first prompts, on the CPU."""
    chosen = list(itertools.islice(trials(config), COMPARED_WORLDS))
    rollout = begin(world, chosen)
    return [rollout.step_latents().cpu() for _ in range(COMPARED_BLOCKS)]


def _relative(x: Tensor, reference: Tensor) -> float:
    return float((x - reference).norm() / reference.norm())


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as text: errors of the first and last block compared, and shares read by the probe."""
    groups = (("prompt", ""), ("switch", "switch "))
    names = [
        (group, measure.name, prefix + measure.name)
        for group, prefix in groups
        for measure in outcomes[0].report.measures
        if measure.group == group
    ]
    head = f"{'precision':<18} {'error, block 1':>14} {f'block {COMPARED_BLOCKS}':>8}"
    lines = [head + "".join(f" {title:>{_width(title)}}" for *_, title in names)]
    for one in outcomes:
        shares = {(m.group, m.name): m.value.share for m in one.report.measures}
        name, first, last = one.precision or "as loaded", one.relative_error[0], one.relative_error[-1]
        row = f"{name:<18} {first:>14.2e} {last:>8.1e}"
        lines.append(row + "".join(f" {shares[g, n]:>{_width(title)}.1%}" for g, n, title in names))
    return "\n".join(lines)


def _width(title: str) -> int:
    return max(7, len(title))
