"""The patch codec of small worlds: four frames become one latent frame, eight times smaller on each side.

Convolutions never run at full resolution: pixels are first folded into 4x4 patches of four frames (192
channels). The encoder sees one group of four frames at a time. The decoder sees a latent frame and the one
before it, so that motion continues between groups; this previous latent frame is the only decoding state. The
first pixel frame of a video is a group by itself (repeated four times for the encoder), as in Wan's codec.

A decoder with `Detail` draws frames of twice that size: the smaller frames enlarged, plus what these lack.
Without that part, it decodes the same latents to the smaller frames (a Laplacian pyramid: Burt and Adelson,
1983, "The Laplacian Pyramid as a Compact Image Code").

Shapes: B worlds, F latent frames, T pixel frames, C latent channels, h x w latent size, H x W pixel size,
N = B * F.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from longlive_env.engine.codec import Codec, CodecMemory, Compiler, put_channels_last
from longlive_env.engine.config import PatchVAEConfig
from longlive_env.errors import ConfigError

_PREVIOUS = "previous"  # the one memory of the decoder: the last latent frame
_DETAIL = "decoder.detail."  # prefix of the weights that draw detail


def without_detail(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a codec by name, except those that draw detail."""
    return {name: value for name, value in weights.items() if not name.startswith(_DETAIL)}


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each position, so that a crop is normalised as the full frame is."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [N, C, h, w]."""
        x = x.permute(0, 2, 3, 1)
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return F.layer_norm(x, self.normalized_shape, weight, bias, self.eps).permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """Norm, two 3x3 convolutions, and the input added back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, width, h, w] to the same shape."""
        out: Tensor = x + self.conv2(F.silu(self.conv1(F.silu(self.norm(x)))))
        return out


def _stack(width: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))


class Encoder(nn.Module):
    """Four pixel frames to one latent frame; a parallel linear path makes training start fast."""

    def __init__(self, config: PatchVAEConfig) -> None:
        super().__init__()
        coarse, fine = config.encoder_widths
        self.patch = config.patch
        self.conv_in = nn.Conv2d(3 * config.temporal_factor * config.patch**2, fine, 3, padding=1)
        self.fine = _stack(fine, config.encoder_blocks[1])
        self.down = nn.Conv2d(fine, coarse, 4, stride=2, padding=1)
        self.coarse = _stack(coarse, config.encoder_blocks[0])
        self.norm = ChannelNorm(coarse)
        self.conv_out = nn.Conv2d(coarse, config.latent_channels, 1)
        self.linear = nn.Conv2d(self.conv_in.in_channels, config.latent_channels, 2, stride=2)

    def forward(self, groups: Tensor) -> Tensor:
        """Groups of frames [N, 4 * 3, H, W] -> raw latents [N, C, h, w]."""
        patches = F.pixel_unshuffle(groups, self.patch).contiguous(memory_format=torch.channels_last)
        x = self.coarse(self.down(self.fine(self.conv_in(patches))))
        out: Tensor = self.conv_out(self.norm(x)) + self.linear(patches)
        return out


class Detail(nn.Module):
    """Adds what frames of twice the size show beyond the smaller ones enlarged."""

    def __init__(self, config: PatchVAEConfig) -> None:
        super().__init__()
        width, blocks = config.detail
        self.patch = config.patch
        self.up = nn.Conv2d(config.decoder_widths[1], 4 * width, 1)
        self.fine = _stack(width, blocks)
        self.norm = ChannelNorm(width)
        self.conv_out = nn.Conv2d(width, 3 * config.temporal_factor * config.patch**2, 1)

    def forward(self, features: Tensor, smaller: Tensor) -> Tensor:
        """Add detail.

        Args:
            features: normalised features of the decoder's fine part ``[N, width, H / 4, W / 4]``.
            smaller: groups of smaller frames ``[N, 4 * 3, H, W]``.

        Returns:
            Groups of frames ``[N, 4 * 3, 2H, 2W]``.
        """
        x = F.pixel_shuffle(self.up(features), 2).contiguous(memory_format=torch.channels_last)
        patches = self.conv_out(F.silu(self.norm(self.fine(x))))
        enlarged = F.interpolate(smaller, scale_factor=2, mode="bilinear", align_corners=False)
        return enlarged + F.pixel_shuffle(patches, self.patch)


class Decoder(nn.Module):
    """A latent frame and the one before it to four pixel frames, with a linear path as in the encoder.

    With `config.place`, a learned map is added to the coarse features: in a small world, ground, sky and
    subject have fixed places, and latents need not carry what the decoder knows about them.
    """

    def __init__(self, config: PatchVAEConfig) -> None:
        super().__init__()
        coarse, fine = config.decoder_widths
        self.patch = config.patch
        self.place = nn.Parameter(torch.zeros(coarse, *config.place)) if config.place else None
        self.conv_in = nn.Conv2d(2 * config.latent_channels, coarse, 3, padding=1)
        self.coarse = _stack(coarse, config.decoder_blocks[0])
        self.up = nn.Conv2d(coarse, 4 * fine, 1)
        self.fine = _stack(fine, config.decoder_blocks[1])
        self.norm = ChannelNorm(fine)
        self.conv_out = nn.Conv2d(fine, 3 * config.temporal_factor * config.patch**2, 3, padding=1)
        self.linear = nn.Conv2d(2 * config.latent_channels, 4 * self.conv_out.out_channels, 1)
        self.detail = Detail(config) if config.detail else None

    def forward(self, latents: Tensor, previous: Tensor) -> Tensor:
        """Raw latents and their predecessors, both [N, C, h, w] -> groups of frames [N, 4 * 3, H, W]."""
        return self.both(latents, previous)[-1]

    def both(self, latents: Tensor, previous: Tensor) -> tuple[Tensor, ...]:
        """Like `forward`, but at each size that is drawn, the largest last."""
        features, frames = self.smaller(latents, previous)
        return (frames,) if self.detail is None else (frames, self.detail(features, frames))

    def smaller(self, latents: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
        """Features [N, width, H / 4, W / 4], and frames without detail [N, 4 * 3, H, W] made from them."""
        pair = torch.cat([latents, previous], dim=1).contiguous(memory_format=torch.channels_last)
        x = self.conv_in(pair)
        if self.place is not None:
            if x.shape[-2:] != self.place.shape[-2:]:
                size, own = list(x.shape[-2:]), list(self.place.shape[-2:])
                raise ConfigError(f"latents have size {size}; this codec decodes {own} only")
            x = x + self.place
        x = F.pixel_shuffle(self.up(self.coarse(x)), 2)
        x = self.fine(x.contiguous(memory_format=torch.channels_last))
        x = F.silu(self.norm(x))
        return x, F.pixel_shuffle(self.conv_out(x) + F.pixel_shuffle(self.linear(pair), 2), self.patch)


class PatchVAE(Codec):
    """The codec of small worlds; its latents are standardised by the stored mean and std of each channel."""

    memory_frames = 1
    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, config: PatchVAEConfig) -> None:
        super().__init__(config)
        self.enlargement = config.enlargement
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.register_buffer("latent_mean", torch.zeros(config.latent_channels))
        self.register_buffer("latent_std", torch.ones(config.latent_channels))
        put_channels_last(self)

    def light(self) -> PatchVAE:
        """A copy without detail: from the same latents it draws smaller frames, faster."""
        assert isinstance(self.config, PatchVAEConfig)
        first = next(self.parameters())
        # Weights are drawn, and replaced at once.
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            light = PatchVAE(self.config.light).to(first).train(self.training)
        light.load_state_dict(without_detail(self.state_dict()))
        return light.requires_grad_(first.requires_grad)

    def _compile_decoding(self, compiler: Compiler) -> None:
        """Compile in two parts: one graph would recompute the smaller frames for each pixel they become."""
        decoder, detail = self.decoder, self.decoder.detail
        if detail is None:
            super()._compile_decoding(compiler)
            return
        object.__setattr__(decoder, "smaller", compiler(decoder.smaller))
        object.__setattr__(detail, "forward", compiler(detail.forward))

    def _decode(self, latents: Tensor, memory: CodecMemory, fresh: bool) -> tuple[Tensor, CodecMemory]:
        before = latents[:, 0] if fresh else memory[_PREVIOUS].to(latents)  # a first frame follows itself
        previous = torch.cat([before[:, None], latents[:, :-1]], dim=1)
        groups = self.decoder(self.raw(latents).flatten(0, 1), self.raw(previous).flatten(0, 1))
        pixels = groups.reshape(latents.shape[0], -1, 3, *groups.shape[-2:])  # frames of a group, then groups
        lead = self.temporal_factor - 1 if fresh else 0
        return pixels[:, lead:].to(latents.dtype), {_PREVIOUS: latents[:, -1].clone()}

    def _encode(self, pixels: Tensor, memory: CodecMemory, fresh: bool) -> tuple[Tensor, CodecMemory]:
        if fresh:
            repeats = pixels[:, :1].expand(-1, self.temporal_factor - 1, -1, -1, -1)
            pixels = torch.cat([repeats, pixels], dim=1)
        worlds, frames, _, height, width = pixels.shape
        groups = pixels.reshape(-1, self.temporal_factor * 3, height, width)
        if self.enlargement > 1:
            groups = F.avg_pool2d(groups, self.enlargement)
        raw = self.encoder(groups)
        raw = raw.reshape(worlds, frames // self.temporal_factor, *raw.shape[1:]).to(pixels.dtype)
        mean, std = self._standard(raw)
        return (raw - mean) / std, {}

    def raw(self, latents: Tensor) -> Tensor:
        """Undo the standardisation of latents [B, F, C, h, w]."""
        mean, std = self._standard(latents)
        return latents * std + mean

    def _standard(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        shape = (1, 1, -1, 1, 1)
        return self.latent_mean.to(latents).view(shape), self.latent_std.to(latents).view(shape)
