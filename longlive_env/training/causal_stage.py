"""The causal transformer of a small world and its text encoder, by flow matching with teacher forcing.

Each clip is what the few-step sampler will see: clean context blocks, and noisy blocks to restore from them,
at noise levels around those of the sampler. Clips of three kinds share a step: first blocks, which the prompt
alone guides; beginnings of videos; and later blocks, whose context is a sink and a window, possibly far
apart, possibly from before a prompt change (after a recache the whole context counts as seen under the new
prompt, as it does at inference).

Shapes: B clips, P blocks of a clip, K target blocks, F latent frames of a block, C latent channels, h x w
latent size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from longlive_env.engine.codec.patch_vae import PatchVAE
from longlive_env.engine.config import PRESETS, PatchVAEConfig, WorldConfig
from longlive_env.engine.rope import Rope
from longlive_env.engine.schedule import denoising_sigmas
from longlive_env.engine.text_encoder import UMT5Encoder
from longlive_env.engine.tokenizer import Tokenizer, whole_word_tokenizer
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.engine.world import World
from longlive_env.errors import ConfigError
from longlive_env.tiny.captions import caption, vocabulary
from longlive_env.tiny.scene import ATTRIBUTES, Scene
from longlive_env.training.checkpoint import copy_state
from longlive_env.training.codec_stage import load_codec
from longlive_env.training.latents import POSITIONS, Bank, encode_opening, open_bank
from longlive_env.training.losses import flow_matching_loss
from longlive_env.training.muon import Muon
from longlive_env.training.stages import Batch, Optimisation, Stage
from longlive_env.training.teacher_forcing import ClipLayout, TeacherForcing

Choose = Callable[[int], tuple[list[int], int]]  # a take's number to positions of blocks, and of their prompt

BLOCKS = 4  # blocks of a clip: as many as the context holds


@dataclass(frozen=True)
class CausalOptions:
    """Data and noise of the causal stage.

    Attributes:
        codec: weights of a trained codec, or the name or folder of a world that has one.
        start: name or folder of a world to go on from; none by default.
        bank: folder of encoded takes, filled on first use.
        takes: encoded takes to learn from; there are three times as many openings.
        openings: first blocks in a step, which are made from the prompt alone.
        beginnings: clips of a step that begin a video.
        later: clips of a step from later in a video.
        opening_copies: noise levels at which a first block is restored; fewer means more prompts.
        copies: noise levels at which a later clip's last block is restored.
        context_noise: largest noise level of context blocks, which makes the model tolerate its own errors.
        exact_share: how many noise levels are exactly those of the sampler; the others lie between.
        held_out: encoded takes to evaluate on.
    """

    codec: str = ""
    start: str = ""
    bank: str = ""
    takes: int = 2000
    openings: int = 16
    beginnings: int = 2
    later: int = 2
    opening_copies: int = 2
    copies: int = 4
    context_noise: float = 0.15
    exact_share: float = 0.6
    held_out: int = 50


class WorldModel(nn.Module):
    """What this stage trains: a transformer and the text encoder that conditions it."""

    def __init__(self, config: WorldConfig) -> None:
        super().__init__()
        self.transformer = CausalWanTransformer(config.transformer)
        self.text_encoder = UMT5Encoder(config.text_encoder)
        nn.init.normal_(self.text_encoder.token_embedding.weight, std=0.5)
        nn.init.zeros_(self.transformer.head.head.weight)


class CausalStage(Stage):
    """Trains a `WorldModel` on encoded takes."""

    name = "causal"
    optimisation = Optimisation(lr=2e-3, warmup_steps=60, ema=0.997, weight_decay=0.01)

    def __init__(self, seed: int = 0, config: WorldConfig | None = None, **options: Any) -> None:
        self.seed, self.options = seed, CausalOptions(**options)
        self.config = config or PRESETS["tiny"]
        if not self.options.codec or not self.options.bank:
            raise ConfigError("the causal stage needs a codec and a folder; give --set codec=FILE bank=DIR")
        self.tokenizer = tiny_tokenizer()
        assert isinstance(self.config.codec, PatchVAEConfig)  # the codec stage trains no other kind
        self.codec = PatchVAE(self.config.codec).eval().requires_grad_(False)
        load_codec(self.codec, self.options.codec)
        folder = Path(self.options.bank)
        numbers = {"train": self.options.takes, "held_out": self.options.held_out}
        self.banks = {
            split: (
                open_bank(folder / "openings", 3 * takes, split, self.codec, seed, encode_opening),
                open_bank(folder, takes, split, self.codec, seed),
            )
            for split, takes in numbers.items()
        }
        self.sigmas = torch.tensor(denoising_sigmas(self.config.sampler))

    def build(self) -> WorldModel:
        """A model with weights of its seed, or of the world that it starts from."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            model = WorldModel(self.config)
        if self.options.start:
            world = World.load(self.options.start)
            assert world.text_encoder is not None  # a saved world has one
            copy_state(model.transformer, world.transformer.state_dict(), self.options.start)
            copy_state(model.text_encoder, world.text_encoder.state_dict(), self.options.start)
        return model

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Muon for the matrices of the blocks, AdamW for embeddings, the head and vectors."""
        plan = self.optimisation
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        matrices = {
            name for name, p in named if "blocks." in name and p.ndim == 2 and "embedding" not in name
        }
        groups: list[dict[str, Any]] = [
            {
                "params": [p for name, p in named if name in matrices],
                "matrix": True,
                "weight_decay": plan.weight_decay,
            },
            {"params": [p for name, p in named if name not in matrices], "lr_scale": 0.5},
        ]
        return Muon(groups, lr=plan.lr, betas=plan.betas)

    def batch(self, step: int, progress: float) -> Batch:
        """For each kind of clip: its latents, the tokens of their captions, and which targets count."""
        rng, counts = np.random.default_rng((self.seed, 2, step)), self.options
        return self._draw(rng, "train", (counts.openings, counts.beginnings, counts.later))

    def split(self, batch: Batch, parts: int) -> list[Batch]:
        """Equal numbers of clips of each kind in every part."""
        uneven = {name: len(value) for name, value in batch.items() if len(value) % parts}
        if uneven:
            raise ConfigError(f"{uneven} do not split into {parts} parts; choose multiples")
        return [{name: value.chunk(parts)[n] for name, value in batch.items()} for n in range(parts)]

    def losses(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The flow-matching loss of each kind of clip, weighted by its number of clips."""
        assert isinstance(model, WorldModel)
        causal, copies = bool(torch.rand((), generator=generator) < 0.5), self.options.copies
        layouts = {
            "openings": ClipLayout.steady(0, self.options.opening_copies, causal),
            "beginnings": ClipLayout.beginning(BLOCKS),
            "later": ClipLayout.steady(BLOCKS - 1, copies, causal),
        }
        counts = {kind: len(batch[f"{kind}.ids"]) for kind in layouts}
        losses = {}
        for kind, layout in layouts.items():
            if counts[kind]:
                parts = {name: batch[f"{kind}.{name}"] for name in ("clips", "ids", "mask", "weights")}
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
            batch = {k: v.to(device) for k, v in self._draw(rng, "held_out", (6, 6, 6)).items()}
            for name, value in self.losses(model, batch, generator).items():
                sums[f"held_out_{name}"] = sums.get(f"held_out_{name}", 0.0) + value.item() * 3 / 4
        return sums

    @torch.no_grad()
    def sheet(self, model: nn.Module) -> Tensor:
        """Held-out prompts rolled out by the engine, changed half-way; a row each, time to the right."""
        assert isinstance(model, WorldModel)
        from longlive_env.tiny.scene import change_one, sample_scene

        rng = np.random.default_rng((self.seed, 4))
        scenes = [sample_scene(rng, "held_out") for _ in range(8)]
        names = list(ATTRIBUTES)
        later = [change_one(s, names[i % len(names)], rng, "held_out") for i, s in enumerate(scenes)]
        shown = []
        with torch.autocast(next(model.parameters()).device.type, enabled=False):  # as people will run it
            rollout = self.world(model).start([caption(s, rng, "held_out") for s in scenes], seed=0)
            for block in range(8):
                if block == 4:
                    rollout.switch_prompt([caption(s, rng, "held_out") for s in later])
                frames = rollout.step()
                if block in (0, 1, 3, 4, 5, 7):
                    shown.append(frames[:, -7])
        return torch.stack(shown, dim=1).permute(0, 2, 1, 3, 4).flatten(2, 3).flatten(0, 1)

    def world(self, model: WorldModel) -> World:
        """The model as a world of the engine."""
        codec = self.codec.to(next(model.parameters()).device)
        return World(self.config, model.transformer, codec, model.text_encoder, self.tokenizer)

    def describe(self) -> dict[str, Any]:
        """The world's configuration."""
        return {"config": self.config.to_dict()}

    def _draw(self, rng: np.random.Generator, split: str, counts: tuple[int, int, int]) -> Batch:
        openings, takes = self.banks[split]
        choosers: dict[str, tuple[Bank, Choose]] = {
            "openings": (openings, lambda take: ([0], 0)),
            "beginnings": (takes, lambda take: _beginning(rng)),
            "later": (takes, lambda take: _later(takes, take, rng)),
        }
        batch: Batch = {}
        for (kind, (bank, choose)), count in zip(choosers.items(), counts, strict=True):
            clips, captions, weights = (
                [bank.latents[:0, : 1 if kind == "openings" else BLOCKS].float()],
                [],
                [],
            )
            for take in rng.integers(len(bank), size=count).tolist():
                blocks, prompt = choose(take)
                labels = bank.labels[take]
                clips.append(bank.latents[take, blocks].float()[None])
                captions.append(caption(_scene(labels[prompt]), rng, split))
                weights.append((labels[blocks] == labels[prompt]).all(dim=-1).float())
            ids, mask = self.tokenizer(captions, self.config.transformer.text_len)
            batch |= {f"{kind}.clips": torch.cat(clips), f"{kind}.ids": ids, f"{kind}.mask": mask}
            if kind == "beginnings" and count:
                batch[f"{kind}.weights"] = torch.stack(weights)
            else:  # all copies of a block count
                copies = self.options.copies if kind == "later" else self.options.opening_copies
                batch[f"{kind}.weights"] = torch.ones(count, copies)
        return batch

    def _loss(
        self, model: WorldModel, layout: ClipLayout, batch: Batch, generator: torch.Generator
    ) -> Tensor:
        """Flow-matching loss of one kind of clips [B, P, F, C, h, w]; targets are weighted by [B, K]."""
        clips = batch["clips"]
        worlds, targets = clips.shape[0], len(layout.target_positions)
        clean = clips[:, [min(at, clips.shape[1] - 1) for at in layout.target_positions]]  # [B, K, F, ...]

        def noise_like(x: Tensor) -> Tensor:
            return torch.randn(x.shape, generator=generator).to(x)

        sigma = self._noise_levels(worlds, targets, generator).to(clips)
        level = sigma.view(worlds, targets, 1, 1, 1, 1)
        noise = noise_like(clean)
        context = clips[:, : layout.context]
        spoiled = self.options.context_noise * torch.rand(worlds, 1, generator=generator)
        spoiled = spoiled * (torch.rand(worlds, 1, generator=generator) < 0.7)
        spoiled = spoiled.to(clips).view(worlds, 1, 1, 1, 1, 1)
        context = (1 - spoiled) * context + spoiled * noise_like(context)
        shown = torch.cat((context, (1 - level) * clean + level * noise), dim=1)

        frames = shown.shape[2]
        times = torch.cat((sigma.new_zeros(worlds, layout.context), sigma), dim=1)
        times = (times * self.config.sampler.train_steps).repeat_interleave(frames, dim=1)
        rope = Rope(self.config.transformer.head_dim, self.config.grid, clips.device)
        memory = TeacherForcing(layout, rope, frames, frames * self.config.frame_tokens)
        with torch.autocast(clips.device.type, enabled=False):
            text = model.text_encoder(batch["ids"], batch["mask"])
        cross = model.transformer.cross_keys_values(text)
        flow = model.transformer(shown.flatten(1, 2), times, cross, memory)
        flow = flow.unflatten(1, (-1, frames))[:, layout.context :].float()
        return flow_matching_loss(flow, clean, noise, batch["weights"])

    def _noise_levels(self, batch: int, targets: int, generator: torch.Generator) -> Tensor:
        """Noise levels [B, K]: those of the sampler in random order, or others under the same warp."""
        count = len(self.sigmas)
        order = (
            torch.rand(batch, max(targets, count), generator=generator).argsort(dim=1)[:, :targets] % count
        )
        shift, uniform = self.config.sampler.shift, torch.rand(batch, targets, generator=generator)
        warped = shift * uniform / (1 + (shift - 1) * uniform)
        exact = torch.rand(batch, targets, generator=generator) < self.options.exact_share
        return torch.where(exact, self.sigmas[order], warped)


def tiny_tokenizer() -> Tokenizer:
    """The tokenizer of the captions' vocabulary."""
    words = vocabulary()
    return Tokenizer(
        whole_word_tokenizer([w for w in words if w.isalnum()], [w for w in words if not w.isalnum()])
    )


def _beginning(rng: np.random.Generator) -> tuple[list[int], int]:
    """Positions of a take's first blocks, and the position whose prompt the clip is under."""
    return list(range(BLOCKS)), int(rng.choice([0, BLOCKS - 1]))


def _later(bank: Bank, take: int, rng: np.random.Generator) -> tuple[list[int], int]:
    """Positions of a sink block and three consecutive ones of a take; the prompt is that of the newest."""
    labels, blocks = bank.labels[take], bank.blocks[take].tolist()
    changed = (labels[1:] != labels[:-1]).any(dim=-1).tolist()  # between a position and the one before
    contiguous = blocks[-1] == POSITIONS - 1

    def since(newest: int) -> int:
        """The first position under the prompt of `newest`."""
        return next(at for at in range(newest, -1, -1) if at == 0 or changed[at - 1])

    newest = POSITIONS - 1
    if contiguous:  # the blocks right after a change are the hardest: of two candidates, the one nearer to it
        candidates = rng.integers(BLOCKS - 1, POSITIONS, size=2).tolist()
        newest = min(candidates, key=lambda at: at - since(at) if since(at) else POSITIONS)
    # A recache makes the oldest frame that it passes the new sink.
    sink = max(0, since(newest) - BLOCKS) if contiguous else 0
    return [sink, *range(newest - BLOCKS + 2, newest + 1)], newest


def _scene(labels: Tensor) -> Scene:
    return Scene(*(values[index] for values, index in zip(ATTRIBUTES.values(), labels.tolist(), strict=True)))
