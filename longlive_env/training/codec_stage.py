"""The codec of a small world, trained to reconstruct rendered takes.

Shapes: B clips, T pixel frames, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from longlive_env.engine.codec import CodecState
from longlive_env.engine.codec.patch_vae import PatchVAE, without_detail
from longlive_env.engine.config import PatchVAEConfig, to_dict
from longlive_env.engine.config_values import from_dict
from longlive_env.engine.seeds import seeded
from longlive_env.engine.world import World
from longlive_env.engine.world_files import read_config
from longlive_env.errors import CheckpointError, ConfigError
from longlive_env.tiny.probe import to_pixels
from longlive_env.tiny.scene import block_start
from longlive_env.training.checkpoint import copy_state, load_tensors, read_info
from longlive_env.training.losses import psnr, reconstruction_losses, unit_scale_loss
from longlive_env.training.muon import Muon, kernels_and_vectors
from longlive_env.training.score import noise_like
from longlive_env.training.sheets import as_frames, tiled
from longlive_env.training.stages import CODED, Batch, Optimisation, Stage, check_least, check_shares
from longlive_env.training.takes import MOST_SWITCHES, Source, TakePool, tiny_take


@dataclass(frozen=True)
class CodecOptions:
    """Data and loss of the codec stage.

    Attributes:
        clips: number of clips in a step.
        clip_frames: number of pixel frames in a clip; one more than a multiple of four.
        lively_share: share of takes whose subject jumps or dances, or in which it snows: the hardest to code.
        pool: number of takes held in memory.
        take_frames: number of pixel frames in a take.
        turnover: number of new takes for each step, 0 to 1.
        mse: weight of the squared error; the absolute error has weight 1.
        flicker: weight of the error in how pixels change from frame to frame, on the same scale; what rests
            shall look so.
        noise: largest sigma of the noise added to latents (of unit scale); it varies from clip to clip.
        scale_weight: weight of the pull towards unit scale.
        start: weights of a codec to go on from, or a world that has one; none by default.
        decoder_only: whether to leave the encoder, and so the meaning of latents, as it is.
        held_out: number of takes to evaluate on.
        measured: number of takes that the latents' mean and std are measured on.
    """

    clips: int = 2
    clip_frames: int = 13
    lively_share: float = 0.0
    pool: int = 200
    take_frames: int = 61
    turnover: float = 0.05
    mse: float = 4.0
    flicker: float = 0.0
    noise: float = 0.15
    scale_weight: float = 0.01
    start: str = ""
    decoder_only: bool = False
    held_out: int = 16
    measured: int = 48

    def __post_init__(self) -> None:
        check_least(self, clips=1, clip_frames=5, pool=1, held_out=1, measured=1, noise=0)
        check_shares(self, "lively_share", "turnover")
        if self.clip_frames % 4 != 1:
            raise ConfigError(
                f"clip_frames is {self.clip_frames}; expected one more than a multiple of 4, "
                f"such as {self.clip_frames // 4 * 4 + 1}"
            )
        if self.take_frames < self.clip_frames:
            raise ConfigError(
                f"take_frames is {self.take_frames}, less than clip_frames, {self.clip_frames}; raise it"
            )
        if self.decoder_only and not self.start:
            raise ConfigError("decoder_only leaves the encoder as it is; give start= a codec or a world")


NOISY_SIGMA = 0.1  # noise on the latents in the second metric


def stored_config(source: str | Path) -> PatchVAEConfig:
    """The configuration of a trained patch VAE.

    Args:
        source: `weights.safetensors` of the codec or the decoder stage, or the name or folder of a world.

    Raises:
        CheckpointError: the file is unreadable, or of another stage.
        ConfigError: there is no such file or world, or the world's codec is of another kind.
        WeightsError: the folder holds no world.
    """
    file = Path(source)
    if not file.is_file():
        codec = read_config(source).codec
        if not isinstance(codec, PatchVAEConfig):
            raise ConfigError(f"the codec of {str(source)!r} is a {codec.kind}; expected a patch_vae")
        return codec
    info = read_info(file)
    if (stage := info.get("stage")) not in CODED:
        raise CheckpointError(
            f"{file} comes from the {stage} stage and is not a codec; give weights.safetensors of the codec "
            "or the decoder stage, or a world"
        )
    return from_dict(PatchVAEConfig, info["describe"]["codec"])


def load_codec(codec: PatchVAE, source: str) -> None:
    """Fill `codec` from what the codec or the decoder stage wrote, or from the codec of a world.

    Weights for detail are left out if `codec` draws none.

    Args:
        codec: codec that takes the weights.
        source: a file of weights, or the name or folder of a world.

    Raises:
        CheckpointError: the weights do not fit.
    """
    file = Path(source)
    if file.is_file():
        beside = read_info(file).get("stage") == "decoder"  # it saves a discriminator beside the codec
        weights = load_tensors(file, "codec." if beside else "")[0]
    else:
        weights = World.load(source).codec.state_dict()
    assert isinstance(codec.config, PatchVAEConfig)
    copy_state(codec, weights if codec.config.detail else without_detail(weights), source)


def frozen_codec(source: str) -> PatchVAE:
    """The trained codec of a world without detail, for stages that learn on latents of rendered takes.

    For `source` see `load_codec`.
    """
    codec = PatchVAE(stored_config(source).light).eval().requires_grad_(False)
    load_codec(codec, source)
    return codec


class CodecStage(Stage):
    """Trains a `PatchVAE`: clips are encoded, disturbed a little, decoded, and compared with their source."""

    name = "codec"
    options_type = CodecOptions
    options: CodecOptions
    counted = "clips"
    optimisation = Optimisation(lr=2e-3, warmup_steps=200, ema=0.998)

    def __init__(
        self, seed: int = 0, source: Source = tiny_take, config: PatchVAEConfig | None = None, **options: Any
    ) -> None:
        self.seed, self.options = seed, from_dict(self.options_type, options, self.name)
        data, start = self.options, self.options.start
        found = config or stored_config(start or "tiny")
        self.config = found.light
        if data.lively_share and source is not tiny_take:
            raise ConfigError("lively_share chooses among the takes of the tiny world; leave it at 0")
        least = block_start(MOST_SWITCHES + 1)
        if source is tiny_take and data.take_frames < least:
            raise ConfigError(
                f"take_frames is {data.take_frames}; takes that change {MOST_SWITCHES} times need {least}"
            )
        drawn = partial(tiny_take, lively_share=data.lively_share) if data.lively_share else source
        self.pool = TakePool(drawn, seed, data.pool, data.take_frames, data.turnover)
        self.source = source
        self.held_out = self._takes(2, data.held_out, "held_out")
        self.measured = self._takes(3, data.measured, "train")

    def build(self) -> PatchVAE:
        """A codec with weights from the seed, or those of `start`."""
        with seeded(self.seed):
            codec = PatchVAE(self.config)
        if self.options.start:
            load_codec(codec, self.options.start)
        codec.encoder.requires_grad_(not self.options.decoder_only)
        return codec

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Muon for kernels, AdamW for vectors."""
        plan, trained = self.optimisation, [p for p in model.parameters() if p.requires_grad]
        return Muon(kernels_and_vectors(trained, plan.weight_decay), lr=plan.lr, betas=plan.betas)

    def batch(self, step: int) -> Batch:
        """Clips of the pool's takes: `clips`, uint8 [B, T, 3, H, W]."""
        rng = np.random.default_rng((self.seed, 1, step))
        clips = [self._clip(self.pool.draw(step, rng), rng) for _ in range(self.options.clips)]
        return {"clips": torch.stack(clips).permute(0, 1, 4, 2, 3)}

    def losses(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Reconstruction from noisy latents, and a pull of the latents towards unit scale."""
        assert isinstance(model, PatchVAE)
        pixels = batch["clips"].float() / 127.5 - 1
        worlds = pixels.shape[0]
        latents = model.encode(pixels, CodecState.fresh(worlds)).latents
        noise = noise_like(latents, generator)
        sigma = self.options.noise * torch.rand(worlds, 1, 1, 1, 1, generator=generator).to(latents)
        output = model.decode(latents + sigma * noise, CodecState.fresh(worlds)).pixels
        scale = self.options.scale_weight * unit_scale_loss(latents)
        terms = reconstruction_losses(output, pixels, mse=self.options.mse, flicker=self.options.flicker)
        return {**terms, "scale": scale}

    @torch.no_grad()
    def settle(self, model: nn.Module) -> None:
        """Measure the latents' mean and std on a fixed set of takes; from then on they are standardised."""
        assert isinstance(model, PatchVAE)
        if self.options.decoder_only:
            return
        model.latent_mean.zero_()
        model.latent_std.fill_(1)
        latents = model.encode(
            self.measured.to(model.latent_mean), CodecState.fresh(len(self.measured))
        ).latents
        std, mean = torch.std_mean(latents.double(), dim=(0, 1, 3, 4), correction=0)
        model.latent_mean.copy_(mean)
        model.latent_std.copy_(std)

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """PSNR of held-out takes in dB: mean and worst, and the mean with noise on the latents."""
        clean, noisy = (self._reconstruct(model, sigma) for sigma in (0.0, NOISY_SIGMA))
        each = [psnr(output, target) for output, target in zip(clean, self.held_out, strict=True)]
        disturbed = [psnr(output, target) for output, target in zip(noisy, self.held_out, strict=True)]
        return {
            "psnr": sum(each) / len(each),
            "psnr_worst": min(each),
            "psnr_noisy": sum(disturbed) / len(disturbed),
        }

    @torch.no_grad()
    def sheet(self, model: nn.Module) -> Tensor:
        """Held-out takes above their reconstructions; time runs to the right."""
        shown, times = 5, torch.linspace(0, self.options.clip_frames - 1, 4).round().long()
        output = self._reconstruct(model, 0.0)[:shown]
        rows = torch.stack([self.held_out[:shown], output], dim=1).flatten(0, 1)
        return tiled(as_frames(rows[:, times]))

    def describe(self) -> dict[str, Any]:
        """The codec's configuration, and whether its encoder is frozen."""
        return {"codec": to_dict(self.config), "decoder_only": self.options.decoder_only}

    def _takes(self, part: int, count: int, split: str) -> Tensor:
        """The ends of some takes, [count, T, 3, H, W]."""
        data = self.options
        rngs = [np.random.default_rng((self.seed, part, number)) for number in range(count)]
        return to_pixels(
            torch.stack([self.source(rng, data.take_frames, split)[-data.clip_frames :] for rng in rngs])
        )

    def _reconstruct(self, model: nn.Module, sigma: float) -> Tensor:
        """Held-out takes through the codec, with noise on the latents: float32 [B, T, 3, H, W] on the CPU."""
        assert isinstance(model, PatchVAE)
        pixels = self.held_out.to(model.latent_mean)
        latents = model.encode(pixels, CodecState.fresh(len(pixels))).latents
        noise = noise_like(latents, torch.Generator().manual_seed(self.seed))
        return model.decode(latents + sigma * noise, CodecState.fresh(len(pixels))).pixels.float().cpu()

    def _clip(self, take: Tensor, rng: np.random.Generator) -> Tensor:
        start = int(rng.integers(take.shape[0] - self.options.clip_frames + 1))
        return take[start : start + self.options.clip_frames]
