"""Ways of running a world that an ablation compares."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longlive_env.engine.config import RecacheMode, WorldConfig
    from longlive_env.engine.world import World


@dataclass(frozen=True)
class Variant:
    """One way of running a world.

    Attributes:
        name: name in tables.
        group: group whose variants are compared with each other; the first is the unchanged world.
        recache: what a prompt switch does to the cache.
        sink_frames: latent frames of the sink; None keeps the world's number.
        context_frames: latent frames that attention sees; 0 for the whole take, None for the world's own.
        steps: denoising steps of a block; None keeps the world's number.
        world: name or folder of another world than the one under study.
        longest_s: maximum length of its long takes; None for no limit.
    """

    name: str
    group: str
    recache: RecacheMode = "full"
    sink_frames: int | None = None
    context_frames: int | None = None
    steps: int | None = None
    world: str | None = None
    longest_s: float | None = None

    def config(self, config: WorldConfig, frames: int) -> WorldConfig:
        """Return the configuration that a world runs with in takes of `frames` latent frames."""
        if self.sink_frames is not None:
            config = replace(config, sink_frames=self.sink_frames)
        if self.context_frames is not None:
            config = replace(config, context_frames=self.context_frames or frames)
        return config.with_steps(self.steps)

    def run(self, world: World, frames: int) -> World:
        """Return the world with the same models, run this way."""
        return world.replaced(config=self.config(world.config, frames))

    def long_s(self, seconds: float) -> float:
        """Return the length of its long takes if `seconds` are requested."""
        return seconds if self.longest_s is None else min(seconds, self.longest_s)


PROMPT_SWITCH, CONTEXT, DENOISING, TRAINING = "prompt switch", "context", "denoising", "training"

# Attention to a whole take of minutes needs memory and time that grow with its length, and sixteen steps take
# several times as long as the world's own number, so these variants have shorter long takes.
VARIANTS = (
    Variant("recache", PROMPT_SWITCH),
    Variant("stale cache", PROMPT_SWITCH, recache="none"),
    Variant("cleared cache", PROMPT_SWITCH, recache="clear"),
    Variant("sink 3", CONTEXT, sink_frames=3),
    Variant("sink 0", CONTEXT, sink_frames=0),
    Variant("full attention", CONTEXT, context_frames=0, longest_s=60.0),
    Variant("own steps", DENOISING),
    Variant("4 steps", DENOISING, steps=4),
    Variant("3 steps", DENOISING, steps=3),
    Variant("2 steps", DENOISING, steps=2),
    Variant("1 step", DENOISING, steps=1),
    Variant("16 steps", DENOISING, steps=16, longest_s=60.0),
)


def with_worlds(own: str, others: dict[str, str]) -> tuple[Variant, ...]:
    """Return the variants, plus differently trained worlds beside the one under study.

    Args:
        own: label of the world under study.
        others: label -> name or folder of each other world.
    """
    if not others:
        return VARIANTS
    compared = [Variant(name, TRAINING, world=world) for name, world in others.items()]
    return (*VARIANTS, Variant(own, TRAINING), *compared)
