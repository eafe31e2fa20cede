"""The base of the recipe: a bidirectional model of short clips, by flow matching with dropped prompts.

It sees a whole clip at once and is sampled in many steps with classifier-free guidance. Distillation uses it
as the teacher whose distribution a causal few-step generator learns to match.

Shapes: B clips, F latent frames of a clip, C latent channels, h x w latent size.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from longlive_env.engine.codec import CodecState
from longlive_env.engine.devices import without_autocast
from longlive_env.engine.schedule import add_noise, levels_of, warp
from longlive_env.tiny.captions import caption
from longlive_env.training.clips import scene_of_labels
from longlive_env.training.latents import BankPlan, encode_clip
from longlive_env.training.losses import flow_matching_loss
from longlive_env.training.score import clip_flow, draw_levels, noise_like
from longlive_env.training.sheets import as_frames, tiled
from longlive_env.training.stages import Batch, check_least, check_shares
from longlive_env.training.world_model import WorldModel
from longlive_env.training.world_model_stage import WorldModelOptions, WorldModelStage


@dataclass(frozen=True)
class BaseOptions(WorldModelOptions):
    """Data and noise of the base stage.

    Attributes:
        start: name or folder of a world to go on from; its text encoder is then left as it is, so that
            generator and teacher understand prompts alike.
        clips: number of clips in a step.
        dropped_share: share of clips that are shown without their prompt, which guidance needs.
        guidance: strength of guidance for the samples on the sheet.
        sample_steps: number of denoising steps for the samples on the sheet.
    """

    clips: int = 8
    dropped_share: float = 0.1
    guidance: float = 3.0
    sample_steps: int = 24

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, clips=1, sample_steps=1)
        check_shares(self, "dropped_share")

    def banks(self) -> tuple[BankPlan, ...]:
        """Clips under one prompt."""
        takes = {"train": self.takes, "held_out": self.held_out}
        return (BankPlan("clips", encode_clip, takes, self.takes_a_file),)


class BaseStage(WorldModelStage):
    """Trains a `WorldModel` whose transformer sees whole clips."""

    name = "base"
    options_type = BaseOptions
    options: BaseOptions
    counted = "clips"

    def build(self) -> WorldModel:
        """Make the model; its text encoder is trained too, unless it comes from a world to start from."""
        model = super().build()
        model.text_encoder.requires_grad_(not self.options.start)
        return model

    def batch(self, step: int) -> Batch:
        """Latents of clips, and the tokens of their captions, some of which are empty."""
        rng = np.random.default_rng((self.seed, 5, step))
        return self._draw(rng, "train", self.options.clips, self.options.dropped_share)

    def losses(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Flow matching, with all frames of a clip at one noise level."""
        assert isinstance(model, WorldModel)
        clips = batch["clips"]
        sigma = draw_levels(len(clips), self.config.sampler.shift, generator).to(clips)
        noise = noise_like(clips, generator)
        noisy = add_noise(clips, noise, levels_of(sigma))
        text = self._text(model, batch)
        flow = clip_flow(model.transformer, noisy, sigma, text, self.config.sampler.train_steps)
        ones = torch.ones(clips.shape[:2], device=clips.device)
        return {"flow": flow_matching_loss(flow, clips, noise, ones)}

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The loss on held-out combinations and wordings, under fixed noise."""
        generator, device = torch.Generator().manual_seed(self.seed), next(model.parameters()).device
        total, rounds = 0.0, 4
        for number in range(rounds):
            rng = np.random.default_rng((self.seed, 6, number))
            batch = {k: v.to(device) for k, v in self._draw(rng, "held_out", 4, 0.0).items()}
            total += self.losses(model, batch, generator)["flow"].item() / rounds
        return {"held_out_flow": total}

    @torch.no_grad()
    def sheet(self, model: nn.Module) -> Tensor:
        """Samples of held-out prompts, one row each; time runs to the right."""
        assert isinstance(model, WorldModel)
        device = next(model.parameters()).device
        batch = self._draw(np.random.default_rng((self.seed, 7)), "held_out", 6, 0.0)
        generator = torch.Generator().manual_seed(self.seed)
        latents = self.sample(model, {k: v.to(device) for k, v in batch.items()}, generator)
        codec = self.codec.to(device)
        pixels = codec.decode(latents, CodecState.fresh(len(latents))).pixels
        return tiled(as_frames(pixels[:, :: max(1, pixels.shape[1] // 5)][:, :6]))

    def sample(self, model: WorldModel, batch: Batch, generator: torch.Generator) -> Tensor:
        """Clips [B, F, C, h, w] for the captions of a batch: Euler steps along the guided flow."""
        config, steps = self.config, self.options.sample_steps
        text, empty = self._text(model, batch), self._empty(model)
        x = noise_like(batch["clips"], generator)
        levels = [warp(1 - step / steps, config.sampler.shift) for step in range(steps + 1)]
        for sigma, following in itertools.pairwise(levels):
            level = torch.full((len(x),), sigma, device=x.device)
            flow = clip_flow(
                model.transformer,
                x,
                level,
                text,
                config.sampler.train_steps,
                negative=empty,
                guidance=self.options.guidance,
            )
            x = x + (following - sigma) * flow
        return x

    def describe(self) -> dict[str, Any]:
        """Add whether the text encoder is trained."""
        return {**super().describe(), "text_encoder_trained": not self.options.start}

    def _text(self, model: WorldModel, batch: Batch) -> Tensor:
        with without_autocast(batch["ids"].device):
            text: Tensor = model.text_encoder(batch["ids"], batch["mask"])
        return text

    def _empty(self, model: WorldModel) -> Tensor:
        """Embedding of the empty prompt [1, L, text_dim]."""
        ids, mask = self.tokenizer([""], self.config.transformer.text_len)
        device = next(model.parameters()).device
        return self._text(model, {"ids": ids.to(device), "mask": mask})

    def _draw(self, rng: np.random.Generator, split: str, count: int, dropped_share: float) -> Batch:
        (bank,) = self.banks[split]
        takes = rng.integers(len(bank), size=count).tolist()
        captions = [
            "" if rng.random() < dropped_share else caption(scene_of_labels(bank.labels[take, 0]), rng, split)
            for take in takes
        ]
        ids, mask = self.tokenizer(captions, self.config.transformer.text_len)
        return {"clips": bank.latents[takes].float().flatten(1, 2), "ids": ids, "mask": mask}
