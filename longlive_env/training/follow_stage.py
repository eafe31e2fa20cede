"""Teach a generator to follow the renderer of the tiny world, on the generator's own takes.

Each first block is pulled towards what the renderer draws from the place that its noise tells of, and each
later one towards what the renderer would have drawn next: plain regression, with neither teacher nor critic.

Shapes: B clips, F latent frames of a block, C latent channels, h x w latent size.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from longlive_env.engine.config import PatchVAEConfig
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.tiny.scene import ATTRIBUTES
from longlive_env.training import parallel
from longlive_env.training.latents import FIRST_PLACES
from longlive_env.training.lora import adapt
from longlive_env.training.muon import matrices_and_vectors
from longlive_env.training.places import weighed
from longlive_env.training.rendered_stage import Camera, RenderedOptions, RenderedStage
from longlive_env.training.rollout_stage import Generating
from longlive_env.training.running_stage import RunningStage
from longlive_env.training.sheets import full_precision
from longlive_env.training.stages import Batch, Optimisation, check_least, check_shares, check_split

PLAIN_SETTINGS = 2  # settings that count as plain
VIEWPOINTS = (len(FIRST_PLACES), FIRST_PLACES[1] // (2 * PatchVAEConfig.patch))  # of scene pixels


@dataclass(frozen=True)
class FollowOptions(RenderedOptions):
    """Options of rendered takes, where the generator mostly remembers its own blocks.

    Attributes:
        openings: number of first blocks in a step.
        plain_share: share of them that are in one of the settings whose scenery changes least from place to
            place, beside those that are by chance. Such settings are learned last.
        setting_weight: factor for the loss of a new setting's first block, of which a take has one at most.
    """

    clips: int = 8
    blocks: int = 4
    trust: float = 0.6
    openings: int = 24
    plain_share: float = 0.0
    setting_weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, openings=1, setting_weight=0)
        check_shares(self, "plain_share")


class FollowStage(RunningStage, RenderedStage):
    """Trains the generator of a tiny world; see the module.

    Noise tells of the place, whether or not it did in the world that training starts from.
    """

    name = "follow"
    optimisation = Optimisation(lr=7e-4, warmup_steps=20, betas=(0.9, 0.99), ema=0.99, final=0.1)
    options_type = FollowOptions
    options: FollowOptions

    def __init__(self, seed: int = 0, **options: Any) -> None:
        super().__init__(seed, **options)
        self.config = replace(self.config, viewpoints=VIEWPOINTS)
        self.world = self.world.replaced(config=self.config)

    def check(self) -> None:
        """Require also that first blocks split over processes."""
        super().check()
        check_split({"openings": self.options.openings}, parallel.processes())

    def build(self) -> Generating:
        """The start world's generator."""
        generator = copy.deepcopy(self.world.transformer).requires_grad_(True)
        adapt([(generator, self.options.lora_rank)], self.seed)
        return Generating(generator)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The same optimizer as in the causal stage."""
        return matrices_and_vectors(model, self.optimisation)

    def batch(self, step: int) -> Batch:
        """The batch of rollouts, and seeds of first blocks."""
        rng = np.random.default_rng((self.seed, 9, step))
        openings = rng.integers(2**31, size=self.options.openings)
        plain = rng.random(len(openings)) < self.options.plain_share
        entries = rng.choice(self.plain_entries(), size=len(openings))
        openings[plain] += (entries - openings % len(self.banks["train"]))[plain]  # see `open`
        return {**super().batch(step), "openings": torch.from_numpy(openings)}

    def plain_entries(self) -> npt.NDArray[np.int64]:
        """Entries of the bank in those of its settings whose scenery changes least."""
        settings = self.banks["train"].labels[:, 0, list(ATTRIBUTES).index("setting")]
        held = settings.unique()
        plain = held[self.haze.mean(dim=1)[held].argsort()[:PLAIN_SETTINGS]]
        return torch.isin(settings, plain).nonzero()[:, 0].numpy()

    def losses(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Squared distances from the renderer's blocks, `weighed`: of first blocks, and of later ones."""
        assert isinstance(model, Generating)
        with parallel.gathered(model.generator):
            made = self.open(model.generator, batch["openings"].tolist(), int(batch["steps"]))
            opening = weighed(made.errors, made.haze).mean()
            return {"opening": opening, "following": self.following(model.generator, batch)}

    def following(self, generator: CausalWanTransformer, batch: Batch) -> Tensor:
        """The squared distance of a chunk's new blocks from the renderer's, except a take's first block.

        The distance is `weighed`.
        """
        stream, _ = self.takes.ready(generator, batch)
        errors = list[Tensor]()

        def judged(made: Tensor) -> Tensor:
            found, age = self.compare(stream, made), stream.age
            if age:
                error = weighed(found.error, found.haze)
                error[self.turning(stream, age)] *= self.options.setting_weight
                errors.append(error)
            return found.kept

        self.takes.chunk(generator, batch, judged)
        return torch.cat(errors).mean()

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Squared distance of held-out first blocks from the renderer's, and the share at the right place."""
        assert isinstance(model, Generating)
        with full_precision(model):
            seeds, steps = list(range(self.options.held_out)), len(self.config.sampler.steps)
            made = self.open(model.generator, seeds, steps, "held_out")
        placed = (made.nearest == made.told).float().mean()
        return {"held_out_opening": made.errors.mean().item(), "held_out_placed": placed.item()}

    def state(self) -> dict[str, Tensor]:
        """The running takes and their cameras, so that a resumed run continues them."""
        cameras = {
            f"{number}.camera": torch.tensor([camera.first, camera.offset])
            for number, camera in zip(self.takes.numbers(), self.cameras, strict=True)
        }
        return {**super().state(), **cameras}

    def restore(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        """See `RunningTakes.restore`."""
        super().restore(model, tensors)
        self.cameras = [Camera(*tensors[f"{number}.camera"].tolist()) for number in self.takes.numbers()]
