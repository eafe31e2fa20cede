"""Distillation: a causal few-step generator learns from its own rollouts to match a teacher's distribution.

The generator rolls out as at inference (`rollout_stage.py`). A teacher, and a critic, which models what the
generator makes, both bidirectional, each predict the whole clean clip from a noisy one. The generator follows
the difference of their predictions (distribution matching distillation: Yin and others, 2024); the critic is
trained on the generator's clips, several times for each of the generator's updates.

Shapes: B clips, F latent frames of a clip, C latent channels, h x w latent size.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from longlive_env.engine.schedule import add_noise, flow_to_x0, levels_of
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.errors import ConfigError
from longlive_env.training import parallel
from longlive_env.training.lora import adapt
from longlive_env.training.losses import distribution_matching_loss, flow_matching_loss
from longlive_env.training.prompts import open_prompts
from longlive_env.training.rollout_stage import Generated, Generating, RolloutOptions, RolloutStage
from longlive_env.training.score import clip_flow, draw_levels, noise_like
from longlive_env.training.score_files import load_score
from longlive_env.training.stages import Batch, Optimisation, check_least, decay_groups

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}  # types of a frozen teacher


@dataclass(frozen=True)
class DistillOptions(RolloutOptions):
    """Options of rollouts, of the teacher, the critic and their scores, and of prompts.

    Attributes:
        critic_updates: number of updates of the critic for each one of the generator.
        critic_rate: learning rate of the critic as a share of the generator's.
        critic_lora_rank: rank of adapters to train instead of the critic's weights; 0 trains the weights.
        levels: lowest and highest noise level of the scores.
        score_shift: warp of the scores' noise levels, 1 for uniform ones; 0 for that of the sampler. A small
            warp asks more often about what is fine: speckles and flicker.
        teacher: network that scores clips as the data would have them: `weights.safetensors` of the base
            stage, or the folder of a Wan 2.1 text-to-video model of any size.
        teacher_dtype: type of a published teacher's blocks, "float32" or "bfloat16", which takes half the
            memory and needs autocast.
        critic: network that the critic begins as: a file or folder as for `teacher`, or `weights.safetensors`
            of a distillation whose critic goes on; the teacher by default.
        prompts: text file with a prompt on each line; none for captions of the tiny world.
        later: text file with the prompt that follows each line of `prompts`, for switches.
        guidance: strength of the teacher's guidance.
        negative_prompt: prompt that the teacher is guided away from; published code has Wan's own.
    """

    critic_updates: int = 5
    critic_rate: float = 0.2
    critic_lora_rank: int = 0
    levels: tuple[float, float] = (0.02, 0.98)
    score_shift: float = 0.0
    teacher: str = ""
    teacher_dtype: str = "float32"
    critic: str = ""
    prompts: str = ""
    later: str = ""
    guidance: float = 3.0
    negative_prompt: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, critic_updates=0, critic_rate=0, critic_lora_rank=0)
        if len(self.levels) != 2 or not 0 < self.levels[0] < self.levels[1] <= 1:
            raise ConfigError(f"levels is {list(self.levels)}; expected a lower and a higher one in 0 .. 1")
        if not self.score_shift >= 0:
            raise ConfigError(f"score_shift is {self.score_shift}; expected at least 0")
        if self.teacher_dtype not in DTYPES:
            raise ConfigError(f"teacher_dtype is {self.teacher_dtype!r}; expected {' or '.join(DTYPES)}")


class Distillation(Generating):
    """The networks to train: a generator, and the critic of what it generates."""

    def __init__(self, generator: CausalWanTransformer, critic: CausalWanTransformer) -> None:
        super().__init__(generator)
        self.critic = critic


class DistillStage(RolloutStage):
    """Trains a `Distillation` towards a teacher: the generator and the critic take turns; see the module."""

    name = "distill"
    optimisation = Optimisation(lr=1e-4, warmup_steps=20, betas=(0.0, 0.999), ema=0.99, final=1.0)
    options_type: type[DistillOptions] = DistillOptions
    options: DistillOptions

    def __init__(self, seed: int = 0, **options: Any) -> None:
        super().__init__(seed, **options)
        mine = self.options
        self.teacher = load_score(self.world, mine.teacher, DTYPES[mine.teacher_dtype])
        self.prompts = open_prompts(mine.prompts, mine.later)
        self.negative = self.encode([mine.negative_prompt])

    def check(self) -> None:
        """Require also a teacher."""
        if not self.options.teacher:
            raise ConfigError(
                f"the {self.name} stage needs a teacher; give --set teacher=FILE of the base stage"
            )
        super().check()

    def build(self) -> Distillation:
        """The start world's generator, and a critic: the teacher, or the network that `critic` names."""
        named, ranks = self.options.critic, (self.options.lora_rank, self.options.critic_lora_rank)
        critic = load_score(self.world, named) if named else copy.deepcopy(self.teacher).float()
        model = Distillation(copy.deepcopy(self.world.transformer), critic).requires_grad_(True)
        adapt(zip((model.generator, model.critic), ranks, strict=True), self.seed)
        return model

    def frozen(self) -> list[nn.Module]:
        """Add the teacher."""
        return [self.teacher, *super().frozen()]

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

    def generate(self, model: Distillation, batch: Batch) -> Generated:
        """Clips to judge, with gradients if they are enabled: new takes, by the engine's own rollout."""
        seeds = batch["seeds"].tolist()
        prompts = [self.prompts.draw(np.random.default_rng(seed), "train")[0] for seed in seeds]
        return self.roll_out(model.generator, prompts, seeds, int(batch["steps"]), self.options.blocks)

    def describe(self) -> dict[str, Any]:
        """Add the critic's adapters."""
        return {**super().describe(), "critic_lora_rank": self.options.critic_lora_rank}

    def _generator_loss(self, model: Distillation, clips: Generated, generator: torch.Generator) -> Tensor:
        noisy, sigma, _ = self._noised(clips.latents.detach(), generator)
        with torch.no_grad():
            flow = clip_flow(model.critic, noisy, sigma, clips.text, self.config.sampler.train_steps)
            fake = flow_to_x0(noisy, flow, levels_of(sigma))
            real = self._real(noisy, sigma, clips.text)
        return distribution_matching_loss(clips.latents, real, fake, clips.weights)

    def _critic_loss(self, model: Distillation, clips: Generated, generator: torch.Generator) -> Tensor:
        noisy, sigma, noise = self._noised(clips.latents, generator)
        flow = clip_flow(model.critic, noisy, sigma, clips.text, self.config.sampler.train_steps)
        return flow_matching_loss(flow, clips.latents, noise, clips.weights)

    def _real(self, noisy: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
        """The teacher's prediction of clean clips under guidance ``[B, F, C, h, w]``."""
        flow = clip_flow(
            self.teacher,
            noisy,
            sigma,
            text,
            self.config.sampler.train_steps,
            negative=self.negative.to(noisy.device),
            guidance=self.options.guidance,
        )
        return flow_to_x0(noisy, flow, levels_of(sigma))

    def _noised(self, latents: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Add noise to each clip at a level of its own: noisy latents, the levels [B], the noise."""
        low, high = self.options.levels
        shift = self.options.score_shift or self.config.sampler.shift
        sigma = draw_levels(len(latents), shift, generator, low, high).to(latents)
        noise = noise_like(latents, generator)
        return add_noise(latents, noise, levels_of(sigma)), sigma, noise
