"""The causal transformer of a small world and its text encoder, by flow matching with teacher forcing.

Each clip is what the few-step sampler will see: clean context blocks, and noisy blocks to restore from them,
at noise levels around those of the sampler. Clips of four kinds share a step: first blocks, guided only by
the prompt; beginnings of videos; later blocks, whose context is a sink and a window, possibly far apart; and
switches, blocks right after a prompt change, whose context shows what the prompt no longer asks for (after a
recache, the whole context counts as seen under the new prompt, as at inference).

Shapes: B clips, P blocks of a clip, K target blocks, F latent frames of a block, C latent channels, h x w
latent size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from longlive_env.engine.config import WorldConfig
from longlive_env.engine.devices import without_autocast
from longlive_env.engine.rope import Rope
from longlive_env.engine.schedule import add_noise, denoising_sigmas, flow_to_x0, levels_of, warp
from longlive_env.engine.transformer import KeysValues
from longlive_env.engine.world import World
from longlive_env.errors import ConfigError
from longlive_env.training.clips import BLOCKS, KINDS, draw_clips
from longlive_env.training.latents import BankPlan, encode_opening, encode_switch, encode_take
from longlive_env.training.losses import flow_matching_loss
from longlive_env.training.prompts import TinyPrompts
from longlive_env.training.score import noise_like
from longlive_env.training.sheets import full_precision, rollout_sheet
from longlive_env.training.stages import Batch, check_least, check_shares
from longlive_env.training.teacher_forcing import ClipLayout, TeacherForcing
from longlive_env.training.world_model import WorldModel
from longlive_env.training.world_model_stage import WorldModelOptions, WorldModelStage

PARTS = ("clips", "ids", "mask", "before_ids", "before_mask", "weights")  # in a batch, for each kind of clip
RESTORED_FROM = (0.3, 0.75)  # noise levels from which the model restores a context


@dataclass(frozen=True)
class CausalOptions(WorldModelOptions):
    """Data and noise of the causal stage.

    Attributes:
        takes: number of encoded takes to learn from; there are three times as many openings.
        switch_takes: number of encoded takes with a prompt change in their middle.
        openings: number of first blocks in a step, which are made from the prompt alone.
        beginnings: number of clips in a step that begin a video.
        later: number of clips in a step from later in a video.
        switches: number of clips in a step whose last block is one of the first under a new prompt.
        opening_copies: number of noise levels at which a first block is restored; fewer means more prompts.
        copies: number of noise levels at which a later clip's last block is restored.
        context_noise: largest noise level of context blocks, which makes the model tolerate its own errors.
        restored_share: share of later clips and switches whose context the model has restored from noise
            itself, so that it learns to go on from its own frames.
        restored_passes: largest number of times that such a context is restored; each pass begins with what
            the one before has left, so that errors pile up as they do in a long take.
        exact_share: share of noise levels that are exactly those of the sampler; the others lie between.
    """

    switch_takes: int = 3000
    openings: int = 16
    beginnings: int = 2
    later: int = 2
    switches: int = 2
    opening_copies: int = 2
    copies: int = 4
    context_noise: float = 0.15
    restored_share: float = 0.0
    restored_passes: int = 1
    exact_share: float = 0.6

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, switch_takes=1, opening_copies=1, copies=1, restored_passes=1)
        check_least(self, context_noise=0, **dict.fromkeys(KINDS, 0))
        check_shares(self, "restored_share", "exact_share")
        if not any(getattr(self, kind) for kind in KINDS):
            raise ConfigError(f"a step holds no clips; give some of {', '.join(KINDS)}")

    def banks(self) -> tuple[BankPlan, ...]:
        """First blocks, takes and switches."""
        openings = {"train": 3 * self.takes, "held_out": 3 * self.held_out}
        takes = {"train": self.takes, "held_out": self.held_out}
        switches = {"train": self.switch_takes, "held_out": self.held_out}
        return (
            BankPlan("openings", encode_opening, openings, self.takes_a_file),
            BankPlan("", encode_take, takes, self.takes_a_file),
            BankPlan("switches", encode_switch, switches, self.takes_a_file),
        )


class CausalStage(WorldModelStage):
    """Trains a `WorldModel` on encoded takes."""

    name = "causal"
    options_type = CausalOptions
    options: CausalOptions

    def __init__(self, seed: int = 0, config: WorldConfig | None = None, **options: Any) -> None:
        super().__init__(seed, config, **options)
        self.sigmas = torch.tensor(denoising_sigmas(self.config.sampler))

    def batch(self, step: int) -> Batch:
        """For each kind of clip: latents, the tokens of their captions, and which targets count."""
        rng, counts = np.random.default_rng((self.seed, 2, step)), self.options
        return self._draw(rng, "train", (counts.openings, counts.beginnings, counts.later, counts.switches))

    def losses(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The flow-matching loss of each kind of clip, weighted by its number of clips."""
        assert isinstance(model, WorldModel)
        causal, copies = bool(torch.rand((), generator=generator) < 0.5), self.options.copies
        layouts = {
            "openings": ClipLayout.steady(0, self.options.opening_copies, causal),
            "beginnings": ClipLayout.beginning(BLOCKS),
            "later": ClipLayout.steady(BLOCKS - 1, copies, causal),
            "switches": ClipLayout.steady(BLOCKS - 1, copies, causal),
        }
        counts = {kind: len(batch[f"{kind}.ids"]) for kind in layouts}
        losses = {}
        for kind, layout in layouts.items():
            if counts[kind]:
                parts = {name: batch[f"{kind}.{name}"] for name in PARTS}
                loss = self._loss(model, layout, parts, generator)
                losses[kind] = loss * (counts[kind] / sum(counts.values()))
        return losses

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Flow-matching losses on held-out combinations and wordings, under fixed noise."""
        generator = torch.Generator().manual_seed(self.seed)
        sums: dict[str, float] = {}
        device = next(model.parameters()).device
        for number in range(4):
            rng = np.random.default_rng((self.seed, 3, number))
            batch = {k: v.to(device) for k, v in self._draw(rng, "held_out", (6, 6, 6, 6)).items()}
            for name, value in self.losses(model, batch, generator).items():
                sums[f"held_out_{name}"] = sums.get(f"held_out_{name}", 0.0) + value.item() * len(KINDS) / 4
        return sums

    @torch.no_grad()
    def sheet(self, model: nn.Module) -> Tensor:
        """Rollouts of held-out prompts by the engine, with a change half-way; see `rollout_sheet`."""
        assert isinstance(model, WorldModel)
        with full_precision(model):
            return rollout_sheet(self.world(model), TinyPrompts(), self.seed)

    def world(self, model: WorldModel) -> World:
        """The model as a world of the engine."""
        codec = self.codec.to(next(model.parameters()).device)
        return World(self.config, model.transformer, codec, model.text_encoder, self.tokenizer)

    def _draw(self, rng: np.random.Generator, split: str, counts: tuple[int, int, int, int]) -> Batch:
        copies = {"openings": self.options.opening_copies}
        batch: Batch = {}
        openings, takes, switches = self.banks[split]
        banks = (openings, takes, takes, switches)
        for kind, bank, count in zip(KINDS, banks, counts, strict=True):
            clips = draw_clips(kind, bank, count, rng, split)
            ids, mask = self.tokenizer(clips.captions, self.config.transformer.text_len)
            before_ids, before_mask = self.tokenizer(clips.before, self.config.transformer.text_len)
            weights = clips.under_prompt  # in a beginning, every block is a target
            if kind != "beginnings":  # in other clips, all copies of the last one are
                weights = torch.ones(count, copies.get(kind, self.options.copies))
            parts = (clips.latents, ids, mask, before_ids, before_mask, weights)
            batch |= {f"{kind}.{name}": value for name, value in zip(PARTS, parts, strict=True)}
        return batch

    def _loss(
        self, model: WorldModel, layout: ClipLayout, batch: Batch, generator: torch.Generator
    ) -> Tensor:
        """Flow-matching loss of one kind of clips [B, P, F, C, h, w]; targets are weighted by [B, K]."""
        clips = batch["clips"]
        worlds, targets = clips.shape[0], len(layout.target_positions)
        clean = clips[:, [min(at, clips.shape[1] - 1) for at in layout.target_positions]]  # [B, K, F, ...]
        cross = self._cross(model, batch["ids"], batch["mask"])
        context = clips[:, : layout.context]
        if min(layout.target_positions) >= layout.context:  # no target is also part of the context
            context = self._restore_some(model, context, batch, generator)
        spoiled = self.options.context_noise * torch.rand(worlds, 1, generator=generator)
        spoiled = spoiled * (torch.rand(worlds, 1, generator=generator) < 0.7)
        spoiled = spoiled.to(clips).view(worlds, 1, 1, 1, 1, 1)
        context = add_noise(context, noise_like(context, generator), spoiled)

        sigma = self._noise_levels(worlds, targets, generator).to(clips)
        noise = noise_like(clean, generator)
        noisy = add_noise(clean, noise, levels_of(sigma))
        flow = self._flow(model, layout, context, noisy, sigma, cross)
        return flow_matching_loss(flow, clean, noise, batch["weights"])

    def _cross(self, model: WorldModel, ids: Tensor, mask: Tensor) -> list[KeysValues]:
        """Keys and values of prompts, whose tokens are [B, L]."""
        with without_autocast(ids.device):
            text = model.text_encoder(ids, mask)
        return model.transformer.cross_keys_values(text)

    def _flow(
        self,
        model: WorldModel,
        layout: ClipLayout,
        context: Tensor,
        noisy: Tensor,
        sigma: Tensor,
        cross: list[KeysValues],
    ) -> Tensor:
        """The flow [B, K, F, C, h, w] of noisy blocks at noise levels [B, K], seen after a clean context."""
        frames = noisy.shape[2]
        times = torch.cat((sigma.new_zeros(context.shape[:2]), sigma), dim=1)
        times = (times * self.config.sampler.train_steps).repeat_interleave(frames, dim=1)
        rope = Rope(self.config.transformer.head_dim, self.config.grid, noisy.device)
        memory = TeacherForcing(layout, rope, frames, frames * self.config.frame_tokens)
        shown = torch.cat((context, noisy), dim=1).flatten(1, 2)
        flow = model.transformer(shown, times, cross, memory).unflatten(1, (-1, frames))
        targets: Tensor = flow[:, layout.context :].float()
        return targets

    @torch.no_grad()
    def _restore_some(
        self, model: WorldModel, context: Tensor, batch: Batch, generator: torch.Generator
    ) -> Tensor:
        """Context blocks [B, J, ...]; the first worlds' are restored from noise by the model."""
        blocks, chance = context.shape[1], torch.rand((), generator=generator).item()
        count = int(self.options.restored_share * context.shape[0] + chance)  # rounded at random
        if not count or not blocks:
            return context
        passes = int(torch.randint(self.options.restored_passes, (), generator=generator)) + 1
        cross = self._cross(model, batch["before_ids"][:count], batch["before_mask"][:count])
        low, high = RESTORED_FROM
        restored, layout = context[:count], ClipLayout.beginning(blocks)
        for _ in range(passes):
            sigma = low + (high - low) * torch.rand(count, 1, generator=generator)
            sigma = sigma.expand(-1, blocks).to(restored)
            noisy = add_noise(restored, noise_like(restored, generator), levels_of(sigma))
            flow = self._flow(model, layout, restored[:, :-1], noisy, sigma, cross)
            restored = flow_to_x0(noisy, flow, levels_of(sigma))
        return torch.cat((restored, context[count:]))

    def _noise_levels(self, batch: int, targets: int, generator: torch.Generator) -> Tensor:
        """Noise levels [B, K]: those of the sampler in random order, or others under the same warp."""
        count = len(self.sigmas)
        order = (
            torch.rand(batch, max(targets, count), generator=generator).argsort(dim=1)[:, :targets] % count
        )
        warped = warp(torch.rand(batch, targets, generator=generator), self.config.sampler.shift)
        exact = torch.rand(batch, targets, generator=generator) < self.options.exact_share
        return torch.where(exact, self.sigmas[order], warped)
