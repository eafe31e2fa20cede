"""The decoder of a tiny world, trained on what the world itself draws.

A codec learns on latents of rendered frames. Those that a world makes are a little off, in ways that a
decoder can learn to mend once it sees them: the renderer says what they should have shown. The world plays
takes as in the follow stage, and stays as it is. Each take gives a clip a step: two latent frames of a new
block if they are near enough to the renderer's, else the renderer's own, encoded. Clips are compared with
rendered frames, and judged by a discriminator; the encoder, and so what latents mean, is left alone.

Shapes: B clips, F latent frames of a block, C latent channels, h x w latent size, T pixel frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from longlive_env.engine.codec import CodecState
from longlive_env.engine.codec.patch_vae import PatchVAE, ResidualBlock
from longlive_env.engine.config import PatchVAEConfig, to_dict
from longlive_env.engine.world import World
from longlive_env.errors import ConfigError
from longlive_env.tiny.scene import Take
from longlive_env.training.clips import scene_of
from longlive_env.training.discriminator import (
    FrameDiscriminator,
    balance,
    discriminator_loss,
    realism_loss,
)
from longlive_env.training.latents import FIRST_PLACES, draw_each
from longlive_env.training.losses import psnr, reconstruction_losses, sharpness
from longlive_env.training.muon import Muon, kernels_and_vectors
from longlive_env.training.places import place_distances
from longlive_env.training.rendered_stage import Compared, RenderedOptions, RenderedStage
from longlive_env.training.sheets import full_precision, rollout_sheet
from longlive_env.training.stages import Batch, Optimisation, check_least

CLIP = 2  # latent frames of a clip
PENALTY_EVERY, PENALTY = 8, 0.08  # steps, and weight in those


@dataclass(frozen=True)
class DecoderOptions(RenderedOptions):
    """Options of rendered takes, and of what their pictures are judged by.

    Attributes:
        mse: weight of the squared error, against one for the absolute error.
        flicker: weight of how pixels change from frame to frame, against the same.
        realism: how much the discriminator weighs beside all distances, by gradients at the last layer.
        judge_rate: learning rate of the discriminator as a share of the decoder's.
        more_blocks: blocks to add to the fine part of the start's decoder; they begin by changing nothing.
    """

    clips: int = 8
    blocks: int = 2
    length: int = 25
    trust: float = 0.3
    mse: float = 10.0
    flicker: float = 4.0
    realism: float = 0.4
    judge_rate: float = 1.7
    more_blocks: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, mse=0, flicker=0, realism=0, judge_rate=0, more_blocks=0)


class Decoding(nn.Module):
    """What is trained: the decoder of a codec, and the discriminator of its frames."""

    def __init__(self, codec: PatchVAE, judge: FrameDiscriminator) -> None:
        super().__init__()
        self.codec, self.judge = codec, judge


@dataclass(frozen=True)
class Clips:
    """What the decoder is to decode, and to what.

    Attributes:
        latents: standardised ``[B, CLIP, C, h, w]``.
        previous: the latent frame before each, of the same shape.
        frames: as rendered, float32 ``[B, 4 * CLIP, 3, H, W]``.
    """

    latents: Tensor
    previous: Tensor
    frames: Tensor


class DecoderStage(RenderedStage):
    """Trains a `Decoding`; see the module."""

    name = "decoder"
    # Not clipped: that would weaken the steps that pay the discriminator's penalty, and those alone.
    optimisation = Optimisation(lr=3e-4, warmup_steps=100, ema=0.995, clip=1e6, weight_decay=0.0)
    options_type = DecoderOptions
    options: DecoderOptions

    def check(self) -> None:
        """A codec with a decoder of this kind is needed besides."""
        super().check()
        if self.options.lora_rank:
            raise ConfigError(
                f"lora_rank is {self.options.lora_rank}; adapters are a generator's, which the decoder stage "
                "does not train: leave it at 0"
            )

    def build(self) -> Decoding:
        """The codec of the world that this starts from, with blocks added, and a new discriminator."""
        own = self.world.codec
        assert isinstance(own, PatchVAE)  # as rendered latents are
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            codec = deepened(own, self.options.more_blocks)
            judge = FrameDiscriminator(codec.temporal_factor)
        codec.requires_grad_(False).decoder.requires_grad_(True)
        return Decoding(codec, judge)

    def frozen(self) -> list[nn.Module]:
        """The world that plays."""
        return [*super().frozen(), self.world.transformer]

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Muon for the decoder's kernels, AdamW for vectors and the discriminator."""
        assert isinstance(model, Decoding)
        plan = self.optimisation
        own = kernels_and_vectors(model.codec.decoder.parameters(), plan.weight_decay)
        judge = {
            "params": list(model.judge.parameters()),
            "betas": (0.5, 0.99),
            "lr_scale": self.options.judge_rate,
        }
        return Muon([*own, judge], lr=plan.lr, betas=plan.betas)

    def batch(self, step: int, progress: float) -> Batch:
        """Takes are denoised in full; in some steps the discriminator pays for its gradients."""
        whole = torch.tensor(len(self.config.sampler.steps))
        pays = torch.tensor(step % PENALTY_EVERY == 0)
        return {**super().batch(step, progress), "steps": whole, "penalty": pays}

    def losses(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Distances from rendered frames, and how real clips look; beside it, the discriminator's loss."""
        assert isinstance(model, Decoding)
        options = self.options
        clips = self.play(batch, generator)
        decoded = decode_clips(model.codec, clips)
        terms = reconstruction_losses(decoded, clips.frames, mse=options.mse, flicker=options.flicker)
        if not options.realism:
            return terms
        first = int(torch.randint(decoded.shape[1] - model.judge.frames + 1, (), generator=generator))
        part = slice(first, first + model.judge.frames)
        seen, target = decoded[:, part], clips.frames[:, part]
        realism = realism_loss(model.judge, seen, target)
        weight = balance(
            torch.stack(list(terms.values())).sum(), realism, model.codec.decoder.conv_out.weight
        )
        penalty = PENALTY if batch["penalty"] else 0.0
        judged = discriminator_loss(model.judge, seen, target, penalty)
        return {**terms, "realism": options.realism * weight * realism, "judge": judged}

    @torch.no_grad()
    def play(self, batch: Batch, generator: torch.Generator) -> Clips:
        """Let the takes run on, and cut a clip out of a new block of each."""
        transformer, codec = self.world.transformer, self.world.codec
        stream, _ = self.takes.ready(transformer, batch)
        cut = list[Clips]()

        def compared(made: Tensor) -> Tensor:
            age, before = stream.age, stream.rollout.state.history[:, -1:].clone()
            found = self.compare(stream, transformer, made)
            cut.append(_cut(found, before, age, codec.temporal_factor, generator))
            return found.kept

        self.takes.chunk(transformer, batch, compared)
        return cut[int(torch.randint(len(cut), (), generator=generator))]

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Of held-out first blocks, as made and as encoded: PSNR in dB, and `sharpness` to the renderer's."""
        assert isinstance(model, Decoding)
        seeds, steps = list(range(self.options.held_out)), len(self.config.sampler.steps)
        with full_precision(model):
            made = self.open(self.world.transformer, seeds, steps, "held_out")
            nearest = place_distances(made.latents, made.places).argmin(dim=1).tolist()
            bank = self.banks["held_out"]
            scenes = [scene_of(bank.labels[seed % len(bank), 0]) for seed in seeds]
            takes = [
                Take(((0, scene),), float(FIRST_PLACES[place]))
                for scene, place in zip(scenes, nearest, strict=True)
            ]
            rendered = draw_each(takes, 0, made.latents.device)
            fresh = CodecState.fresh(len(seeds))
            encoded = model.codec.encode(rendered, fresh).latents
            figures = dict[str, float]()
            for name, latents in {"made": made.latents, "encoded": encoded}.items():
                frames = model.codec.decode(latents, fresh).pixels.float()
                figures[f"{name}_psnr"] = psnr(frames, rendered)
                figures[f"{name}_sharpness"] = sharpness(frames) / sharpness(rendered)
        return figures

    @torch.no_grad()
    def sheet(self, model: nn.Module) -> Tensor:
        """Rollouts of the world, decoded by the averaged decoder; see `rollout_sheet`."""
        assert isinstance(model, Decoding)
        own = self.world
        config = replace(self.config, codec=model.codec.config)
        world = World(config, own.transformer, model.codec, own.text_encoding, own.tokenizer)
        with full_precision(model):
            return rollout_sheet(world, self.prompts, self.seed, self.options.clips, self.encode)

    def restore(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        """See `RenderedStage.restore`: the world that plays is the one that training starts from."""
        self.restore_takes(self.world.transformer, tensors)

    def describe(self) -> dict[str, Any]:
        """The codec's configuration with its blocks added, and that the encoder rests."""
        assert isinstance(self.config.codec, PatchVAEConfig)
        codec = _deeper(self.config.codec, self.options.more_blocks)
        return {**super().describe(), "codec": to_dict(codec), "decoder_only": True}


def deepened(codec: PatchVAE, more: int) -> PatchVAE:
    """A copy of a codec with more blocks in the fine part of its decoder, which change nothing yet."""
    assert isinstance(codec.config, PatchVAEConfig)
    deeper = PatchVAE(_deeper(codec.config, more)).to(next(codec.parameters())).eval()
    for block in list(deeper.decoder.fine)[len(codec.decoder.fine) :]:
        assert isinstance(block, ResidualBlock)
        nn.init.zeros_(block.conv2.weight)
        assert block.conv2.bias is not None
        nn.init.zeros_(block.conv2.bias)
    deeper.load_state_dict(codec.state_dict(), strict=False)
    return deeper


def decode_clips(codec: PatchVAE, clips: Clips) -> Tensor:
    """Pixels ``[B, 4 * CLIP, 3, H, W]``, float32, not clamped."""
    raw = [codec.raw(latents).flatten(0, 1) for latents in (clips.latents, clips.previous)]
    groups: Tensor = codec.decoder(*raw)
    return groups.float().reshape(clips.frames.shape)


def _cut(found: Compared, before: Tensor, age: int, factor: int, generator: torch.Generator) -> Clips:
    """Clips out of blocks, each take's where it is near, else the renderer's.

    Args:
        found: the blocks.
        before: the latent frame before them ``[B, 1, C, h, w]``; whatever for first blocks.
        age: of the blocks.
        factor: pixel frames of a latent frame.
        generator: chooses which frames; the same ones of all takes.
    """
    kept, frames = found.kept, found.rendered
    if age == 0:  # a first frame follows itself, and is a group by itself, as it was encoded
        before = kept[:, :1]
        frames = torch.cat((frames[:, :1].expand(-1, factor - 1, -1, -1, -1), frames), dim=1)
    previous = torch.cat((before.to(kept), kept[:, :-1]), dim=1)
    first = int(torch.randint(kept.shape[1] - CLIP + 1, (), generator=generator))
    part = slice(first, first + CLIP)
    return Clips(kept[:, part], previous[:, part], frames[:, factor * first : factor * (first + CLIP)])


def _deeper(config: PatchVAEConfig, more: int) -> PatchVAEConfig:
    coarse, fine = config.decoder_blocks
    return replace(config, decoder_blocks=(coarse, fine + more))
