"""Distribution matching: the base of stages that train a generator and a critic of what it generates.

A model of the data and a critic, a model of the generator, each predict the clean clip from a noisy one. The
generator follows the difference of their predictions (distribution matching distillation: Yin and others,
2024); the critic is trained on the generator's clips, several times for each of the generator's updates.

Shapes: B clips, F latent frames of a clip, C latent channels, h x w latent size.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from longlive_env.engine.schedule import add_noise, flow_to_x0, levels_of
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.errors import ConfigError
from longlive_env.training import parallel
from longlive_env.training.lora import adapt
from longlive_env.training.losses import distribution_matching_loss, flow_matching_loss
from longlive_env.training.rollout_stage import Generated, Generating, RolloutOptions, RolloutStage
from longlive_env.training.score import clip_flow, draw_levels, noise_like
from longlive_env.training.stages import Batch, Optimisation, check_least, decay_groups


@dataclass(frozen=True)
class MatchingOptions(RolloutOptions):
    """Options of rollouts, of the critic and of the scores.

    Attributes:
        critic_updates: number of updates of the critic for each one of the generator.
        critic_rate: learning rate of the critic as a share of the generator's.
        critic_lora_rank: rank of adapters to train instead of the critic's weights; 0 trains the weights.
        levels: lowest and highest noise level of the scores.
        score_shift: warp of the scores' noise levels, 1 for uniform ones; 0 for that of the sampler. A small
            warp asks more often about what is fine: speckles and flicker.
    """

    critic_updates: int = 5
    critic_rate: float = 0.2
    critic_lora_rank: int = 0
    levels: tuple[float, float] = (0.02, 0.98)
    score_shift: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, critic_updates=0, critic_rate=0, critic_lora_rank=0)
        if len(self.levels) != 2 or not 0 < self.levels[0] < self.levels[1] <= 1:
            raise ConfigError(f"levels is {list(self.levels)}; expected a lower and a higher one in 0 .. 1")
        if not self.score_shift >= 0:
            raise ConfigError(f"score_shift is {self.score_shift}; expected at least 0")


class Distillation(Generating):
    """The networks to train: a generator, and the critic of what it generates."""

    def __init__(self, generator: CausalWanTransformer, critic: CausalWanTransformer) -> None:
        super().__init__(generator)
        self.critic = critic


class MatchingStage(RolloutStage):
    """Trains a `Distillation`; the generator and the critic take turns."""

    optimisation = Optimisation(lr=1e-4, warmup_steps=20, betas=(0.0, 0.999), ema=0.99, final=1.0)
    options: MatchingOptions

    @abstractmethod
    def generate(self, model: Distillation, batch: Batch) -> Generated:
        """Clips to judge, with gradients if they are enabled."""

    @abstractmethod
    def real(self, noisy: Tensor, sigma: Tensor, clips: Generated) -> Tensor:
        """Predict clean clips under the distribution of the data.

        Args:
            noisy: noisy clips ``[B, F, C, h, w]``.
            sigma: noise level of each clip ``[B]``.
            clips: the clips without that noise.

        Returns:
            float32 ``[B, F, C, h, w]``.
        """

    @abstractmethod
    def first_critic(self) -> CausalWanTransformer:
        """The network that the critic starts from."""

    def build(self) -> Distillation:
        """The start world's generator, and a critic."""
        model = Distillation(copy.deepcopy(self.world.transformer), self.first_critic()).requires_grad_(True)
        ranks = self.options.lora_rank, self.options.critic_lora_rank
        adapt(zip((model.generator, model.critic), ranks, strict=True), self.seed)
        return model

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """AdamW, at a lower rate for the critic."""
        assert isinstance(model, Distillation)
        plan = self.optimisation
        groups = decay_groups(model.generator, plan.weight_decay)
        groups += decay_groups(model.critic, plan.weight_decay, lr_scale=self.options.critic_rate)
        return torch.optim.AdamW(groups, lr=plan.lr, betas=plan.betas)

    def batch(self, step: int) -> Batch:
        """What rollouts need, and whose turn it is."""
        turn = step % (self.options.critic_updates + 1) == 0
        return {**super().batch(step), "generate": torch.tensor(turn)}

    def losses(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Distribution matching for the generator, or flow matching on its clips for the critic."""
        assert isinstance(model, Distillation)
        learns = bool(batch["generate"])
        with torch.set_grad_enabled(learns), parallel.gathered(model.generator):
            clips = self.generate(model, batch)
        if learns:
            return {"generator": self._generator_loss(model, clips, generator)}
        return {"critic": self._critic_loss(model, clips, generator)}

    def describe(self) -> dict[str, Any]:
        """Add the critic's adapters."""
        return {**super().describe(), "critic_lora_rank": self.options.critic_lora_rank}

    def _generator_loss(self, model: Distillation, clips: Generated, generator: torch.Generator) -> Tensor:
        noisy, sigma, _ = self._noised(clips.latents.detach(), generator)
        with torch.no_grad():
            flow = clip_flow(model.critic, noisy, sigma, clips.text, self.config.sampler.train_steps)
            fake = flow_to_x0(noisy, flow, levels_of(sigma))
            real = self.real(noisy, sigma, clips)
        return distribution_matching_loss(clips.latents, real, fake, clips.weights)

    def _critic_loss(self, model: Distillation, clips: Generated, generator: torch.Generator) -> Tensor:
        noisy, sigma, noise = self._noised(clips.latents, generator)
        flow = clip_flow(model.critic, noisy, sigma, clips.text, self.config.sampler.train_steps)
        return flow_matching_loss(flow, clips.latents, noise, clips.weights)

    def _noised(self, latents: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Add noise to each clip at a level of its own: noisy latents, the levels [B], the noise."""
        low, high = self.options.levels
        shift = self.options.score_shift or self.config.sampler.shift
        sigma = draw_levels(len(latents), shift, generator, low, high).to(latents)
        noise = noise_like(latents, generator)
        return add_noise(latents, noise, levels_of(sigma)), sigma, noise
