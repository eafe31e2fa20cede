"""Distillation from an oracle: the renderer of the tiny world, which knows what a prompt may show.

A prompt leaves one thing open, where the camera stands, and there are few places for it; here a take begins
at one of five. Of a noisy first block the oracle can say how likely it comes from which place, and so how
clean it would be on average: the exact score, which a base only learns to approximate. Matching it lets the
generator choose a place and draw that one crisply, where regression draws the haze of all of them. All that
follows a first block has one right answer, which the generator is shown in running takes that remember what
the oracle drew (teacher forcing).

Shapes: B clips, P places, F latent frames of a block, C latent channels, h x w latent size.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.errors import ConfigError
from longlive_env.tiny.captions import caption
from longlive_env.tiny.scene import Take, block_start, sample_camera
from longlive_env.training import parallel
from longlive_env.training.clips import scene_of
from longlive_env.training.latents import FRAMES, SHARD, encode_blocks, encode_places, open_bank
from longlive_env.training.matching_stage import MatchingOptions, MatchingStage
from longlive_env.training.prompts import TinyPrompts
from longlive_env.training.rollout_stage import Distillation, Generated
from longlive_env.training.running_takes import RunningOptions, RunningTakes, Stream
from longlive_env.training.sheets import full_precision
from longlive_env.training.stages import Batch, Optimisation, check_least, check_split
from longlive_env.training.world_model import world_config


@dataclass(frozen=True)
class OracleOptions(MatchingOptions, RunningOptions):
    """Options of distribution matching and of running takes; first blocks, and their places.

    Attributes:
        bank: folder of encoded first blocks, filled on first use.
        scenes: encoded scenes to match, each at several places.
        held_out: encoded scenes to evaluate on.
        scenes_a_file: of the bank.
        openings: first blocks of a step.
        clips: running takes of a step, of which each of the generator's updates sees a chunk of `blocks`.
        length: blocks of a running take.
        sharpen: whether to draw first blocks towards the place that they show most of, instead of matching
            distributions. That takes fewer updates where the generator has learned to choose a place; before
            it only adds to the haze.
    """

    bank: str = ""
    scenes: int = 600
    held_out: int = 50
    scenes_a_file: int = SHARD
    openings: int = 24
    clips: int = 2
    length: int = 31
    critic_updates: int = 3
    critic_rate: float = 0.5
    score_shift: float = 2.0
    sharpen: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, scenes=1, held_out=1, scenes_a_file=1, openings=1)


@dataclass(frozen=True)
class Opening(Generated):
    """First blocks that the generator made.

    Attributes:
        places: what the oracle draws for their prompts, at every place ``[B, P, F, C, h, w]``.
    """

    places: Tensor


class OracleStage(MatchingStage):
    """Trains the generator of a tiny world; see the module.

    Attributes:
        takes: those that run on from step to step.
    """

    name = "oracle"
    optimisation = Optimisation(lr=2e-4, warmup_steps=20, betas=(0.0, 0.99), ema=0.99, final=0.1)
    options_type = OracleOptions
    options: OracleOptions
    prompts: TinyPrompts

    def __init__(self, seed: int = 0, **options: Any) -> None:
        super().__init__(seed, **options)
        self.prompts = TinyPrompts()
        self.encode([""])  # a world without a text encoder says so before the bank is filled
        self.takes = RunningTakes(self, self.options)
        folder, codec = Path(self.options.bank) / "places", self.world.codec
        numbers = {"train": self.options.scenes, "held_out": self.options.held_out}
        self.banks = {
            split: open_bank(folder, scenes, split, codec, seed, encode_places, self.options.scenes_a_file)
            for split, scenes in numbers.items()
        }

    def check(self) -> None:
        """A bank is needed besides."""
        if not self.options.bank:
            raise ConfigError("the oracle stage needs a folder for encoded first blocks; give --set bank=DIR")
        counts = {"clips": self.options.clips, "openings": self.options.openings}
        check_split(counts, parallel.processes())
        config = world_config(None, self.options.start)
        if config.frames_per_block != FRAMES:
            raise ConfigError(
                f"world {config.name!r} has blocks of {config.frames_per_block} latent frames; "
                f"rendered blocks have {FRAMES}: start from a world with such"
            )

    def first_critic(self) -> CausalWanTransformer:
        """The generator: it denoises first blocks, too."""
        return copy.deepcopy(self.world.transformer)

    def batch(self, step: int, progress: float) -> Batch:
        """What rollouts need, whose turn it is, and seeds of first blocks."""
        rng = np.random.default_rng((self.seed, 9, step))
        openings = torch.from_numpy(rng.integers(2**31, size=self.options.openings))
        return {**super().batch(step, progress), "openings": openings}

    def split(self, batch: Batch, parts: int) -> list[Batch]:
        """Equal numbers of worlds and of first blocks for every process."""
        self.takes.check_parts(parts)
        return super().split(batch, parts)

    def generate(self, model: Distillation, batch: Batch) -> Opening:
        """First blocks of scenes of the bank."""
        return self._open(model.generator, batch["openings"].tolist(), "train", int(batch["steps"]))

    def real(self, noisy: Tensor, sigma: Tensor, clips: Generated) -> Tensor:
        """The mean of what noisy first blocks may be without noise: places, weighted by their likelihood."""
        assert isinstance(clips, Opening)
        with torch.autocast(noisy.device.type, enabled=False):
            return posterior_mean(noisy.float(), sigma.float(), clips.places.float())

    def losses(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """As in any distribution matching; in the generator's turn what follows first blocks, besides."""
        assert isinstance(model, Distillation)
        losses = (
            self._sharpening(model, batch)
            if self.options.sharpen
            else super().losses(model, batch, generator)
        )
        if not batch["generate"]:
            return losses
        with parallel.gathered(model.generator):
            return {**losses, "following": self._following(model.generator, batch)}

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Squared distances of held-out first blocks: from the place that they show most of, and from all."""
        assert isinstance(model, Distillation)
        with full_precision(model):
            seeds, steps = list(range(self.options.held_out)), len(self.config.sampler.steps)
            distances = _distances(self._open(model.generator, seeds, "held_out", steps))
        nearest = distances.min(dim=1).values
        return {"held_out_nearest": nearest.mean().item(), "held_out_places": distances.mean().item()}

    def state(self) -> dict[str, Tensor]:
        """The running takes, so that a resumed run goes on with them."""
        return self.takes.state()

    def restore(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        """See `RunningTakes.restore`."""
        assert isinstance(model, Distillation)
        self.takes.restore(model.generator, tensors)

    def describe(self) -> dict[str, Any]:
        """How many scenes are matched besides."""
        return {**super().describe(), "scenes": self.options.scenes}

    def _sharpening(self, model: Distillation, batch: Batch) -> dict[str, Tensor]:
        """The squared distance of first blocks from the place that they show most of."""
        with parallel.gathered(model.generator):
            clips = self.generate(model, batch)
        return {"nearest": _distances(clips).min(dim=1).values.mean()}

    def _open(self, generator: CausalWanTransformer, seeds: list[int], split: str, steps: int) -> Opening:
        """First blocks of the bank's scenes that seeds stand for, by these seeds."""
        bank = self.banks[split]
        entries = [seed % len(bank) for seed in seeds]
        prompts = [
            caption(scene_of(bank.labels[entry, 0]), np.random.default_rng(seed), split)
            for entry, seed in zip(entries, seeds, strict=True)
        ]
        made = self.roll_out(generator, prompts, seeds, steps, blocks=1)
        return Opening(made.latents, made.text, made.weights, bank.latents[entries].to(made.latents))

    def _following(self, generator: CausalWanTransformer, batch: Batch) -> Tensor:
        """The squared distance from the oracle of a chunk's new blocks, but for one that begins a take."""
        stream, count = self.takes.ready(generator, batch)
        skipped = 0 if stream.age else self.config.frames_per_block
        drawn = torch.stack([self._drawn(stream, world, count) for world in range(len(stream.seeds))])
        made = self.takes.chunk(generator, batch, drawn).latents[:, -drawn.shape[1] :]
        return F.mse_loss(made[:, skipped:].float(), drawn[:, skipped:])

    @torch.no_grad()
    def _drawn(self, stream: Stream, world: int, count: int) -> Tensor:
        """Blocks from the stream's age on as the oracle draws them [count * F, C, h, w]."""
        seed, switch = stream.seeds[world], stream.switches[world]
        before, after = self.prompts.scenes(np.random.default_rng(seed), "train")
        take = Take(((0, before), (block_start(switch), after)), camera_of(seed))
        with torch.autocast(self.world.device.type, enabled=False):
            return encode_blocks(take, stream.age, count, self.world.codec).flatten(0, 1)


def _distances(clips: Opening) -> Tensor:
    """Mean squared distances of first blocks from what the oracle draws at each place [B, P]."""
    made, places = clips.latents.float(), clips.places.float()
    return (made[:, None] - places).square().flatten(2).mean(dim=2)


def camera_of(seed: int) -> float:
    """Where the camera of a running take begins; its own numbers, or the prompt's wording would tell."""
    return sample_camera(np.random.default_rng((seed, 1)))


def posterior_mean(noisy: Tensor, sigma: Tensor, candidates: Tensor) -> Tensor:
    """What noisy clips are on average without noise, each being one of its candidates, which are as likely.

    Args:
        noisy: ``(1 - sigma) * clean + sigma * noise``, ``[B, ...]``.
        sigma: ``[B]``, above 0.
        candidates: ``[B, P, ...]``.

    Returns:
        ``[B, ...]``.
    """
    flat, level = candidates.flatten(2), sigma[:, None]
    distances = (noisy.flatten(1)[:, None] - (1 - level)[..., None] * flat).square().sum(dim=2)
    odds = torch.softmax(-distances / (2 * level**2), dim=1)
    return torch.einsum("bp,bpn->bn", odds, flat).view_as(noisy)
