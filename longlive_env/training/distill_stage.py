"""Distillation: a causal few-step generator learns from its own rollouts to match a teacher's distribution.

The generator rolls out as at inference (`rollout_stage.py`); a teacher and a critic, both bidirectional,
judge whole clips (`matching_stage.py`).

Shapes: B clips, F latent frames of a clip, C latent channels, h x w latent size.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from longlive_env.engine.schedule import flow_to_x0, levels_of
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.errors import ConfigError
from longlive_env.training.matching_stage import Distillation, MatchingOptions, MatchingStage
from longlive_env.training.prompts import open_prompts
from longlive_env.training.rollout_stage import Generated
from longlive_env.training.score import clip_flow
from longlive_env.training.score_files import load_score
from longlive_env.training.stages import Batch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}  # types of a frozen teacher


@dataclass(frozen=True)
class DistillOptions(MatchingOptions):
    """Options of distribution matching; the teacher, and prompts.

    Attributes:
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

    teacher: str = ""
    teacher_dtype: str = "float32"
    critic: str = ""
    prompts: str = ""
    later: str = ""
    guidance: float = 3.0
    negative_prompt: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.teacher_dtype not in DTYPES:
            raise ConfigError(f"teacher_dtype is {self.teacher_dtype!r}; expected {' or '.join(DTYPES)}")


class DistillStage(MatchingStage):
    """Trains a `Distillation` towards a teacher; see the module."""

    name = "distill"
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

    def first_critic(self) -> CausalWanTransformer:
        """The teacher, or the network that `critic` names."""
        critic = self.options.critic
        return load_score(self.world, critic) if critic else copy.deepcopy(self.teacher).float()

    def frozen(self) -> list[nn.Module]:
        """Add the teacher."""
        return [self.teacher, *super().frozen()]

    def generate(self, model: Distillation, batch: Batch) -> Generated:
        """Roll out a new take with the engine's own rollout."""
        seeds = batch["seeds"].tolist()
        prompts = [self.prompts.draw(np.random.default_rng(seed), "train")[0] for seed in seeds]
        return self.roll_out(model.generator, prompts, seeds, int(batch["steps"]), self.options.blocks)

    def real(self, noisy: Tensor, sigma: Tensor, clips: Generated) -> Tensor:
        """The teacher's prediction under guidance."""
        flow = clip_flow(
            self.teacher,
            noisy,
            sigma,
            clips.text,
            self.config.sampler.train_steps,
            negative=self.negative.to(noisy.device),
            guidance=self.options.guidance,
        )
        return flow_to_x0(noisy, flow, levels_of(sigma))
