"""The light codec: 2D convolutions with a memory of one frame, in the layout of TAEHV's `taew2_1.pth`.

It works directly on the standardised latents of the Wan VAE, at a fraction of its cost. A latent frame
decodes to four frames; the first three of a world have no content and are dropped. Parameter names are those
of the published checkpoint.

Legend: B worlds, F latent frames, T frames at the rate of a layer, C latent channels, D channels of a layer,
h x w latent size, H x W pixel size. Activations are [B, T, D, h, w].
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from longlive_env.engine.codec import Codec, CodecMemory, layout_of
from longlive_env.engine.config import LightVAEConfig

# Time is halved by the first two stages of the encoder and doubled by the last two of the decoder.
_ENCODER_TIME = (2, 2, 1)
_DECODER_TIME = (1, 2, 2)


class SoftClamp(nn.Module):
    """Bend outliers among the latents to within -3 .. 3."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return torch.tanh(x / 3) * 3


class MemoryBlock(nn.Module):
    """A residual block that sees each frame together with the one before it."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(2 * dim, dim, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(dim, dim, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(dim, dim, 3, padding=1),
        )

    def forward(self, x: Tensor, past: Tensor) -> Tensor:
        """Frames and, for each, the one before, both [N, D, h, w] -> [N, D, h, w]."""
        return torch.relu(self.conv(torch.cat([x, past], dim=1)) + x)


class TimePool(nn.Module):
    """Merge every `stride` frames into one."""

    def __init__(self, dim: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(dim * stride, dim, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N * stride, D, h, w] -> [N, D, h, w]."""
        merged = x.reshape(-1, self.stride * x.shape[1], *x.shape[2:])
        out: Tensor = self.conv(merged.contiguous(memory_format=layout_of(x)))
        return out


class TimeGrow(nn.Module):
    """Make `stride` frames out of each one, and enlarge them.

    The reference enlarges first: the same numbers for four times the work, and with frames of four times the
    size to rearrange.
    """

    def __init__(self, dim: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, dim * stride, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, D, h, w] -> [N * stride, D, 2h, 2w]."""
        grown = self.conv(x)
        frames = grown.reshape(-1, *x.shape[1:]).contiguous(memory_format=layout_of(grown))
        return F.interpolate(frames, scale_factor=2.0, mode="nearest")


class Stack(nn.Sequential):
    """Layers in a row; memory blocks also get the previous frame, from the memory across calls."""

    def stream(self, x: Tensor, memory: CodecMemory) -> tuple[Tensor, CodecMemory]:
        """Apply to the next frames [B, T, D, h, w]; memory is keyed by layer number, absent means zeros."""
        kept: CodecMemory = {}
        batch, frames = x.shape[0], x.flatten(0, 1)
        for number, layer in self.named_children():
            if not isinstance(layer, MemoryBlock):
                frames = layer(frames)
                continue
            clip = frames.reshape(batch, -1, *frames.shape[1:])
            past = memory[number].to(clip) if number in memory else torch.zeros_like(clip[:, :1])
            kept[number] = clip[:, -1].clone(memory_format=layout_of(frames))[:, None]
            frames = layer(frames, _before(clip, past, layout_of(frames)))
        return frames.reshape(batch, -1, *frames.shape[1:]), kept


def _before(clip: Tensor, past: Tensor, layout: torch.memory_format) -> Tensor:
    """The frame before each frame of a clip [B, T, D, h, w], as [N, D, h, w]; `past` precedes the first."""
    return torch.cat([past, clip[:, :-1]], dim=1).flatten(0, 1).contiguous(memory_format=layout)


def _encoder(config: LightVAEConfig) -> Stack:
    dim = config.encoder_width
    layers: list[nn.Module] = [nn.Conv2d(3, dim, 3, padding=1), nn.ReLU()]
    for stride in _ENCODER_TIME:
        layers += [TimePool(dim, stride), nn.Conv2d(dim, dim, 3, padding=1, stride=2, bias=False)]
        layers += [MemoryBlock(dim) for _ in range(3)]
    return Stack(*layers, nn.Conv2d(dim, config.latent_channels, 3, padding=1))


def _decoder(config: LightVAEConfig) -> Stack:
    widths = config.decoder_widths
    layers: list[nn.Module] = [
        SoftClamp(),
        nn.Conv2d(config.latent_channels, widths[0], 3, padding=1),
        nn.ReLU(),
    ]
    for (dim, dim_next), stride in zip(pairwise(widths), _DECODER_TIME, strict=True):
        layers += [MemoryBlock(dim) for _ in range(3)]
        layers += [nn.Identity(), TimeGrow(dim, stride)]  # enlarging counts as a layer in the checkpoint
        layers += [nn.Conv2d(dim, dim_next, 3, padding=1, bias=False)]
    return Stack(*layers, nn.ReLU(), nn.Conv2d(widths[-1], 3, 3, padding=1))


class LightVAE(Codec):
    """A small stand-in for the Wan VAE: the same latents, softer details.

    Encoding groups frames as the Wan VAE does, and as decoding returns them: the first alone, then four at a
    time. The reference encodes whole groups from the first frame on, and pads the last one.
    """

    def __init__(self, config: LightVAEConfig) -> None:
        super().__init__(config)
        self.encoder = _encoder(config)
        self.decoder = _decoder(config)

    def _arranged(self, memory: CodecMemory) -> CodecMemory:
        layout = layout_of(self.get_parameter("decoder.1.weight"))
        return {name: value[:, 0].contiguous(memory_format=layout)[:, None] for name, value in memory.items()}

    def _decode(self, latents: Tensor, memory: CodecMemory, fresh: bool) -> tuple[Tensor, CodecMemory]:
        pixels, memory = self.decoder.stream(latents, memory)
        return pixels[:, self.temporal_factor - 1 if fresh else 0 :] * 2 - 1, memory

    def _encode(self, pixels: Tensor, memory: CodecMemory, fresh: bool) -> tuple[Tensor, CodecMemory]:
        if fresh:  # the first frame is a group by itself: repeat it to a group's size
            lead = pixels[:, :1].expand(-1, self.temporal_factor - 1, -1, -1, -1)
            pixels = torch.cat([lead, pixels], dim=1)
        return self.encoder.stream(pixels / 2 + 0.5, memory)
