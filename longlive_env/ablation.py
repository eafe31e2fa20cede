"""The proof that the parts of the recipe work: the same world without them, measured on the same prompts.

A variant changes how a world is run, never its weights: what a prompt switch does to the cache, how long the
sink and the context are, how many denoising steps a block takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from longlive_env.evaluate import SETTLE_BLOCKS, Episode, EvalConfig, Share, episodes, whole_block
from longlive_env.long_take import LongTake, check_length, long_take
from longlive_env.tiny.probe import Probe, to_pixels
from longlive_env.tiny.scene import ATTRIBUTES

if TYPE_CHECKING:
    from longlive_env.engine.config import WorldConfig
    from longlive_env.engine.rollout import RecacheMode, World


@dataclass(frozen=True)
class Variant:
    """One way of running a world.

    Attributes:
        name: as it stands in tables.
        group: variants of a group are compared with each other; the first is the published way.
        recache: what a prompt switch does to the cache.
        sink_frames: latent frames of the sink; None leaves them as they are.
        context_frames: latent frames that attention sees; 0 for all of the take, None leaves them.
        steps: denoising steps of a block; None leaves them.
    """

    name: str
    group: str
    recache: RecacheMode = "full"
    sink_frames: int | None = None
    context_frames: int | None = None
    steps: int | None = None

    def world(self, world: World, frames: int) -> World:
        """The same models, run this way in takes of `frames` latent frames."""
        config = world.config
        if self.sink_frames is not None:
            config = replace(config, sink_frames=self.sink_frames)
        if self.context_frames is not None:
            config = replace(config, context_frames=self.context_frames or frames)
        if self.steps is not None:
            config = replace(config, sampler=replace(config.sampler, steps=spread_steps(self.steps)))
        return type(world)(config, world.transformer, world.codec, world.text_encoder, world.tokenizer)


VARIANTS = (
    Variant("recache", "prompt switch"),
    Variant("stale cache", "prompt switch", recache="none"),
    Variant("cleared cache", "prompt switch", recache="clear"),
    Variant("sink 3", "context", sink_frames=3),
    Variant("sink 0", "context", sink_frames=0),
    Variant("full attention", "context", context_frames=0),
    Variant("4 steps", "denoising", steps=4),
    Variant("3 steps", "denoising", steps=3),
    Variant("2 steps", "denoising", steps=2),
    Variant("1 step", "denoising", steps=1),
    Variant("16 steps", "denoising", steps=16),
)


@dataclass(frozen=True)
class SwitchResult:
    """How prompt switches went.

    Attributes:
        obeyed: rollouts whose changed attribute shows its new value in the third block after the switch.
        kept: attributes that were right before the switch, are asked for after it, and are right then.
        pixel_jump: difference of the frames on either side of the switch, over that of ordinary neighbours.
        feature_jump: the same for the probe's features of the blocks on either side.
    """

    obeyed: Share
    kept: Share
    pixel_jump: float
    feature_jump: float


@dataclass(frozen=True)
class Result:
    """What was measured of a variant; `long` is None where no long takes were asked for."""

    variant: Variant
    switch: SwitchResult
    long: LongTake | None

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        low, high = self.switch.obeyed.interval
        return {
            "variant": self.variant.name,
            "group": self.variant.group,
            "obeyed": round(self.switch.obeyed.share, 4),
            "obeyed_interval": [round(low, 4), round(high, 4)],
            "kept": round(self.switch.kept.share, 4),
            "pixel_jump": round(self.switch.pixel_jump, 4),
            "feature_jump": round(self.switch.feature_jump, 4),
            "rollouts": self.switch.obeyed.count,
            "long": self.long.to_json() if self.long else None,
        }


def spread_steps(count: int) -> tuple[int, ...]:
    """`count` unwarped denoising steps, evenly spread from 1000 down: 4 gives 1000, 750, 500, 250."""
    return tuple(round(1000 * (count - i) / count) for i in range(count))


def ablation(
    world: World,
    config: EvalConfig,
    *,
    seconds: float = 0.0,
    variants: tuple[Variant, ...] = VARIANTS,
    probe: Probe | None = None,
    on_variant: Callable[[Result], None] | None = None,
) -> list[Result]:
    """Measure variants of a world on the same prompts and the same noise.

    Args:
        world: a world of the tiny world's scenes.
        config: how much; its prompts switch half-way.
        seconds: length of the long takes; 0 for none.
        variants: what to compare.
        probe: reads the frames; None loads the shipped one.
        on_variant: is given each result as soon as it is there.

    Raises:
        ConfigError: the long takes are too short.
    """
    if seconds:
        check_length(seconds)
    probe = probe or Probe.load(device=world.device)
    results: list[Result] = []
    measured: dict[tuple[RecacheMode, WorldConfig], Result] = {}  # the published way stands in every group
    for variant in variants:
        run = variant.world(world, config.blocks * world.config.frames_per_block)
        found = measured.get((variant.recache, run.config))
        if found is None:
            switch = switches(run, config, probe, variant.recache)
            found = Result(
                variant, switch, _long(world, variant, config, seconds, probe) if seconds else None
            )
            measured[variant.recache, run.config] = found
        results.append(replace(found, variant=variant))
        if on_variant is not None:
            on_variant(results[-1])
    return results


def _long(world: World, variant: Variant, config: EvalConfig, seconds: float, probe: Probe) -> LongTake:
    frames = round(seconds / world.config.block_seconds) * world.config.frames_per_block
    run = variant.world(world, frames)
    return long_take(
        run, seconds, rollouts=config.rollouts, batch=config.batch, seed=config.seed, probe=probe
    )


def switches(world: World, config: EvalConfig, probe: Probe, recache: RecacheMode = "full") -> SwitchResult:
    """Prompt switches half-way through short takes: obeyed, and how smooth.

    Args:
        world: rolls out.
        config: how much.
        probe: reads the frames.
        recache: what a switch does to the cache.
    """
    planned = list(episodes(config))
    jumps = _Jumps(config.switch)
    right: list[list[bool]] = []
    before: list[list[bool]] = []
    for at in range(0, len(planned), config.batch):
        group = planned[at : at + config.batch]
        rollout = world.start([one.prompts[0] for one in group], seed=[one.seed for one in group])
        jumps.begin()
        for block in range(config.switch + SETTLE_BLOCKS):
            if block == config.switch:
                rollout.switch_prompt([one.prompts[1] for one in group], recache)
            frames = whole_block(rollout.step())
            jumps.add(block, frames, probe)
            if block == config.switch - 1:
                before += _shown(group, 0, probe, frames)
        right += _shown(group, 1, probe, frames)
    changed = np.array([[name == one.changed for name in ATTRIBUTES] for one in planned])
    kept = np.array(before) & ~changed
    judged = np.array(right)
    return SwitchResult(
        obeyed=Share(int(judged[changed].sum()), len(planned)),
        kept=Share(int((judged & kept).sum()), max(1, int(kept.sum()))),
        pixel_jump=jumps.pixels,
        feature_jump=jumps.features,
    )


class _Jumps:
    """Differences between neighbouring blocks, at the switch and before it."""

    def __init__(self, switch: int) -> None:
        self._switch = switch
        self._at: dict[str, list[float]] = {"pixels": [], "features": []}
        self._usual: dict[str, list[float]] = {"pixels": [], "features": []}

    def begin(self) -> None:
        """Start a batch of rollouts."""
        self._last: dict[str, Tensor] = {}

    def add(self, block: int, frames: Tensor, probe: Probe) -> None:
        """Compare a block uint8 [B, T, H, W, 3] with the one before it."""
        pixels = frames.float() / 255
        with torch.no_grad():
            features = probe.features(to_pixels(frames).to(probe.device)).cpu()
        if self._last and block <= self._switch:
            into = self._at if block == self._switch else self._usual
            into["pixels"].append(float((pixels[:, 0] - self._last["pixels"]).abs().mean()))
            into["features"].append(float((features - self._last["features"]).norm(dim=1).mean()))
        self._last = {"pixels": pixels[:, -1], "features": features}

    @property
    def pixels(self) -> float:
        """Difference of frames across the switch over that of ordinary neighbours."""
        return _mean(self._at["pixels"]) / max(_mean(self._usual["pixels"]), 1e-9)

    @property
    def features(self) -> float:
        """Difference of features across the switch over that of ordinary neighbours."""
        return _mean(self._at["features"]) / max(_mean(self._usual["features"]), 1e-9)


def _mean(values: list[float]) -> float:
    return float(np.mean(values))


def _shown(group: list[Episode], part: int, probe: Probe, frames: Tensor) -> list[list[bool]]:
    """Which attributes of each episode's first or second scene the frames show."""
    seen = probe.predict(frames)
    return [
        [seen[name][row] == one.scenes[part].attribute(name) for name in ATTRIBUTES]
        for row, one in enumerate(group)
    ]
