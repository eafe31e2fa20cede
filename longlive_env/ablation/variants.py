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
        name: as it stands in tables.
        group: variants of a group are compared with each other; the first is the world as it comes.
        recache: what a prompt switch does to the cache.
        sink_frames: latent frames of the sink; None leaves them as they are.
        context_frames: latent frames that attention sees; 0 for all of the take, None leaves them.
        steps: denoising steps of a block; None leaves them.
        world: another world than the one in question: its name or folder.
        longest_s: its long takes are no longer than this; None for no limit.
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
        """The configuration that a world runs with in takes of `frames` latent frames."""
        if self.sink_frames is not None:
            config = replace(config, sink_frames=self.sink_frames)
        if self.context_frames is not None:
            config = replace(config, context_frames=self.context_frames or frames)
        return config.with_steps(self.steps)

    def run(self, world: World, frames: int) -> World:
        """The same models, run this way."""
        config = self.config(world.config, frames)
        return type(world)(config, world.transformer, world.codec, world.text_encoding, world.tokenizer)

    def long_s(self, seconds: float) -> float:
        """How long its long takes are where `seconds` are asked for."""
        return seconds if self.longest_s is None else min(seconds, self.longest_s)


PROMPT_SWITCH, CONTEXT, DENOISING, TRAINING = "prompt switch", "context", "denoising", "training"

# Attention to a whole take of minutes needs memory and time that grow with it, and sixteen steps take several
# times as long as a world's own, so their long takes are shorter.
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
    """The variants, and worlds of other training beside the one in question.

    Args:
        own: how the world in question is called.
        others: name or folder of each of the others, by how it is called.
    """
    if not others:
        return VARIANTS
    compared = [Variant(name, TRAINING, world=world) for name, world in others.items()]
    return (*VARIANTS, Variant(own, TRAINING), *compared)
