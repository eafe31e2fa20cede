"""Distillation from an oracle: the renderer of the tiny world, which knows what a prompt may show.

A first block may show any place of the camera. For a noisy one, the oracle knows how likely it comes from
each place, and so its clean version on average: the exact score, which a base model only learns to
approximate. By matching it, the generator learns to choose one place and draw that, where regression would
draw the haze of all places. What follows first blocks is learned from the renderer as well.

Shapes: B clips, P places, F latent frames of a block, C latent channels, h x w latent size.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from longlive_env.engine.devices import without_autocast
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.training import parallel
from longlive_env.training.matching_stage import Distillation, MatchingOptions, MatchingStage
from longlive_env.training.opening_stage import OpeningOptions, OpeningStage
from longlive_env.training.rendered_stage import Opening
from longlive_env.training.rollout_stage import Generated
from longlive_env.training.stages import Batch, Optimisation


@dataclass(frozen=True)
class OracleOptions(OpeningOptions, MatchingOptions):
    """Options of distribution matching and of rendered takes."""

    critic_updates: int = 3
    critic_rate: float = 0.5
    score_shift: float = 2.0


class OracleStage(OpeningStage, MatchingStage):
    """Trains the generator of a tiny world; see the module."""

    name = "oracle"
    optimisation = Optimisation(lr=2e-4, warmup_steps=20, betas=(0.0, 0.99), ema=0.99, final=0.1)
    options_type = OracleOptions
    options: OracleOptions

    def first_critic(self) -> CausalWanTransformer:
        """The generator, as it denoises first blocks, too."""
        return copy.deepcopy(self.world.transformer)

    def generate(self, model: Distillation, batch: Batch) -> Opening:
        """First blocks of scenes of the bank."""
        return self.open(model.generator, batch["openings"].tolist(), int(batch["steps"]))

    def real(self, noisy: Tensor, sigma: Tensor, clips: Generated) -> Tensor:
        """The mean of what noisy first blocks may show without noise: places weighted by likelihood."""
        assert isinstance(clips, Opening)
        with without_autocast(noisy.device):
            return posterior_mean(noisy.float(), sigma.float(), clips.places.float())

    def losses(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Distribution matching, and in the generator's turn also a loss on what follows first blocks."""
        assert isinstance(model, Distillation)
        losses = super().losses(model, batch, generator)
        if not batch["generate"]:
            return losses
        with parallel.gathered(model.generator):
            return {**losses, "following": self.following(model.generator, batch)}


def posterior_mean(noisy: Tensor, sigma: Tensor, candidates: Tensor) -> Tensor:
    """Posterior mean of noisy clips, each of which is one of its equally likely candidates plus noise.

    Args:
        noisy: ``(1 - sigma) * clean + sigma * noise``, ``[B, ...]``.
        sigma: noise levels ``[B]``, above 0.
        candidates: possible clean clips ``[B, P, ...]``.

    Returns:
        ``[B, ...]``.
    """
    flat, level = candidates.flatten(2), sigma[:, None]
    distances = (noisy.flatten(1)[:, None] - (1 - level)[..., None] * flat).square().sum(dim=2)
    odds = torch.softmax(-distances / (2 * level**2), dim=1)
    return torch.einsum("bp,bpn->bn", odds, flat).view_as(noisy)
