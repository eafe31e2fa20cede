"""The causal 3D VAE of Wan 2.1: 8x in space, 4x in time, one latent frame at a time.

Every convolution over time remembers the last frames of its input in the state that the caller carries; a
fresh world remembers zeros, which is the causal padding. Parameter names are those of the published file.

Legend: B worlds, F latent frames, T frames at the rate of a layer, C latent channels, D channels of a layer,
h x w latent size, H x W pixel size. Activations are [B, D, T, h, w].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from longlive_env.engine.codec import Codec, CodecMemory, Compiler, layout_of
from longlive_env.engine.config import WanVAEConfig
from longlive_env.errors import ConfigError

# The latents' statistics per channel, as published with the Wan 2.1 VAE.
LATENT_MEAN = (
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
    0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
)  # fmt: skip
LATENT_STD = (
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
    3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
)  # fmt: skip


class Tape:
    """One pass over the memories: layers read what they remember and record what to keep."""

    def __init__(self, before: CodecMemory, fresh: bool) -> None:
        self.before = before
        self.after: CodecMemory = {}
        self.fresh = fresh  # whether this pass is over the first frame of each world

    def extend(self, name: str, x: Tensor, frames: int) -> Tensor:
        """Put the remembered frames before x, and remember the last `frames` frames of the result."""
        past, layout = self.before.get(name), layout_of(x)
        if past is None:
            past = x.new_zeros(*x.shape[:2], frames, *x.shape[3:]).contiguous(memory_format=layout)
        joined = torch.cat([past.to(x), x], dim=2)
        self.after[name] = joined[:, :, -frames:].clone(memory_format=layout)
        return joined


class Streaming(nn.Module, ABC):
    """A layer over time that reads and writes the tape."""

    @abstractmethod
    def stream(self, x: Tensor, tape: Tape) -> Tensor:
        """Apply the layer to the next frames [B, D, T, h, w] of each world."""


class Stack(nn.ModuleDict, Streaming):
    """Layers in a row, named or numbered as in the published checkpoint."""

    def stream(self, x: Tensor, tape: Tape) -> Tensor:
        """Apply the layers in order: [B, D, T, h, w] -> [B, D', T', h', w']."""
        for layer in self.values():
            x = layer.stream(x, tape) if isinstance(layer, Streaming) else layer(x)
        return x


def _numbered(layers: list[nn.Module]) -> Stack:
    return Stack({str(number): layer for number, layer in enumerate(layers)})


class CausalConv3d(nn.Conv3d, Streaming):
    """A 3D convolution that sees the present and the past; `memory_name` is its place in the codec state."""

    memory_name: str = ""

    def __init__(self, dim_in: int, dim_out: int, kernel: tuple[int, int, int], time_stride: int = 1) -> None:
        padding = (0, kernel[1] // 2, kernel[2] // 2)
        super().__init__(dim_in, dim_out, kernel, stride=(time_stride, 1, 1), padding=padding)
        # A strided convolution needs only what its next output overlaps.
        self.past_frames = kernel[0] - time_stride

    def stream(self, x: Tensor, tape: Tape) -> Tensor:
        """Apply to the next frames: [B, D, T, h, w] -> [B, D', T / stride, h, w]."""
        if self.past_frames:
            x = tape.extend(self.memory_name, x, self.past_frames)
        out: Tensor = self(x)
        return out


class ChannelNorm(nn.Module):
    """Scale the channels of each position to unit mean square, then by `gamma`."""

    def __init__(self, dim: int, dims_after: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim, *(1,) * dims_after))

    def forward(self, x: Tensor) -> Tensor:
        """[N, D, ...] -> the same shape."""
        scale: Tensor = x.shape[1] ** 0.5 * self.gamma
        return F.normalize(x, dim=1) * scale


def _each_frame(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a layer of [N, D, h, w] to every frame of x [B, D, T, h, w]."""
    frames = layer(x.transpose(1, 2).flatten(0, 1))
    return frames.reshape(x.shape[0], x.shape[2], *frames.shape[1:]).transpose(1, 2)


class ResidualBlock(Streaming):
    """Norm, SiLU and causal convolution, twice, and the input added back."""

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__()
        self.residual = Stack(
            {
                "0": ChannelNorm(dim_in, 3),
                "1": nn.SiLU(),
                "2": CausalConv3d(dim_in, dim_out, (3, 3, 3)),
                "3": ChannelNorm(dim_out, 3),
                "4": nn.SiLU(),
                "6": CausalConv3d(dim_out, dim_out, (3, 3, 3)),
            }
        )
        self.shortcut = CausalConv3d(dim_in, dim_out, (1, 1, 1)) if dim_in != dim_out else None

    def stream(self, x: Tensor, tape: Tape) -> Tensor:
        """The next frames: [B, D, T, h, w] -> [B, D', T, h, w]."""
        kept = x if self.shortcut is None else self.shortcut.stream(x, tape)
        return self.residual.stream(x, tape) + kept


class AttentionBlock(Streaming):
    """Single-head self-attention over the positions of each frame."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(dim, 2)
        self.to_qkv = nn.Conv2d(dim, 3 * dim, 1)
        self.proj = nn.Conv2d(dim, dim, 1)

    def stream(self, x: Tensor, tape: Tape) -> Tensor:
        """The next frames: [B, D, T, h, w] -> the same shape."""
        return x + _each_frame(self._attend, x)

    def _attend(self, frames: Tensor) -> Tensor:
        positions = self.to_qkv(self.norm(frames)).flatten(2).transpose(1, 2)[:, None]  # [N, 1, h * w, 3 D]
        q, k, v = positions.chunk(3, dim=-1)
        mixed: Tensor = F.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2).reshape(frames.shape)
        projected: Tensor = self.proj(mixed)
        return projected


class Downsample(Streaming):
    """Halve the height and width and, with `time`, the frame rate; a world's first frame stays one frame."""

    def __init__(self, dim: int, time: bool) -> None:
        super().__init__()
        self.resample = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(dim, dim, 3, stride=2))
        self.time_conv = CausalConv3d(dim, dim, (3, 1, 1), time_stride=2) if time else None

    def stream(self, x: Tensor, tape: Tape) -> Tensor:
        """The next frames: [B, D, T, h, w] -> [B, D, T or T / 2, h / 2, w / 2]."""
        x = _each_frame(self.resample, x)
        if self.time_conv is None:
            return x
        if tape.fresh:
            tape.extend(self.time_conv.memory_name, x, self.time_conv.past_frames)
            return x
        return self.time_conv.stream(x, tape)


class Upsample(Streaming):
    """Double the height and width and, with `time`, the frame rate; a world's first frame stays one frame."""

    def __init__(self, dim: int, time: bool) -> None:
        super().__init__()
        double = nn.Upsample(scale_factor=2.0, mode="nearest-exact")
        self.resample = nn.Sequential(double, nn.Conv2d(dim, dim // 2, 3, padding=1))
        self.time_conv = CausalConv3d(dim, 2 * dim, (3, 1, 1)) if time else None

    def stream(self, x: Tensor, tape: Tape) -> Tensor:
        """The next frames: [B, D, T, h, w] -> [B, D / 2, T or 2 T, 2 h, 2 w]."""
        if self.time_conv is not None and not tape.fresh:  # the first frame leaves no memory: zeros
            pairs = self.time_conv.stream(x, tape)
            early, late = pairs.chunk(2, dim=1)  # of each pair of frames
            x = torch.stack([early, late], dim=3).flatten(2, 3).contiguous(memory_format=layout_of(pairs))
        return _each_frame(self.resample, x)


def _middle(dim: int) -> Stack:
    return _numbered([ResidualBlock(dim, dim), AttentionBlock(dim), ResidualBlock(dim, dim)])


def _head(dim: int, dim_out: int) -> Stack:
    return _numbered([ChannelNorm(dim, 3), nn.SiLU(), CausalConv3d(dim, dim_out, (3, 3, 3))])


def _encoder(config: WanVAEConfig) -> Stack:
    """Pixel frames [B, 3, T, H, W] of one latent frame to its moments [B, 2 C, 1, h, w]."""
    widths = [config.dim * multiplier for multiplier in config.multipliers]
    layers: list[nn.Module] = []
    dim = widths[0]
    for stage, width in enumerate(widths):
        for _ in range(config.residual_blocks):
            layers.append(ResidualBlock(dim, width))
            dim = width
        if stage < len(widths) - 1:  # time is halved in the later ones: 8x in space, 4x in time
            layers.append(Downsample(width, time=stage > 0))
    return Stack(
        {
            "conv1": CausalConv3d(3, widths[0], (3, 3, 3)),
            "downsamples": _numbered(layers),
            "middle": _middle(dim),
            "head": _head(dim, 2 * config.latent_channels),
        }
    )


def _decoder(config: WanVAEConfig) -> Stack:
    """One latent frame [B, C, 1, h, w] to pixel frames [B, 3, T, H, W]."""
    widths = [config.dim * multiplier for multiplier in reversed(config.multipliers)]
    layers: list[nn.Module] = []
    dim = widths[0]
    for stage, width in enumerate(widths):
        for _ in range(config.residual_blocks + 1):
            layers.append(ResidualBlock(dim, width))
            dim = width
        if stage < len(widths) - 1:  # each upsampling halves the channels; the last one leaves time alone
            layers.append(Upsample(width, time=stage < len(widths) - 2))
            dim = width // 2
    return Stack(
        {
            "conv1": CausalConv3d(config.latent_channels, widths[0], (3, 3, 3)),
            "middle": _middle(widths[0]),
            "upsamples": _numbered(layers),
            "head": _head(dim, 3),
        }
    )


class WanVAE(Codec):
    """The published VAE of Wan 2.1; latents are standardised with its fixed mean and std per channel."""

    latent_mean: Tensor  # [C]
    latent_std: Tensor  # [C]

    def __init__(self, config: WanVAEConfig) -> None:
        super().__init__(config)
        if config.latent_channels != len(LATENT_MEAN):
            raise ConfigError(
                f"latent_channels is {config.latent_channels}; the Wan VAE has {len(LATENT_MEAN)}"
            )
        if 2 ** (len(config.multipliers) - 1) != config.spatial_factor:
            raise ConfigError(f"multipliers are {config.multipliers}; the Wan VAE has four stages")
        self.encoder = _encoder(config)
        self.conv1 = CausalConv3d(2 * config.latent_channels, 2 * config.latent_channels, (1, 1, 1))
        self.conv2 = CausalConv3d(config.latent_channels, config.latent_channels, (1, 1, 1))
        self.decoder = _decoder(config)
        # Constants, not weights: made on the CPU even while the weights are built on the meta device.
        self.register_buffer("latent_mean", torch.tensor(LATENT_MEAN, device="cpu"), persistent=False)
        self.register_buffer("latent_std", torch.tensor(LATENT_STD, device="cpu"), persistent=False)
        for name, module in self.named_modules():
            if isinstance(module, CausalConv3d):
                module.memory_name = name

    @property
    def _layout(self) -> torch.memory_format:
        """Memory format of the decoder's kernels."""
        first = self.decoder["conv1"]
        assert isinstance(first, CausalConv3d)
        return layout_of(first.weight)

    def _arranged(self, memory: CodecMemory) -> CodecMemory:
        return {name: value.contiguous(memory_format=self._layout) for name, value in memory.items()}

    def _compile_decoding(self, compiler: Compiler) -> None:
        """Compile decoding frame by frame: one graph would interleave frames, and hold temporaries of all."""
        object.__setattr__(self, "_decode_frame", compiler(self._decode_frame))

    def _decode(self, latents: Tensor, memory: CodecMemory, fresh: bool) -> tuple[Tensor, CodecMemory]:
        mean, std = self._statistics(latents)
        clips = []
        for frame in (latents * std + mean).unbind(1):
            alike = frame.clone(memory_format=torch.contiguous_format)  # compiled code checks strides
            clip, memory = self._decode_frame(alike, memory, fresh)
            clips.append(clip)
            fresh = False
        return torch.cat(clips, dim=2).transpose(1, 2), memory

    def _decode_frame(self, frame: Tensor, memory: CodecMemory, fresh: bool) -> tuple[Tensor, CodecMemory]:
        """Pixels [B, 3, T, H, W] of one latent frame [B, C, h, w], and the new memory."""
        tape, x = Tape(memory, fresh), self.conv2(frame[:, :, None])
        x = x.contiguous(memory_format=self._layout)  # a 1x1x1 kernel has both formats, its output either
        return self.decoder.stream(x, tape), tape.after

    def _encode(self, pixels: Tensor, memory: CodecMemory, fresh: bool) -> tuple[Tensor, CodecMemory]:
        clip = pixels.transpose(1, 2)  # [B, 3, T, H, W]
        first = 1 if fresh else self.temporal_factor
        rest = (clip.shape[2] - first) // self.temporal_factor
        means = []
        for group in torch.split(clip, [first] + [self.temporal_factor] * rest, dim=2):
            tape = Tape(memory, fresh)
            moments = self.conv1(self.encoder.stream(group, tape))
            means.append(moments[:, : self.latent_channels])
            memory, fresh = tape.after, False
        mean, std = self._statistics(pixels)
        return (torch.cat(means, dim=2).transpose(1, 2) - mean) / std, memory

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and std of the latents [C, 1, 1]."""
        return self.latent_mean.to(like).view(-1, 1, 1), self.latent_std.to(like).view(-1, 1, 1)
