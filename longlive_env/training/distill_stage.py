"""Distillation: a causal few-step generator learns from its own rollouts to match a teacher's distribution.

The generator rolls out as at inference, block by block with its cache (self-forcing: Huang and others, 2025).
A teacher and a critic, both bidirectional, say how clean they would make a noisy version of the clip: the
teacher as the data would have it, the critic as the generator would. The generator follows their difference
(distribution matching distillation: Yin and others, 2024); the critic is trained on the generator's clips,
several times for each of its updates.

Shapes: B clips, F latent frames of a clip, C latent channels, h x w latent size, L text tokens.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from longlive_env.engine.config_values import from_dict, to_dict
from longlive_env.engine.noise import WorldNoise
from longlive_env.engine.rollout import Rollout
from longlive_env.engine.schedule import add_noise, levels_of
from longlive_env.engine.state import RolloutState
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.engine.world import World
from longlive_env.errors import ConfigError
from longlive_env.training import parallel
from longlive_env.training.lora import add_lora
from longlive_env.training.losses import distribution_matching_loss, flow_matching_loss
from longlive_env.training.prompts import open_prompts
from longlive_env.training.score import clip_flow, clip_x0, draw_levels
from longlive_env.training.score_files import load_score
from longlive_env.training.sheets import full_precision, rollout_sheet
from longlive_env.training.stages import Batch, Optimisation, Stage, check_least, check_split, decay_groups
from longlive_env.training.start_world import file_fingerprint, start_fingerprint

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}  # of a frozen teacher


@dataclass(frozen=True)
class DistillOptions:
    """Networks, prompts and losses of distillation.

    Attributes:
        start: name or folder of the world that holds the generator, the text encoder and the codec.
        teacher: what scores clips as the data would have them: `weights.safetensors` of the base stage, or
            the folder of a Wan 2.1 text-to-video model of any size.
        teacher_dtype: type of a published teacher's blocks, "float32" or "bfloat16", which takes half the
            memory and needs autocast.
        critic: what the critic begins as: the same, or `weights.safetensors` of a distillation whose critic
            goes on; the teacher by default.
        prompts: text file with a prompt on each line; none for captions of the tiny world.
        later: text file with what follows each of them, for prompt switches.
        clips: worlds of a step, over all processes.
        blocks: blocks of a clip; the teacher sees all of them.
        critic_updates: updates of the critic for each one of the generator.
        guidance: of the teacher.
        negative_prompt: what the teacher is guided away from; published code has Wan's own.
        levels: lowest and highest noise level of the scores.
        score_shift: warp of those levels, 1 for uniform ones; 0 for that of the sampler. A small warp asks
            more often about what is fine: speckles and flicker.
        critic_rate: learning rate of the critic as a share of the generator's.
        lora_rank: rank of adapters to train instead of the generator's weights; 0 trains the weights.
        critic_lora_rank: the same for the critic.
    """

    start: str = "tiny"
    teacher: str = ""
    teacher_dtype: str = "float32"
    critic: str = ""
    prompts: str = ""
    later: str = ""
    clips: int = 4
    blocks: int = 7
    critic_updates: int = 5
    guidance: float = 3.0
    negative_prompt: str = ""
    levels: tuple[float, float] = (0.02, 0.98)
    score_shift: float = 0.0
    critic_rate: float = 0.2
    lora_rank: int = 0
    critic_lora_rank: int = 0

    def __post_init__(self) -> None:
        check_least(self, clips=1, blocks=1, critic_updates=0, lora_rank=0, critic_lora_rank=0)
        if self.teacher_dtype not in DTYPES:
            raise ConfigError(f"teacher_dtype is {self.teacher_dtype!r}; expected {' or '.join(DTYPES)}")
        if len(self.levels) != 2 or not 0 < self.levels[0] < self.levels[1] <= 1:
            raise ConfigError(f"levels is {list(self.levels)}; expected a lower and a higher one in 0 .. 1")
        if not self.score_shift >= 0:
            raise ConfigError(f"score_shift is {self.score_shift}; expected at least 0")


class Distillation(nn.Module):
    """What distillation trains: a generator, and the critic of what it generates."""

    def __init__(self, generator: CausalWanTransformer, critic: CausalWanTransformer) -> None:
        super().__init__()
        self.generator = generator
        self.critic = critic


@dataclass(frozen=True)
class Generated:
    """Clips that the generator made.

    Attributes:
        latents: ``[B, F, C, h, w]``, with gradients where the generator is to learn from them.
        text: embeddings of the prompts that they should show ``[B, L, text_dim]``.
        weights: which frames were made under that prompt and are new ``[B, F]``, 1 or 0.
    """

    latents: Tensor
    text: Tensor
    weights: Tensor


class DistillStage(Stage):
    """Trains a `Distillation`; the generator and the critic take turns."""

    name = "distill"
    counted = "clips"
    optimisation = Optimisation(lr=1e-4, warmup_steps=20, betas=(0.0, 0.999), ema=0.99, final=1.0)
    options_type: type[DistillOptions] = DistillOptions

    def __init__(self, seed: int = 0, **options: Any) -> None:
        self.seed, self.options = seed, from_dict(self.options_type, options, self.name)
        if not self.options.teacher:
            raise ConfigError(
                f"the {self.name} stage needs a teacher; give --set teacher=FILE of the base stage"
            )
        check_split({"clips": self.options.clips}, parallel.processes())  # before a teacher of 14B is read
        self.world = World.load(self.options.start)
        self.config = self.world.config
        self.start_fingerprint = start_fingerprint(self.options.start)
        self.teacher = load_score(self.world, self.options.teacher, DTYPES[self.options.teacher_dtype])
        self.prompts = open_prompts(self.options.prompts, self.options.later)
        self.negative = self.encode([self.options.negative_prompt])

    def build(self) -> Distillation:
        """The generator of the world that this starts from, and a critic that begins as a score."""
        generator = copy.deepcopy(self.world.transformer)
        critic = self.options.critic
        score = load_score(self.world, critic) if critic else copy.deepcopy(self.teacher).float()
        model = Distillation(generator, score).requires_grad_(True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            for network, rank in (
                (generator, self.options.lora_rank),
                (score, self.options.critic_lora_rank),
            ):
                if rank:
                    add_lora(network, rank)
        return model

    def frozen(self) -> list[nn.Module]:
        """The teacher, the codec and the text encoder; but one of the published size stays on the host.

        That is larger than all else, and of each prompt it is asked once.
        """
        networks: list[nn.Module] = [self.teacher, self.world.codec]
        encoder = self.world.text_encoding.model if self._encoder_goes_along else None
        return networks if encoder is None else [*networks, encoder]

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """AdamW, at a lower rate for the critic."""
        assert isinstance(model, Distillation)
        plan = self.optimisation
        groups = decay_groups(model.generator, plan.weight_decay)
        groups += decay_groups(model.critic, plan.weight_decay, lr_scale=self.options.critic_rate)
        return torch.optim.AdamW(groups, lr=plan.lr, betas=plan.betas)

    def batch(self, step: int, progress: float) -> Batch:
        """Seeds of the worlds, whose turn it is, and after how many denoising steps a block counts as clean.

        Ending early at random gives every denoising step its share of gradients.
        """
        rng = np.random.default_rng((self.seed, 8, step))
        exits = len(self.config.sampler.steps)
        return {
            "seeds": torch.from_numpy(rng.integers(2**31, size=self.options.clips)),
            "generate": torch.tensor(step % (self.options.critic_updates + 1) == 0),
            "steps": torch.tensor(int(rng.integers(1, exits + 1))),
        }

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
        """Roll a new take out: the engine's own rollout, with gradients where they are enabled."""
        seeds = batch["seeds"].tolist()
        prompts = [self.prompts.draw(np.random.default_rng(seed), "train")[0] for seed in seeds]
        rollout = self.start(model.generator, prompts, seeds)
        steps = int(batch["steps"])
        blocks = [rollout.step_latents(steps=steps) for _ in range(self.options.blocks)]
        latents = torch.cat(blocks, dim=1)
        return Generated(latents, rollout.state.text.clone(), latents.new_ones(latents.shape[:2]))

    def start(self, generator: CausalWanTransformer, prompts: list[str], seeds: list[int]) -> Rollout:
        """Begin a rollout of the generator; the world's own `start` would forbid gradients."""
        state = RolloutState(self.config, generator, WorldNoise(seeds), len(prompts))
        rollout = Rollout(self.world_of(generator), state)
        rollout.switch_prompt(prompts, "none", text=self.encode(prompts))
        return rollout

    def encode(self, prompts: list[str]) -> Tensor:
        """Embeddings ``[B, L, text_dim]`` in full precision; of prompts that are too long the end is dropped.

        A published world keeps them on disk.

        Raises:
            ConfigError: the world has no text encoder.
        """
        encoding, tokenizer = self.world.text_encoding, self.world.tokenizer
        if not encoding.present or tokenizer is None:
            raise ConfigError(
                f"the world {self.options.start!r} has no text encoder; start from one that has"
            )
        length = self.config.transformer.text_len
        if not self._encoder_goes_along:
            with torch.no_grad(), torch.autocast("cpu", enabled=False), parallel.host_threads():
                return encoding.embed(tokenizer, prompts, length, torch.device("cpu"))
        assert encoding.model is not None
        ids, mask = tokenizer(prompts, length)
        device = next(encoding.model.parameters()).device
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            text: Tensor = encoding.model(ids.to(device), mask.to(device))
        return text

    @property
    def _encoder_goes_along(self) -> bool:
        """Whether the text encoder trains on the device with the rest, being the smaller part of a world."""
        text, generator = self.config.text_encoder, self.config.transformer
        return text.dim**2 * text.layers <= generator.dim**2 * generator.layers

    def world_of(self, generator: CausalWanTransformer) -> World:
        """The world with another generator."""
        own = self.world
        return World(own.config, generator, own.codec, own.text_encoding, own.tokenizer)

    @torch.no_grad()
    def sheet(self, model: nn.Module) -> Tensor:
        """Rollouts of the averaged generator; see `rollout_sheet`."""
        assert isinstance(model, Distillation)
        with full_precision(model):
            batch = max(1, self.options.clips // parallel.processes())
            world = self.world_of(model.generator)
            return rollout_sheet(world, self.prompts, self.seed, batch, self.encode)

    def describe(self) -> dict[str, Any]:
        """What the export needs: the configuration, the world that was started from, and the adapters."""
        return {
            "config": to_dict(self.config),
            "start": self.options.start,
            "start_fingerprint": self.start_fingerprint,
            "lora_rank": self.options.lora_rank,
            "critic_lora_rank": self.options.critic_lora_rank,
        }

    def described_before(self) -> dict[str, Any]:
        """The start's fingerprint once counted the decoder, too."""
        return {"start_fingerprint": file_fingerprint(self.options.start)}

    def _generator_loss(self, model: Distillation, clips: Generated, generator: torch.Generator) -> Tensor:
        noisy, sigma, _ = self._noised(clips.latents.detach(), generator)
        train_steps = self.config.sampler.train_steps
        with torch.no_grad():
            fake = clip_x0(model.critic, noisy, sigma, clips.text, train_steps)
            real = clip_x0(
                self.teacher,
                noisy,
                sigma,
                clips.text,
                train_steps,
                negative=self.negative.to(noisy.device),
                guidance=self.options.guidance,
            )
        return distribution_matching_loss(clips.latents, real, fake, clips.weights)

    def _critic_loss(self, model: Distillation, clips: Generated, generator: torch.Generator) -> Tensor:
        noisy, sigma, noise = self._noised(clips.latents, generator)
        flow = clip_flow(model.critic, noisy, sigma, clips.text, self.config.sampler.train_steps)
        return flow_matching_loss(flow, clips.latents, noise, clips.weights)

    def _noised(self, latents: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Clips at a noise level each: noisy latents, the levels [B], the noise."""
        low, high = self.options.levels
        shift = self.options.score_shift or self.config.sampler.shift
        sigma = draw_levels(len(latents), shift, generator, low, high).to(latents)
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        return add_noise(latents, noise, levels_of(sigma)), sigma, noise
