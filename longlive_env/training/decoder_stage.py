"""The decoder of a tiny world, trained on what the world itself draws.

A codec learns from latents of rendered frames. Those that a world makes are slightly off, in ways that a
decoder can learn to correct once it sees them, since the renderer knows what they should have shown. The
world plays takes as in the follow stage, once, before the first step, and is not trained. A clip is two
latent frames of a played block if that is near enough to the renderer's, else of the renderer's block,
encoded. Decoded clips are compared with rendered frames, and a discriminator judges their brightness; the
encoder, and so the meaning of latents, stays the same. The decoder can grow here, by blocks and by the part
that draws detail.

The decoder soon memorises takes that are kept, so other clips are of scenes drawn and encoded anew.

Jumps and dances are the hardest to decode. Some steps can see nothing else, in close-ups, without the
discriminator: where a latent frame does not tell four poses apart, all that sharpness adds is grain.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from longlive_env.engine.codec import CodecState
from longlive_env.engine.codec.patch_vae import PatchVAE
from longlive_env.engine.config import PatchVAEConfig, to_dict
from longlive_env.engine.seeds import seeded
from longlive_env.engine.world import World
from longlive_env.errors import ConfigError
from longlive_env.tiny.scene import LIVELY, Take, block_start, sample_camera
from longlive_env.training import parallel
from longlive_env.training.decoder_clips import CLIP, DecoderClips, close_up, cut_clips, decode_clips, window
from longlive_env.training.discriminator import (
    FrameDiscriminator,
    balance,
    discriminator_loss,
    in_rendered_colours,
    realism_loss,
)
from longlive_env.training.fingerprints import codec_fingerprint, fingerprint
from longlive_env.training.growing import grown
from longlive_env.training.latents import draw_each, encode_each, joined
from longlive_env.training.losses import grain, psnr, reconstruction_losses, sharpness
from longlive_env.training.muon import Muon, kernels_and_vectors
from longlive_env.training.played import Played, open_played
from longlive_env.training.rendered_stage import SHARES, RenderedOptions, RenderedStage
from longlive_env.training.running_takes import RunningTakes
from longlive_env.training.sheets import full_precision, rollout_sheet
from longlive_env.training.stages import Batch, Optimisation, check_least, check_shares

PENALTY_EVERY, PENALTY = 8, 0.08  # every so many steps, with this weight in those
TURN = 4  # block at which a take rendered for a step changes; it has twice as many
_PLAYED = ("takes", "blocks", "overlap", "length", "switch_share", "trust")  # options that shape takes


@dataclass(frozen=True)
class DecoderOptions(RenderedOptions):
    """Options of rendered takes, and of what their pictures are judged by.

    Attributes:
        plays: number of times that the world plays `takes` takes of `length` blocks, before the first step.
        takes: number of takes played side by side.
        clips: number of clips in a step.
        drawn: number of rendered blocks that a process holds in memory, 2.2 MB each where there is detail.
        rendered_share: share of clips that are of no played take, but rendered and encoded for the step.
        close_share: share of steps that see close-ups of jumps and dances, without the discriminator; if it
            is positive, all other steps see other actions alone.
        close_blocks: number of rendered blocks that close-ups are of, kept in memory by all processes
            together, 1.2 MB each where there is detail.
        mse: weight of the squared error; the absolute error has weight 1.
        edge: weight of the error in how pixels differ from their neighbours, on the same scale. A larger one
            takes away grain: noise of a few levels hardly counts as an absolute error, but it does here.
        flicker: weight of the error in how pixels change from frame to frame, on the same scale.
        realism: weight of the discriminator beside all distances, by gradients at the last layer.
        judge_rate: learning rate of the discriminator as a share of the decoder's.
        more_blocks: number of blocks to add to the fine part of the start's decoder; they begin by changing
            nothing.
        detail_width: number of channels in a part that draws detail, for a start that has none; 0 adds none.
            It begins by enlarging.
        detail_blocks: number of blocks in the part that draws detail.
        smaller: weight of the frames without detail; those with it have weight 1.
    """

    plays: int = 12
    takes: int = 8
    clips: int = 8
    drawn: int = 1500
    rendered_share: float = 0.5
    close_share: float = 0.0
    close_blocks: int = 3000
    blocks: int = 2
    length: int = 25
    trust: float = 0.3
    mse: float = 10.0
    edge: float = 0.5
    flicker: float = 4.0
    realism: float = 0.4
    judge_rate: float = 1.7
    more_blocks: int = 0
    detail_width: int = 0
    detail_blocks: int = 3
    smaller: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, plays=1, takes=1, drawn=0, mse=0, edge=0, flicker=0, realism=0, judge_rate=0)
        check_least(self, more_blocks=0, detail_width=0, detail_blocks=1, smaller=0)
        check_shares(self, "rendered_share", "close_share")
        check_least(self, close_blocks=self.clips)


class Decoding(nn.Module):
    """The networks to train: the decoder of a codec, and the discriminator of its frames."""

    def __init__(self, codec: PatchVAE, judge: FrameDiscriminator) -> None:
        super().__init__()
        self.codec, self.judge = codec, judge


class DecoderStage(RenderedStage):
    """Trains a `Decoding`; see the module."""

    name = "decoder"
    # No clipping: it would weaken only the steps with the discriminator's penalty.
    optimisation = Optimisation(lr=3e-4, warmup_steps=100, ema=0.995, clip=1e6, weight_decay=0.0)
    options_type = DecoderOptions
    options: DecoderOptions

    def __init__(self, seed: int = 0, **options: Any) -> None:
        super().__init__(seed, **options)
        self.coded = self._grown()
        self.scale = self.coded.enlargement
        self.about = self._about()
        self.played = open_played(
            Path(self.options.bank) / "played", self.options.plays, self.about, self._play
        )
        self._cached_frames = lru_cache(self.options.drawn)(self._frames_of)
        self._cached_close_pair = lru_cache(self.options.close_blocks + self.options.drawn)(self._close_pair)
        lively = np.array([self.played.lively(index) for index in range(len(self.played))])
        self.fast, self.slow = np.flatnonzero(lively), np.flatnonzero(~lively)

    def check(self) -> None:
        """Require also that no adapters are asked for."""
        super().check()
        if self.options.lora_rank:
            raise ConfigError(
                f"lora_rank is {self.options.lora_rank}; adapters are a generator's, which the decoder stage "
                "does not train: leave it at 0"
            )

    def build(self) -> Decoding:
        """The start world's codec, grown, and a new discriminator."""
        with seeded(self.seed):
            judge = FrameDiscriminator(self.coded.temporal_factor)
        codec = copy.deepcopy(self.coded)
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

    def split(self, batch: Batch, parts: int) -> list[Batch]:
        """Split a batch into equal numbers of clips for every process.

        Raises:
            ConfigError: there are several threads; they would share a discriminator whose weights are
                replaced while it judges, see `realism_loss`.
        """
        if parts != parallel.processes():
            raise ConfigError("the decoder stage has one discriminator a process; train it with one thread")
        return super().split(batch, parts)

    def batch(self, step: int) -> Batch:
        """The blocks of clips, their first latent frame, and in some steps the discriminator's penalty.

        `clips` are indices of played blocks, or ``-1 - seed`` for the seeds of others.
        """
        rng = np.random.default_rng((self.seed, 10, step))
        options, count, block = self.options, self.options.clips, self.played.latents.shape[1] - 1
        close = bool(rng.random() < options.close_share)
        seeds = rng.integers(2**31, size=count)
        if close:  # each place in a batch, and so each process, has seeds of its own
            seeds = seeds % (options.close_blocks // count) * count + np.arange(count)
        kept = np.arange(len(self.played))
        if options.close_share:
            kept = self.fast if close else self.slow
        played = rng.choice(kept, count) if len(kept) else seeds
        anew = (rng.random(count) < options.rendered_share) | (not len(kept))
        return {
            "clips": torch.from_numpy(np.where(anew, -1 - seeds, played)),
            "first": torch.tensor(int(rng.integers(block - CLIP + 1))),
            "close": torch.tensor(close),
            "penalty": torch.tensor(step % PENALTY_EVERY == 0),
        }

    def losses(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Distances from rendered frames, the realism of clips, and the discriminator's loss."""
        assert isinstance(model, Decoding)
        options, clips, close = self.options, self.clips_of(batch), bool(batch["close"])
        weights = {"mse": options.mse, "edge": options.edge, "flicker": options.flicker}
        *smaller, decoded = decode_clips(model.codec, clips, close=close)
        terms = reconstruction_losses(decoded, clips.frames, **weights)
        for frames in smaller:
            shrunk = F.avg_pool2d(clips.frames.flatten(1, 2), self.scale).view(frames.shape)
            found = reconstruction_losses(frames, shrunk, **weights)
            terms["smaller"] = options.smaller * torch.stack(list(found.values())).sum()
        if close or not options.realism:
            return terms
        part = window(decoded, model.judge.frames, self.scale, generator)
        target = clips.frames[part]
        seen = in_rendered_colours(decoded[part], target)
        realism = realism_loss(model.judge, seen, target)
        decoder = model.codec.decoder
        last = decoder.conv_out if decoder.detail is None else decoder.detail.conv_out
        weight = balance(torch.stack(list(terms.values())).sum(), realism, last.weight)
        penalty = PENALTY if batch["penalty"] else 0.0
        judged = discriminator_loss(model.judge, seen, target, penalty)
        return {**terms, "realism": options.realism * weight * realism, "judge": judged}

    def clips_of(self, batch: Batch) -> DecoderClips:
        """The clips that a batch stands for, on the device of its tensors."""
        pair = self._cached_close_pair if batch["close"] else self._pair
        blocks = [pair(index) for index in batch["clips"].tolist()]
        return cut_clips(blocks, int(batch["first"]), self.coded.temporal_factor, batch["clips"].device)

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """PSNR in dB of decoded held-out blocks against the renderer's, and `sharpness` relative to it.

        Measured on first blocks, as made and as encoded, on encoded blocks of any age, which shows whether
        kept takes have been memorised, and on close-ups of encoded jumps and dances; of the last two also
        `grain`.
        """
        assert isinstance(model, Decoding)
        seeds, steps = list(range(self.options.held_out)), len(self.config.sampler.steps)
        with full_precision(model):
            made = self.open(self.world.transformer, seeds, steps, "held_out")
            rendered = draw_each(made.takes(), 0, made.latents.device, self.scale)
            fresh = CodecState.fresh(len(seeds))
            encoded = model.codec.encode(rendered, fresh).latents
            figures = dict[str, float]()
            for name, latents in {"made": made.latents, "encoded": encoded}.items():
                frames = model.codec.decode(latents, fresh).pixels.float()
                figures[f"{name}_psnr"] = psnr(frames, rendered)
                figures[f"{name}_sharpness"] = sharpness(frames) / sharpness(rendered)
            for name, lively in (("any", None), ("lively", True)):
                blocks = [self._both(self.unplayed(seed, "held_out", lively)) for seed in seeds]
                if lively:
                    blocks = [(close_up(latents), close_up(frames)) for latents, frames in blocks]
                clips = cut_clips(blocks, 0, self.coded.temporal_factor, rendered.device)
                decoded = decode_clips(model.codec, clips, close=bool(lively))[-1]
                figures[f"{name}_psnr"] = psnr(decoded, clips.frames)
                figures[f"{name}_grain"] = grain(decoded, clips.frames)
        return figures

    @torch.no_grad()
    def sheet(self, model: nn.Module) -> Tensor:
        """Rollouts of the world, decoded by the averaged decoder; see `rollout_sheet`."""
        assert isinstance(model, Decoding)
        config = self.config.with_codec(model.codec.config)
        world = self.world.replaced(config=config, codec=model.codec)
        with full_precision(model):
            return rollout_sheet(world, self.prompts, self.seed, self.options.clips, self.encode)

    def describe(self) -> dict[str, Any]:
        """The grown codec's configuration, that the encoder is frozen, and what was played."""
        played = {"plays": self.options.plays, **self.about}
        codec = to_dict(self.coded.config)
        return {**super().describe(), "codec": codec, "decoder_only": True, "played": played}

    def _grown(self) -> PatchVAE:
        """The start world's codec, with what is added to it."""
        own, options = World.load(self.options.start).codec, self.options
        assert isinstance(own, PatchVAE) and isinstance(own.config, PatchVAEConfig)  # as latents are rendered
        detail = own.config.detail
        if options.detail_width and detail:
            raise ConfigError(
                f"detail_width is {options.detail_width}, and the codec of {options.start!r} draws detail "
                "already; leave it at 0"
            )
        if options.detail_width:
            detail = options.detail_width, options.detail_blocks
        with seeded(self.seed):
            return grown(own, options.more_blocks, detail).requires_grad_(False)

    def _about(self) -> dict[str, Any]:
        """Everything that determines the played takes, as JSON values."""
        options = (*_PLAYED, "scenes", *SHARES)  # the scenes of the bank say what haze is
        return {
            "start": self.start_fingerprint,
            "transformer": fingerprint(self.world.transformer.state_dict()),
            "codec": codec_fingerprint(self.world.codec),
            "seed": self.seed,
            "steps": list(self.config.sampler.steps),
            **{name: getattr(self.options, name) for name in options},
        }

    @torch.no_grad()
    def _play(self, number: int) -> Played:
        """Play new takes to their end, and keep all of their blocks."""
        rng = np.random.default_rng((self.seed, 12, number))
        transformer, options = self.world.transformer, self.options
        batch = {
            "seeds": torch.from_numpy(rng.integers(2**31, size=options.takes)),
            "steps": torch.tensor(len(self.config.sampler.steps)),
        }
        takes, found = RunningTakes(self, options), list[Played]()
        stream, _ = takes.ready(transformer, batch)

        def compared(made: Tensor) -> Tensor:
            age, before = stream.age, stream.rollout.state.history[:, -1:].clone()
            block = self.compare(stream, made)
            before = before if age else block.kept[:, :1]  # a first frame follows itself
            found.append(Played.of(block.takes, age, before, block.kept))
            return block.kept

        while takes.goes_on(stream):
            takes.chunk(transformer, batch, compared)
        return joined(found)

    @torch.no_grad()
    def unplayed(self, seed: int, split: str = "train", lively: bool | None = None) -> Played:
        """A block of a take that was not played, drawn by the renderer and encoded by the codec.

        Args:
            seed: seed of the take.
            split: "train" or "held_out".
            lively: whether it shows a jump or a dance; None for any action.
        """
        rng, codec, wanted = np.random.default_rng(seed), self.world.codec, False
        while not wanted:
            before, after = self.prompts.scenes(rng, split)
            age = int(rng.integers(2 * TURN))
            shown = after if age >= TURN else before
            wanted = lively is None or (shown.action in LIVELY) == lively
        take = Take(((0, before), (block_start(TURN), after)), sample_camera(rng), (0.0, 0.0))
        drawn = encode_each([take], age, codec)
        previous = encode_each([take], age - 1, codec)[:, -1:] if age else drawn[:, :1]
        return Played.of([take], age, previous, drawn)

    def _pair(self, index: int, close: bool = False) -> tuple[Tensor, Tensor]:
        """Latents and rendered frames of a played block, or for ``-1 - seed`` of another.

        Args:
            index: a clip of a batch.
            close: whether it is for a close-up, which is cached itself.
        """
        if index >= 0:
            frames_of = self._frames_of if close else self._cached_frames
            return self.played.latents[index], frames_of(index)
        lively = close if self.options.close_share else None
        return self._both(self.unplayed(-1 - index, lively=lively))

    def _close_pair(self, index: int) -> tuple[Tensor, Tensor]:
        """The same of a block that shows a jump or a dance, close up; `_cached_close_pair` keeps them."""
        latents, frames = (close_up(one).clone() for one in self._pair(index, close=True))
        return latents, frames

    def _both(self, block: Played) -> tuple[Tensor, Tensor]:
        """Latents and rendered frames of a single block."""
        return block.latents[0], self._rendered(block, 0)

    def _frames_of(self, index: int) -> Tensor:
        """The rendered frames of a played block; `_cached_frames` keeps some."""
        return self._rendered(self.played, index)

    def _rendered(self, played: Played, index: int) -> Tensor:
        """The rendered frames of a block, drawn where the codec is."""
        return played.rendered(index, self.scale, next(self.world.codec.parameters()).device)
