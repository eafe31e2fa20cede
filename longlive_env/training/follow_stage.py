"""Teach a generator to follow the renderer of the tiny world, on the generator's own takes.

This is for a generator that has learned to choose a place for the camera. Each first block is pulled towards
the place that it resembles most, and each later one towards what the renderer would have drawn next: plain
regression, with neither teacher nor critic. Before that choice is learned, regression would produce the haze
of all places.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from longlive_env.training import parallel
from longlive_env.training.lora import adapt
from longlive_env.training.muon import matrices_and_vectors
from longlive_env.training.opening_stage import OpeningOptions, OpeningStage
from longlive_env.training.places import place_distances, weighed
from longlive_env.training.rollout_stage import Generating
from longlive_env.training.stages import Batch, Optimisation


@dataclass(frozen=True)
class FollowOptions(OpeningOptions):
    """Options of rendered takes, where the generator mostly remembers its own blocks."""

    clips: int = 8
    blocks: int = 4
    trust: float = 0.6


class FollowStage(OpeningStage):
    """Trains the generator of a tiny world; see the module."""

    name = "follow"
    optimisation = Optimisation(lr=7e-4, warmup_steps=20, betas=(0.9, 0.99), ema=0.99, final=0.1)
    options_type = FollowOptions
    options: FollowOptions

    def build(self) -> Generating:
        """The start world's generator."""
        generator = copy.deepcopy(self.world.transformer).requires_grad_(True)
        adapt([(generator, self.options.lora_rank)], self.seed)
        return Generating(generator)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The same optimizer as in the causal stage."""
        return matrices_and_vectors(model, self.optimisation)

    def losses(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Squared distances, `weighed`: first blocks from the nearest place, later ones from the renderer."""
        assert isinstance(model, Generating)
        with parallel.gathered(model.generator):
            made = self.open(model.generator, batch["openings"].tolist(), int(batch["steps"]))
            nearest = place_distances(made.latents, made.places).min(dim=1).values
            following = self.following(model.generator, batch)
            return {"nearest": weighed(nearest, made.haze).mean(), "following": following}
