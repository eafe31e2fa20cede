"""Views: other shapes of a block's frames, for agents that take pictures.

A view converts frames of one world or of a batch, with any leading axes, and knows the resulting shape.

Shapes: T frames per block, H rows, W columns, C channels, V values of all attributes, ... leading batch axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from longlive_env.envs.checks import is_number
from longlive_env.envs.rewards import ProbeReward
from longlive_env.envs.vocabulary import VOCABULARIES, vocabulary_of
from longlive_env.errors import ConfigError
from longlive_env.frames import Frames, resized
from longlive_env.tiny.scene import ATTRIBUTES

Probabilities = npt.NDArray[np.float32]


class View(Protocol):
    """Converts frames to another shape."""

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of one world's converted observation, given its original shape.

        Raises:
            ConfigError: the view does not fit that observation.
        """

    def __call__(self, frames: Frames) -> Frames | Probabilities:
        """Convert `frames`, uint8 with any leading axes."""


@dataclass(frozen=True)
class Last:
    """[..., T, H, W, C] -> [..., H, W, C]: the newest frame of the block."""

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """See `View`."""
        return _block(shape, self)[1:]

    def __call__(self, frames: Frames) -> Frames:
        """See `View`."""
        return frames[..., -1, :, :, :].copy()


@dataclass(frozen=True)
class OnChannels:
    """[..., T, H, W, C] -> [..., H, W, count * C]: evenly spaced frames, the newest last.

    Attributes:
        count: number of frames; None takes all.
    """

    count: int | None = None

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """See `View`."""
        length, height, width, channels = _block(shape, self)
        if self.count is not None and not is_number(self.count, 1, length, whole=True):
            raise ConfigError(f"frames is {self.count!r}; expected a whole number from 1 to {length}")
        return height, width, channels * (self.count or length)

    def __call__(self, frames: Frames) -> Frames:
        """See `View`."""
        length = frames.shape[-4]
        count = self.count or length
        chosen = frames[..., [(index + 1) * length // count - 1 for index in range(count)], :, :, :]
        stacked = np.moveaxis(chosen, -4, -2)  # [..., H, W, count, C]
        return stacked.reshape(*stacked.shape[:-2], -1)


@dataclass(frozen=True)
class ChannelsFirst:
    """[..., H, W, C] -> [..., C, H, W]."""

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """See `View`."""
        *before, height, width, channels = shape
        return *before, channels, height, width

    def __call__(self, frames: Frames) -> Frames:
        """See `View`."""
        return np.ascontiguousarray(np.moveaxis(frames, -1, -3))


@dataclass(frozen=True)
class Resized:
    """[..., H, W, C] -> [..., height, width, C], bilinear with antialiasing.

    Attributes:
        height: pixel rows.
        width: pixel columns.
    """

    height: int
    width: int

    def __post_init__(self) -> None:
        if not all(is_number(side, 1, whole=True) for side in (self.height, self.width)):
            raise ConfigError(
                f"the size is {self.height!r}x{self.width!r}; expected whole numbers of pixels, from 1 on"
            )

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """See `View`."""
        *before, _, _, channels = shape
        return *before, self.height, self.width, channels

    def __call__(self, frames: Frames) -> Frames:
        """See `View`."""
        return resized(frames, self.height, self.width)


@dataclass(frozen=True)
class Read:
    """[..., T, H, W, C] -> float32 [..., V]: the probe's probability of each value of each attribute.

    Attributes:
        vocabulary: name of the vocabulary of the world whose frames are read, see `WorldConfig.vocabulary`.
        size: rows and columns of its frames; None for any size that the probe can read.
    """

    vocabulary: str
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not vocabulary_of(self.vocabulary).attributes:
            raise ConfigError(
                f"the probe reads worlds of the vocabulary {' or '.join(map(repr, VOCABULARIES))}, not of "
                f"{self.vocabulary!r}; take frames, or features of a model of your own"
            )

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """See `View`."""
        from longlive_env.tiny.probe import readable_scale

        _, height, width, _ = _block(shape, self)
        remedy = "put ProbeFeatures directly around the env"
        readable_scale(height, width, remedy)
        if self.size not in (None, (height, width)):
            own = "x".join(map(str, self.size or ()))
            raise ConfigError(f"the probe got pictures of {height}x{width}; the world's are {own}; {remedy}")
        return (sum(map(len, ATTRIBUTES.values())),)

    def __call__(self, frames: Frames) -> Probabilities:
        """See `View`."""
        reading = ProbeReward().read(frames.reshape(-1, *frames.shape[-4:]))
        read = np.concatenate(list(reading.probabilities.values()), axis=1)
        return read.reshape(*frames.shape[:-4], -1)


def seen_as(view: View, space: spaces.Space[Frames]) -> spaces.Box:
    """Return the space of a view on observations of `space`.

    Raises:
        ConfigError: the observations are not frames, or the view does not fit them.
    """
    if not isinstance(space, spaces.Box):
        raise ConfigError(
            f"the observations are {space}; frame adapters need uint8 frames, so put them inside "
            "GoalInObservation"
        )
    if space.dtype != np.uint8 or len(space.shape) < 3:
        raise ConfigError(
            f"the observations are {space.dtype} {list(space.shape)}; frame adapters need uint8 "
            "[..., H, W, C], so put them inside the wrapper that changes this (or give GrayscaleObservation "
            "keep_dim=True)"
        )
    shape = view.shape(space.shape)
    return (
        spaces.Box(0, 1, shape, np.float32) if isinstance(view, Read) else spaces.Box(0, 255, shape, np.uint8)
    )


def check_channels_last(layer: object) -> None:
    """Check that no wrapper has put channels first yet.

    Raises:
        ConfigError: one has.
    """
    if isinstance(getattr(layer, "view", None), ChannelsFirst):
        raise ConfigError("channels come first already; put ChannelFirst around the other frame adapters")


def _block(shape: tuple[int, ...], view: View) -> tuple[int, ...]:
    if len(shape) != 4:
        raise ConfigError(
            f"{type(view).__name__} got observations {list(shape)}; it needs whole blocks [T, H, W, 3], "
            "so put it directly around the env"
        )
    return shape
