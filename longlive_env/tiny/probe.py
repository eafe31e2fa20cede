"""The probe: a small classifier that says what a block of frames shows; rewards and evaluation use it."""

# N blocks; T = 12 pixel frames of a block; H, W pixels; h, w = H / 2, W / 2; K views of a block; C channels.
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from longlive_env.errors import ConfigError, WeightsError
from longlive_env.tiny.render import render_take
from longlive_env.tiny.scene import (
    ATTRIBUTES,
    BLOCK_FRAMES,
    HEIGHT,
    WIDTH,
    Scene,
    block_start,
    picture_scale,
    sample_take,
)

PROBE_PATH = Path(__file__).parents[1] / "assets" / "tiny" / "probe.safetensors"
VIEWS = (1, 5, 9)  # frames of a block from which appearance is read
LOOK_WIDTHS = (24, 48, 96)  # channels of the appearance trunk at 1/4, 1/8 and 1/16 of the frame's size
MOTION_WIDTHS = (32, 48, 64)  # the same for the motion trunk
WHOLE_BLOCK = "repeat the first frame of a shorter block in front of it"  # what to do about one
BLOCKS_AT_ONCE = 8  # that `probabilities` reads, so that memory does not grow with their number


def readable_scale(height: int, width: int, remedy: str = "give frames as the world draws them") -> int:
    """`picture_scale` of a picture, if the probe can read it.

    Small worlds of other proportions, such as those of tests, are read as they are, from 8 pixels a side. A
    resized scene is not, since it keeps its proportions.

    Args:
        height: rows of the picture.
        width: columns of the picture.
        remedy: what to do about another size, for the message.

    Raises:
        ConfigError: the picture has neither a scene's size nor a whole multiple of it.
    """
    scale = picture_scale(height)
    small = 8 <= height < HEIGHT and 8 <= width < WIDTH and height * WIDTH != width * HEIGHT
    if (height, width) != (scale * HEIGHT, scale * WIDTH) and not small:
        raise ConfigError(
            f"the probe got pictures of {height}x{width}; it reads {HEIGHT}x{WIDTH} or a whole multiple, the "
            f"same along both sides; {remedy}"
        )
    return scale


class ResidualBlock(nn.Module):
    """Two normalised 3x3 convolutions with a skip connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, width), nn.GroupNorm(8, width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, C, h, w] -> the same shape."""
        inner: Tensor = self.conv1(F.silu(self.norm1(x)))
        out: Tensor = x + self.conv2(F.silu(self.norm2(inner)))
        return out


def _trunk(channels: int, widths: tuple[int, int, int]) -> nn.Sequential:
    fine, middle, coarse = widths
    return nn.Sequential(
        nn.Conv2d(channels, fine, 5, stride=2, padding=2),
        nn.SiLU(),
        nn.Conv2d(fine, middle, 3, stride=2, padding=1),
        ResidualBlock(middle),
        ResidualBlock(middle),
        nn.Conv2d(middle, coarse, 3, stride=2, padding=1),
        ResidualBlock(coarse),
    )


class Head(nn.Module):
    """Reads one attribute where it is visible: attention over places and views, then a linear layer."""

    def __init__(self, width: int, values: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.where = nn.Conv2d(width, 1, 1)
        self.what = nn.Linear(width, values)

    def pool(self, features: Tensor) -> Tensor:
        """Features [N, K, C, h, w] -> their attention-weighted mean [N, C]."""
        blocks = features.shape[0]
        x = F.silu(self.norm(features.flatten(0, 1)))
        weight = self.where(x).reshape(blocks, -1).softmax(dim=1)  # [N, K*h*w]
        places = x.unflatten(0, (blocks, -1)).transpose(1, 2).flatten(2)  # [N, C, K*h*w]
        return torch.einsum("ncp,np->nc", places, weight)


class Probe(nn.Module):
    """Predicts subject, colour, setting, weather and action of a block of 12 frames.

    Appearance is read from single frames; action is read from how the grey values of all frames differ from
    their mean.
    """

    def __init__(self) -> None:
        super().__init__()
        self.look = _trunk(3, LOOK_WIDTHS)
        self.motion = _trunk(BLOCK_FRAMES, MOTION_WIDTHS)
        width = {name: (MOTION_WIDTHS if name == "action" else LOOK_WIDTHS)[-1] for name in ATTRIBUTES}
        self.heads = nn.ModuleDict(
            {name: Head(width[name], len(values)) for name, values in ATTRIBUTES.items()}
        )

    def pooled(self, pixels: Tensor) -> dict[str, Tensor]:
        """What each head looks at.

        Args:
            pixels: [N, 12, 3, H, W] in [-1, 1], of a scene's size or a multiple of it; gradients flow back to
                them.

        Returns:
            A vector [N, C] for each attribute.

        Raises:
            ConfigError: the blocks have another shape or size.
        """
        if pixels.ndim != 5 or pixels.shape[1:3] != (BLOCK_FRAMES, 3):
            raise ConfigError(
                f"got pixels {list(pixels.shape)}; expected [N, {BLOCK_FRAMES}, 3, H, W]; {WHOLE_BLOCK}"
            )
        size = 2 * readable_scale(pixels.shape[-2], pixels.shape[-1])
        return self.pooled_half(F.avg_pool2d(pixels.flatten(0, 1), size).unflatten(0, pixels.shape[:2]))

    def pooled_half(self, half: Tensor) -> dict[str, Tensor]:
        """`pooled` for frames already averaged to half their size [N, 12, 3, h, w]."""
        views = half[:, VIEWS]
        look = self.look(views.flatten(0, 1)).unflatten(0, views.shape[:2])
        grey = half.mean(dim=2)  # [N, T, h, w]
        motion = self.motion(4 * (grey - grey.mean(dim=1, keepdim=True)))[:, None]
        return {name: self._head(name).pool(motion if name == "action" else look) for name in ATTRIBUTES}

    def _head(self, name: str) -> Head:
        head = self.heads[name]
        assert isinstance(head, Head)
        return head

    def classify(self, pooled: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Logits [N, values] of each attribute, from what `pooled` returned."""
        return {name: self._head(name).what(vector) for name, vector in pooled.items()}

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Blocks [N, 12, 3, H, W] in [-1, 1] -> logits [N, values] of each attribute."""
        return self.classify(self.pooled(pixels))

    @torch.no_grad()
    def probabilities(self, frames: Tensor) -> dict[str, Tensor]:
        """The probability of each value of each attribute.

        Args:
            frames: uint8 [N, 12, H, W, 3], as rollouts and envs return them.

        Returns:
            For each attribute [N, values], in the order of `ATTRIBUTES`; rows sum to 1.

        Raises:
            ConfigError: the blocks have another shape or size.
        """
        if frames.ndim != 5 or frames.shape[1] != BLOCK_FRAMES or frames.shape[-1] != 3:
            raise ConfigError(
                f"got frames {list(frames.shape)}; expected [N, {BLOCK_FRAMES}, H, W, 3]; {WHOLE_BLOCK}"
            )
        with torch.autocast(self.device.type, enabled=False):  # the caller's
            parts = [self(to_pixels(part).to(self.device)) for part in frames.split(BLOCKS_AT_ONCE)]
        return {name: torch.cat([part[name] for part in parts]).softmax(dim=1) for name in ATTRIBUTES}

    def predict(self, frames: Tensor) -> dict[str, list[str]]:
        """The likeliest value of each attribute in uint8 blocks [N, 12, H, W, 3]: N names for each."""
        return {
            name: [ATTRIBUTES[name][index] for index in rows.argmax(dim=1).tolist()]
            for name, rows in self.probabilities(frames).items()
        }

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.look[0].weight.device  # type: ignore[return-value]

    @classmethod
    def load(cls, path: Path = PROBE_PATH, device: torch.device | str = "cpu") -> Probe:
        """The shipped probe, or another one of the same sizes, in float32 and eval mode.

        Raises:
            WeightsError: the file is missing, damaged, or of other sizes.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        with torch.random.fork_rng(devices=[]), torch.device("cpu"):  # the caller's generators draw nothing
            probe = cls().float()  # whatever torch's default type is
        try:
            tensors = load_file(path)
            probe.load_state_dict({name: value.float() for name, value in tensors.items()})
        except (OSError, SafetensorError, RuntimeError) as error:
            raise WeightsError(
                f"cannot load the probe from {path}: {error}; reinstall or train it again"
            ) from error
        return probe.to(device).eval().requires_grad_(False)


def to_pixels(frames: Tensor) -> Tensor:
    """uint8 [N, T, H, W, 3] -> float [N, T, 3, H, W] in [-1, 1]."""
    return frames.movedim(-1, -3).float() / 127.5 - 1


def rendered_block(rng: np.random.Generator, split: str) -> tuple[Tensor, Scene]:
    """A block of a random scene, one block after the prompt changed to it, so that subjects face either way.

    Args:
        rng: chooses scene and moment; half of the blocks begin anywhere in the cycle of movements.
        split: `"train"` or `"held_out"`, which decides the combinations.

    Returns:
        Frames uint8 [T, H, W, 3], and what they show.
    """
    take = sample_take(rng, frames=block_start(2), switches=1, split=split)
    _, scene = take.segments[-1]
    start = block_start(2) + (int(rng.integers(BLOCK_FRAMES)) if rng.random() < 0.5 else 0)
    return render_take(take, start, BLOCK_FRAMES), scene
