"""Frozen dataclasses that configure a world, and the presets. Derived numbers are properties."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, get_args

from longlive_env.engine.config_values import from_dict as from_dict
from longlive_env.engine.config_values import to_dict as to_dict
from longlive_env.errors import ConfigError


def _positive(config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value <= 0:
            raise ConfigError(f"{type(config).__name__}.{name} is {value}; it must be positive")


def check_choice(name: str, value: object, known: Any) -> None:
    """Check that an optional value is None or among those of a `Literal`.

    Raises:
        ConfigError: it is neither.
    """
    options = get_args(known)
    if value is not None and value not in options:
        raise ConfigError(f"{name} is {value!r}; expected {', '.join(map(repr, options))} or None")


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of the causal diffusion transformer (layout of Wan 2.1)."""

    dim: int
    ffn_dim: int
    heads: int
    layers: int
    in_channels: int = 16
    out_channels: int = 16
    patch_size: tuple[int, int, int] = (1, 2, 2)  # time, height, width
    text_dim: int = 4096
    text_len: int = 512
    freq_dim: int = 256
    eps: float = 1e-6

    def __post_init__(self) -> None:
        _positive(self, "dim", "ffn_dim", "heads", "layers", "in_channels", "out_channels")
        _positive(self, "text_dim", "text_len", "freq_dim")
        if self.dim % self.heads or self.head_dim % 2:
            raise ConfigError(
                f"dim {self.dim} with {self.heads} heads does not split into heads of even width; "
                f"make dim a multiple of {2 * self.heads}"
            )
        if self.freq_dim % 2:
            raise ConfigError(f"freq_dim is {self.freq_dim}; it must be even")
        if len(self.patch_size) != 3 or self.patch_size[0] != 1 or min(self.patch_size) <= 0:
            raise ConfigError(
                f"patch_size is {self.patch_size}; expected 1, as a patch holds one frame, rows and columns"
            )

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.dim // self.heads


@dataclass(frozen=True)
class TextEncoderConfig:
    """Sizes of the umT5 encoder."""

    vocab_size: int
    dim: int
    ffn_dim: int
    heads: int
    head_dim: int
    layers: int
    position_buckets: int = 32
    position_max_distance: int = 128
    eps: float = 1e-6


@dataclass(frozen=True)
class WanVAEConfig:
    """Sizes of the causal 3D VAE of Wan 2.1."""

    kind: ClassVar[str] = "wan_vae"
    dim: int = 96
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    residual_blocks: int = 2
    latent_channels: int = 16
    spatial_factor: ClassVar[int] = 8
    temporal_factor: ClassVar[int] = 4


@dataclass(frozen=True)
class LightVAEConfig:
    """Widths of the light codec (TAEHV layout)."""

    kind: ClassVar[str] = "light_vae"
    decoder_widths: tuple[int, ...] = (256, 128, 64, 64)
    encoder_width: int = 64
    latent_channels: int = 16
    spatial_factor: ClassVar[int] = 8
    temporal_factor: ClassVar[int] = 4


@dataclass(frozen=True)
class PatchVAEConfig:
    """Widths and depths of the patch codec of small worlds; pairs are (half grid, patch grid).

    Attributes:
        place: rows and columns of the latents for which the decoder has a learned map of positions; it then
            decodes only this size. Empty for any size.
        detail: width and number of blocks of a last part of the decoder, which draws at twice the size that
            the encoder reads; empty for none. Frames are averaged down to the encoder's size.
    """

    kind: ClassVar[str] = "patch_vae"
    encoder_widths: tuple[int, ...] = (144, 64)
    encoder_blocks: tuple[int, ...] = (2, 2)
    decoder_widths: tuple[int, ...] = (160, 96)
    decoder_blocks: tuple[int, ...] = (4, 3)
    latent_channels: int = 16
    place: tuple[int, ...] = ()
    detail: tuple[int, ...] = ()
    patch: ClassVar[int] = 4  # pixels on a side
    temporal_factor: ClassVar[int] = 4

    def __post_init__(self) -> None:
        for name in ("encoder_widths", "encoder_blocks", "decoder_widths", "decoder_blocks"):
            value = getattr(self, name)
            if len(value) != 2 or min(value) <= 0:
                raise ConfigError(
                    f"PatchVAEConfig.{name} is {value}; expected two positive numbers (coarse, fine)"
                )
        if len(self.place) not in (0, 2) or min(self.place, default=1) <= 0:
            raise ConfigError(
                f"PatchVAEConfig.place is {self.place}; expected rows and columns of latents, or nothing"
            )
        if len(self.detail) not in (0, 2) or min(self.detail, default=1) <= 0:
            raise ConfigError(
                f"PatchVAEConfig.detail is {self.detail}; expected a width and a number of blocks, or nothing"
            )

    @property
    def light(self) -> PatchVAEConfig:
        """The same codec without detail: from the same latents it draws smaller frames, faster."""
        return replace(self, detail=())

    @property
    def enlargement(self) -> int:
        """Pixels drawn per pixel that the encoder reads, along each side."""
        return 2 if self.detail else 1

    @property
    def spatial_factor(self) -> int:
        """Pixels drawn per latent position, along each side."""
        return 2 * self.patch * self.enlargement


CodecKind = Literal["wan", "light"]  # published codecs; "light" also leaves out a codec's detail
PUBLISHED_CODECS: dict[CodecKind, type[WanVAEConfig | LightVAEConfig]] = {
    "wan": WanVAEConfig,
    "light": LightVAEConfig,
}
CodecConfig = WanVAEConfig | LightVAEConfig | PatchVAEConfig
RecacheMode = Literal["full", "none", "clear"]  # what a new prompt does to the memory of earlier frames
RECACHE_MODES: tuple[RecacheMode, ...] = get_args(RecacheMode)
KvPrecision = Literal["fp8"]  # type of cached keys and values, if not that of the weights
Positions = Literal["absolute", "relative"]  # in time: from the start of the video, or of the cache
EightBits = Literal["fp8", "int8", "int8-weight-only"]
Precision = Literal["bf16", EightBits]  # of the transformer's linear layers, if not as stored
Backend = Literal["auto", "sdpa", "matmul", "cudnn", "flash", "sdpa-flash", "sdpa-efficient"]  # of attention
CompileMode = Literal["off", "default", "graphs", "max"]


@dataclass(frozen=True)
class SamplerConfig:
    """The few-step denoising schedule: unwarped steps, and the flow-matching shift that warps them."""

    steps: tuple[int, ...] = (1000, 750, 500, 250)
    shift: float = 5.0
    train_steps: int = 1000

    def __post_init__(self) -> None:
        _positive(self, "shift", "train_steps")
        falling = all(a > b for a, b in zip(self.steps, self.steps[1:], strict=False))
        if not self.steps or not falling or self.steps[0] > self.train_steps or self.steps[-1] <= 0:
            raise ConfigError(
                f"steps are {self.steps}; they must fall, from at most {self.train_steps} to above 0"
            )

    def spread(self, count: int) -> SamplerConfig:
        """The schedule of `count` steps, evenly spaced from `train_steps` down: 2 of 1000 are 1000 and 500.

        Raises:
            ConfigError: `count` is not an integer from 1 to `train_steps`.
        """
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= self.train_steps:
            raise ConfigError(
                f"steps is {count!r}; expected a number of denoising steps from 1 to {self.train_steps}"
            )
        steps = tuple(round(self.train_steps * (count - i) / count) for i in range(count))
        return replace(self, steps=steps)


@dataclass(frozen=True)
class WorldConfig:
    """Everything that defines a world except its weights."""

    name: str
    height: int  # pixels
    width: int  # pixels
    transformer: TransformerConfig
    text_encoder: TextEncoderConfig
    codec: CodecConfig
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    fps: int = 16
    frames_per_block: int = 3  # latent frames
    context_frames: int = 12  # latent frames that attention sees, current block and sink included
    sink_frames: int = 3  # pinned first latent frames
    keep_sink: bool = True  # whether a recache leaves the sink's K/V as they are
    rope: Positions = "absolute"
    vocabulary: str = ""  # name in `envs.vocabulary` of the scenes it was trained on; empty: any words
    viewpoints: tuple[int, ...] = ()  # places, and latent columns between them; see `viewpoint`

    def __post_init__(self) -> None:
        _positive(self, "height", "width", "fps", "frames_per_block", "context_frames")
        _, patch_h, patch_w = self.transformer.patch_size
        for side, patch in (("height", patch_h), ("width", patch_w)):
            value, unit = getattr(self, side), self.codec.spatial_factor * patch
            if value % unit:
                near = max(unit, round(value / unit) * unit)
                raise ConfigError(f"{side} {value} is not a multiple of {unit}; try {near}")
        if self.sink_frames < 0 or self.context_frames < self.sink_frames + self.frames_per_block:
            least = self.sink_frames + self.frames_per_block
            raise ConfigError(
                f"context_frames {self.context_frames} cannot hold {self.sink_frames} sink frames and a "
                f"block of {self.frames_per_block}; raise it to {least} or more"
            )
        if self.rope not in ("absolute", "relative"):
            raise ConfigError(f"rope is {self.rope!r}; it must be 'absolute' or 'relative'")
        if self.transformer.in_channels != self.codec.latent_channels:
            raise ConfigError(
                f"the transformer takes {self.transformer.in_channels} channels and the codec makes "
                f"{self.codec.latent_channels}; make them equal"
            )
        pair, channels = len(self.viewpoints) == 2 and min(self.viewpoints) > 0, self.transformer.in_channels
        if self.viewpoints and not (pair and math.prod(self.viewpoints) > channels):
            raise ConfigError(
                f"viewpoints is {self.viewpoints}; expected a number of places and of latent columns from "
                f"one to the next, whose product exceeds the {channels} latent channels, or nothing"
            )
        if self.transformer.text_dim != self.text_encoder.dim:
            raise ConfigError(
                f"the transformer's text_dim is {self.transformer.text_dim} and the text encoder's dim is "
                f"{self.text_encoder.dim}; make them equal"
            )

    @classmethod
    def of(cls, values: Any) -> WorldConfig:
        """The configuration from plain values; those of a preset may be older than `vocabulary`.

        Args:
            values: what `to_dict` returned.

        Raises:
            ConfigError: a name is unknown or missing, or a value is of the wrong type or impossible.
        """
        preset = PRESETS.get(str(values.get("name"))) if isinstance(values, dict) else None
        return from_dict(cls, values if preset is None else {"vocabulary": preset.vocabulary, **values})

    @property
    def latent_height(self) -> int:
        """Rows of a latent frame."""
        return self.height // self.codec.spatial_factor

    @property
    def latent_width(self) -> int:
        """Columns of a latent frame."""
        return self.width // self.codec.spatial_factor

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the token grid of a latent frame."""
        return (
            self.latent_height // self.transformer.patch_size[1],
            self.latent_width // self.transformer.patch_size[2],
        )

    @property
    def frame_tokens(self) -> int:
        """Tokens of a latent frame."""
        return self.grid[0] * self.grid[1]

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of a latent frame."""
        return (self.transformer.in_channels, self.latent_height, self.latent_width)

    @property
    def block_shape(self) -> tuple[int, int, int, int]:
        """Latent frames of a block, and their channels, rows and columns."""
        return (self.frames_per_block, *self.latent_shape)

    @property
    def context_blocks(self) -> int:
        """Number of blocks after which the context is full."""
        return -(-self.context_frames // self.frames_per_block)

    @property
    def block_pixel_frames(self) -> int:
        """Pixel frames of a block (the first block of a world decodes to fewer)."""
        return self.frames_per_block * self.codec.temporal_factor

    @property
    def missing_frames(self) -> int:
        """Pixel frames by which a video's first block is shorter."""
        return self.codec.temporal_factor - 1

    @property
    def block_seconds(self) -> float:
        """Duration of a block in seconds."""
        return self.block_pixel_frames / self.fps

    @property
    def draws_detail(self) -> bool:
        """Whether the codec has a part for detail, which "light" leaves out for smaller frames."""
        return isinstance(self.codec, PatchVAEConfig) and bool(self.codec.detail)

    def with_codec(self, codec: CodecConfig) -> WorldConfig:
        """The same world with another codec of the same latents, and the frame size that this codec draws."""
        unit = codec.spatial_factor
        return replace(self, codec=codec, height=self.latent_height * unit, width=self.latent_width * unit)

    def with_steps(self, count: int | None) -> WorldConfig:
        """The same world with `count` denoising steps per block; None changes nothing.

        Raises:
            ConfigError: `count` is not a possible number of steps.
        """
        return self if count is None else replace(self, sampler=self.sampler.spread(count))

    def with_rope(self, rope: Positions | None) -> WorldConfig:
        """The same world with other positions in time; None changes nothing.

        Raises:
            ConfigError: `rope` is neither "absolute" nor "relative".
        """
        return self if rope is None else replace(self, rope=rope)


PRESETS: dict[str, WorldConfig] = {
    "1.3b": WorldConfig(
        name="1.3b",
        height=480,
        width=832,
        transformer=TransformerConfig(dim=1536, ffn_dim=8960, heads=12, layers=30),
        text_encoder=TextEncoderConfig(
            vocab_size=256384, dim=4096, ffn_dim=10240, heads=64, head_dim=64, layers=24
        ),
        codec=WanVAEConfig(),
    ),
    "tiny": WorldConfig(
        name="tiny",
        height=192,
        width=320,
        transformer=TransformerConfig(
            dim=256, ffn_dim=1024, heads=8, layers=8, patch_size=(1, 3, 2), text_dim=256, text_len=48
        ),
        text_encoder=TextEncoderConfig(vocab_size=256, dim=256, ffn_dim=512, heads=4, head_dim=64, layers=2),
        codec=PatchVAEConfig(decoder_blocks=(6, 8), place=(12, 20), detail=(48, 3)),
        sampler=SamplerConfig(steps=(1000, 500), shift=3.0),
        keep_sink=False,
        rope="relative",
        vocabulary="tiny",
        viewpoints=(5, 8),
    ),
}
SHIPPED = frozenset({"tiny"})  # presets whose weights come with the package; the others are downloaded
