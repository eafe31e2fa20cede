"""What becomes of a world in a long take of one prompt: whether it still obeys, drifts, and moves.

Shapes: R rollouts, B of them together, T pixel frames of a block, H x W pixels, S blocks, A attributes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from longlive_env.errors import ConfigError
from longlive_env.evaluate import EvalConfig, Share, episodes, whole_block
from longlive_env.tiny.probe import Probe
from longlive_env.tiny.render import render_take
from longlive_env.tiny.scene import ATTRIBUTES, BLOCK_FRAMES, Scene, Take, block_start

if TYPE_CHECKING:
    from longlive_env.engine.rollout import World

ENDS_S = 10.0  # seconds at either end of the take that are compared
CAMERAS = (0.0, 80.0, 160.0, 240.0)  # where rendered scenes are looked at
OnBlock = Callable[[int, Tensor], None]


@dataclass(frozen=True)
class Picture:
    """Statistics of frames, means over all of them; colours are in [0, 1].

    Attributes:
        saturation: difference between the largest and the smallest colour of a pixel.
        contrast: standard deviation of the brightness within a frame.
        sharpness: mean absolute difference of the brightness of neighbouring pixels.
        motion: mean absolute difference of neighbouring frames.
    """

    saturation: float
    contrast: float
    sharpness: float
    motion: float

    @classmethod
    def of(cls, frames: Tensor) -> Picture:
        """Statistics of blocks uint8 [B, T, H, W, 3]."""
        colours = frames.float() / 255
        light = colours.mean(dim=-1)
        edges = light.diff(dim=-1).abs().mean() + light.diff(dim=-2).abs().mean()
        return cls(
            saturation=float((colours.amax(dim=-1) - colours.amin(dim=-1)).mean()),
            contrast=float(light.flatten(2).std(dim=2).mean()),
            sharpness=float(edges / 2),
            motion=float(colours.diff(dim=1).abs().mean()),
        )

    @classmethod
    def mean(cls, pictures: list[Picture]) -> Picture:
        """The mean of each statistic."""
        rows = np.mean([list(asdict(picture).values()) for picture in pictures], axis=0)
        return cls(*map(float, rows))


@dataclass(frozen=True)
class LongTake:
    """How long takes go.

    Attributes:
        seconds: their length.
        first: share of rollouts that show each attribute in the first ten seconds.
        last: the same for the last ten seconds.
        start: statistics of the first ten seconds' frames.
        end: of the last ten seconds' frames.
        rendered: of the scenes as they would be rendered.
        over_time: statistics of each stretch of ten seconds.
    """

    seconds: float
    first: dict[str, Share]
    last: dict[str, Share]
    start: Picture
    end: Picture
    rendered: Picture
    over_time: tuple[Picture, ...]

    @property
    def fall(self) -> dict[str, float]:
        """By how many points the share of each attribute falls from the first ten seconds to the last."""
        return {name: 100 * (self.first[name].share - self.last[name].share) for name in ATTRIBUTES}

    @property
    def motion_ratio(self) -> float:
        """Motion of the last ten seconds over that of rendered scenes."""
        return self.end.motion / max(self.rendered.motion, 1e-9)

    @property
    def drift(self) -> float:
        """Largest relative change of saturation, contrast and sharpness from the first ten seconds."""
        names = ("saturation", "contrast", "sharpness")
        start, end = asdict(self.start), asdict(self.end)
        return max(abs(float(end[name]) / max(float(start[name]), 1e-9) - 1) for name in names)

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "seconds": self.seconds,
            "first": {name: round(value.share, 4) for name, value in self.first.items()},
            "last": {name: round(value.share, 4) for name, value in self.last.items()},
            "rollouts": next(iter(self.first.values())).count,
            "fall_points": {name: round(value, 2) for name, value in self.fall.items()},
            "start": asdict(self.start),
            "end": asdict(self.end),
            "rendered": asdict(self.rendered),
            "drift": round(self.drift, 4),
            "motion_ratio": round(self.motion_ratio, 4),
            "over_time": [asdict(picture) for picture in self.over_time],
        }


def long_take(
    world: World,
    seconds: float = 240.0,
    *,
    rollouts: int = 64,
    batch: int = 16,
    seed: int = 0,
    probe: Probe | None = None,
    on_block: OnBlock | None = None,
) -> LongTake:
    """Roll out takes of one held-out prompt each, and compare their end with their beginning.

    Args:
        world: a world of the tiny world's scenes.
        seconds: length of a take, at least twice the ten seconds that are compared.
        rollouts: how many.
        batch: rollouts that run together.
        seed: of scenes, wordings and noise.
        probe: reads the frames; None loads the shipped one.
        on_block: is given the index of a block and the batch's frames uint8 [B, T, H, W, 3].

    Raises:
        ConfigError: the takes are too short.
    """
    check_length(seconds)
    probe = probe or Probe.load(device=world.device)
    block_s = world.config.block_seconds
    blocks, stretch = round(seconds / block_s), max(1, round(ENDS_S / block_s))
    planned = list(episodes(EvalConfig(rollouts, batch=batch, seed=seed)))
    shown = np.zeros((rollouts, blocks, len(ATTRIBUTES)), dtype=np.bool_)
    pictures: list[list[Picture]] = [[] for _ in range(blocks)]
    for at in range(0, rollouts, batch):
        group = planned[at : at + batch]
        rollout = world.start([one.prompts[0] for one in group], seed=[one.seed for one in group])
        for block in range(blocks):
            frames = whole_block(rollout.step())
            seen = probe.predict(frames)
            for row, one in enumerate(group):
                scene = one.scenes[0]
                shown[at + row, block] = [seen[name][row] == scene.attribute(name) for name in ATTRIBUTES]
            pictures[block] += [Picture.of(one) for one in frames.split(1)]
            if on_block is not None:
                on_block(block, frames)
    over_time = tuple(_mean(pictures[at : at + stretch]) for at in range(0, blocks, stretch))
    rendered = Picture.mean([Picture.of(_rendered(one.scenes[0], at)) for one in planned for at in CAMERAS])
    return LongTake(
        seconds=blocks * block_s,
        first=_shares(shown[:, :stretch]),
        last=_shares(shown[:, -stretch:]),
        start=over_time[0],
        end=_mean(pictures[-stretch:]),
        rendered=rendered,
        over_time=over_time,
    )


def check_length(seconds: float) -> None:
    """Whether takes are long enough to compare their ends.

    Raises:
        ConfigError: they are not.
    """
    if not seconds >= 2 * ENDS_S:
        raise ConfigError(f"seconds is {seconds:g}; a beginning and an end need at least {2 * ENDS_S:g}")


def _mean(pictures: list[list[Picture]]) -> Picture:
    return Picture.mean([picture for block in pictures for picture in block])


def _shares(shown: npt.NDArray[np.bool_]) -> dict[str, Share]:
    """Blocks of a rollout resemble each other, so a rollout counts once, with its share of blocks."""
    return {
        name: Share(float(shown[:, :, i].mean(axis=1).sum()), len(shown)) for i, name in enumerate(ATTRIBUTES)
    }


def _rendered(scene: Scene, camera: float) -> Tensor:
    """A block of a scene as it is rendered: uint8 [1, T, H, W, 3]."""
    frames: Tensor = render_take(Take(((0, scene),), camera), block_start(2), BLOCK_FRAMES)
    return frames[None]
