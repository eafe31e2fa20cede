"""Measure a world over a long take of one prompt: whether it still follows the prompt, drifts, and moves.

Time is divided into windows of ten seconds. Every block of the first and the last window is examined, and
every fourth block of those between.

Shapes: R rollouts, B of them together, W windows, T pixel frames of a block, H x W pixels, A attributes,
P statistics of pictures.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from longlive_env.engine.codec import CodecState
from longlive_env.errors import ConfigError
from longlive_env.evaluate import EvalConfig, Trial, begin, labels, padded_blocks, trials
from longlive_env.intervals import (
    Estimate,
    FloatArray,
    Share,
    difference_of_shares,
    mean,
    ratio_of_means,
)
from longlive_env.tiny.probe import Probe
from longlive_env.tiny.render import render_take
from longlive_env.tiny.scene import (
    ATTRIBUTES,
    BLOCK_FRAMES,
    Scene,
    Take,
    block_start,
    picture_scale,
    sample_camera,
)

if TYPE_CHECKING:
    from longlive_env.engine.rollout import Rollout
    from longlive_env.engine.world import World

WINDOW_S = 10.0  # seconds; the first and the last window are compared
STILL = 0.002  # motion of a rendered scene where nothing moves but the subject, slightly
STRIDE = 4  # every so many blocks are examined in the windows between
FALL_TARGET = 3.0  # points that an attribute may lose
MOTION_TARGET = 0.30  # how much motion may differ from that of rendered scenes
OnBlock = Callable[[int, Tensor], object]


@dataclass(frozen=True)
class Picture:
    """Statistics of frames, means over all of them; colours are in [0, 1].

    Attributes:
        saturation: difference between the largest and the smallest colour of a pixel.
        contrast: standard deviation of the brightness within a frame.
        gradient: mean absolute difference of the brightness of neighbouring pixels.
        motion: mean absolute difference of neighbouring frames.
    """

    saturation: float
    contrast: float
    gradient: float
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
            gradient=float(edges / 2),
            motion=float(colours.diff(dim=1).abs().mean()),
        )


STATISTICS = tuple(field.name for field in fields(Picture))
DRIFTING = ("saturation", "contrast", "gradient")  # statistics that reveal drift


class TakeRow(TypedDict):
    """One rollout, in JSON values.

    Attributes:
        shown: share of the examined blocks that show each attribute, for each window [W, A].
        pictures: statistics of their frames, means over each window [W, P].
        rendered: statistics of the prompt's scene as rendered, in the first and the last window [2, P].
    """

    shown: list[list[float]]
    pictures: list[list[float]]
    rendered: list[list[float]]


@dataclass(frozen=True)
class LongTake:
    """Results of long takes.

    Attributes:
        seconds: length of a take.
        shown: share of blocks that show each attribute [R, W, A].
        pictures: statistics of frames [R, W, P].
        rendered: statistics of rendered scenes, in the first and the last window [R, 2, P].
    """

    seconds: float
    shown: FloatArray
    pictures: FloatArray
    rendered: FloatArray

    @classmethod
    def of(cls, rows: Sequence[TakeRow], seconds: float) -> LongTake:
        """Make the result of takes that were rolled out."""
        shown, pictures, rendered = (
            np.array([row[name] for row in rows]) for name in ("shown", "pictures", "rendered")
        )
        return cls(seconds, shown, pictures, rendered)

    @property
    def rollouts(self) -> int:
        """Number of rollouts."""
        return len(self.shown)

    @property
    def middles_s(self) -> list[float]:
        """Seconds at the middle of each window [W]."""
        ends = WINDOW_S / 2, self.seconds - WINDOW_S / 2
        return [float(at) for at in np.linspace(*ends, self.shown.shape[1])]

    def share(self, attribute: str, window: int) -> Share:
        """Share of a window's blocks that show an attribute; the last window is -1."""
        return Share.of(self.shown[:, window, list(ATTRIBUTES).index(attribute)])

    def adherence(self, window: int) -> Share:
        """The mean of all attributes' shares in a window."""
        return Share.of(self.shown[:, window].mean(axis=1))

    def fall(self, attribute: str) -> Estimate:
        """Points by which an attribute's share falls from the first window to the last."""
        i = list(ATTRIBUTES).index(attribute)
        return difference_of_shares(self.shown[:, 0, i], self.shown[:, -1, i]).scaled(-100)

    def statistic(self, name: str, window: int) -> Estimate:
        """A statistic of pictures in a window."""
        return mean(self.pictures[:, window, STATISTICS.index(name)])

    def change(self, name: str) -> Estimate:
        """Relative change of a statistic's mean from the first window to the last."""
        values = self.pictures[:, :, STATISTICS.index(name)]
        return ratio_of_means(values[:, -1], values[:, 0]).scaled(1, -1)

    @property
    def drift(self) -> Estimate:
        """Mean drift of a rollout, in either direction.

        A rollout's drift is the largest difference of its saturation, contrast and gradient energy between
        the first and the last window, over the mean of that statistic in the first windows of all rollouts.
        """
        return mean(_drifts(self.pictures))

    @property
    def rendered_drift(self) -> Estimate:
        """Drift of the rendered scenes, since a moving camera sees other scenery."""
        return mean(_drifts(self.rendered))

    @property
    def motion_ratio(self) -> Estimate:
        """Motion in the last window over that of rendered scenes."""
        return ratio_of_means(*self._motion)

    @property
    def flicker(self) -> Estimate | None:
        """Motion in the last window beyond that of rendered scenes, in takes where nothing should move.

        None if something moves in every take.
        """
        ours, rendered = self._motion
        still = rendered < STILL
        return mean((ours - rendered)[still]) if still.any() else None

    @property
    def motion_beyond_flicker(self) -> Estimate | None:
        """Motion less the flicker, over that of rendered scenes, in takes where something should move."""
        (ours, rendered), flicker = self._motion, self.flicker
        moving = rendered >= STILL
        if flicker is None or not moving.any():
            return None
        return ratio_of_means(ours[moving] - flicker.value, rendered[moving])

    @property
    def _motion(self) -> tuple[FloatArray, FloatArray]:
        """Motion in each take's last window [R], and in the same scene rendered."""
        i = STATISTICS.index("motion")
        return self.pictures[:, -1, i], self.rendered[:, -1, i]

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        windows = range(self.shown.shape[1])
        flicker, moving = self.flicker, self.motion_beyond_flicker
        return {
            "seconds": self.seconds,
            "rollouts": self.rollouts,
            "first": {name: self.share(name, 0).to_json() for name in ATTRIBUTES},
            "last": {name: self.share(name, -1).to_json() for name in ATTRIBUTES},
            "fall_points": {name: self.fall(name).to_json() for name in ATTRIBUTES},
            "drift": self.drift.to_json(),
            "rendered_drift": self.rendered_drift.to_json(),
            "change": {name: self.change(name).to_json() for name in STATISTICS},
            "motion_ratio": self.motion_ratio.to_json(),
            "flicker": None if flicker is None else flicker.to_json(),
            "motion_beyond_flicker": None if moving is None else moving.to_json(),
            "over_time": {
                "seconds": [round(at, 2) for at in self.middles_s],
                **{name: [self.share(name, w).to_json() for w in windows] for name in ATTRIBUTES},
                **{name: [self.statistic(name, w).to_json() for w in windows] for name in STATISTICS},
            },
        }


def long_take(
    world: World,
    seconds: float = 240.0,
    *,
    rollouts: int = 64,
    batch: int = 16,
    seed: int = 0,
    on_block: OnBlock | None = None,
) -> LongTake:
    """Roll out takes of one held-out prompt each, and compare their end with their beginning.

    Args:
        world: world that shows the tiny world's scenes.
        seconds: length of a take, at least twice the ten seconds that are compared.
        rollouts: number of takes.
        batch: number of rollouts that run together.
        seed: seed of scenes, wordings and noise.
        on_block: see `roll_out`.

    Raises:
        ConfigError: the takes are too short.
    """
    probe = Probe.load(device=world.device)
    planned = list(trials(EvalConfig(rollouts, batch=batch, seed=seed)))
    rows: list[TakeRow] = []
    for at in range(0, rollouts, batch):
        rows += roll_out(world, planned[at : at + batch], seconds, probe, on_block)
    return LongTake.of(rows, seconds)


def roll_out(
    world: World,
    group: Sequence[Trial],
    seconds: float,
    probe: Probe,
    on_block: OnBlock | None = None,
    also: Collection[int] = (),
) -> list[TakeRow]:
    """Roll out a batch of long takes of the trials' first prompts.

    Args:
        world: world to roll out.
        group: trials with prompts and seeds.
        seconds: length of a take.
        probe: probe that reads the frames.
        on_block: callback, given the index of each examined block and its frames uint8 [B, T, H, W, 3].
        also: indices of more blocks to examine.

    Raises:
        ConfigError: the takes are too short.
    """
    check_length(seconds)
    blocks = round(seconds / world.config.block_seconds)
    windows = _windows(blocks, max(1, round(WINDOW_S / world.config.block_seconds)))
    asked = np.array([one.scenes[0].labels() for one in group])
    shown: list[list[Any]] = [[] for _ in windows]  # of each window: [blocks, B, A]
    pictures: list[list[Any]] = [[] for _ in windows]
    rollout = begin(world, group)
    for block, frames in _glimpses(rollout, blocks, {*also, *(b for looked in windows for b in looked)}):
        for window, looked in enumerate(windows):
            if block in looked:
                shown[window].append(labels(probe, padded_blocks(frames)) == asked)
                pictures[window].append([astuple(Picture.of(one)) for one in frames.split(1)])
        if on_block is not None:
            on_block(block, frames)
    shares = np.stack([np.mean(one, axis=0) for one in shown], axis=1)  # [B, W, A]
    means = np.stack([np.mean(one, axis=0) for one in pictures], axis=1)  # [B, W, P]
    ends = tuple(windows[0][::STRIDE]), tuple(windows[-1][::STRIDE])
    scale = picture_scale(world.config.height)
    return [
        TakeRow(
            shown=np.round(shares[i], 4).tolist(),
            pictures=np.round(means[i], 5).tolist(),
            rendered=[list(_rendered(one.scenes[0], one.seed, end, scale)) for end in ends],
        )
        for i, one in enumerate(group)
    ]


def check_length(seconds: float) -> None:
    """Check that takes end, and are long enough to compare their ends.

    Raises:
        ConfigError: they are too short, or endless.
    """
    if not 2 * WINDOW_S <= seconds < math.inf:
        raise ConfigError(
            f"seconds is {seconds:g}; a beginning and an end need at least {2 * WINDOW_S:g}, "
            "and a finite number"
        )


def _windows(blocks: int, length: int) -> list[range]:
    """Blocks to examine, in windows that are spread evenly over a take and do not overlap."""
    starts = [round(at) for at in np.linspace(0, blocks - length, max(2, blocks // length))]
    strides = [1, *([STRIDE] * (len(starts) - 2)), 1]
    return [range(start, start + length, stride) for start, stride in zip(starts, strides, strict=True)]


def _glimpses(rollout: Rollout, blocks: int, looked: Collection[int]) -> Iterator[tuple[int, Tensor]]:
    """Step a rollout, and decode the blocks to examine.

    If a codec remembers few latent frames, the blocks between need no decoding: a stream restarted with those
    frames gives the same pictures. Other codecs decode everything.
    """
    remembered = rollout.world.codec.memory_frames
    skips = remembered is not None and remembered <= rollout.world.config.frames_per_block
    decoded, before = -1, None
    for block in range(blocks):
        with torch.inference_mode():
            latents = rollout.step_latents()
        if block in looked or not skips:
            if before is not None and decoded < block - 1:
                rollout.state.codec = CodecState.fresh(rollout.batch)
                rollout.decode(before)
            frames, decoded = rollout.decode(latents), block
            if block in looked:
                yield block, frames
        before = latents[:, -remembered:] if remembered else None


def further_drift(first: LongTake, second: LongTake) -> Estimate:
    """How much more the second of two ways drifts than the first, over the takes that both have."""
    both = min(first.rollouts, second.rollouts)
    ours, theirs = second.pictures[:both], first.pictures[:both]
    return mean(_drifts(ours, theirs) - _drifts(theirs, theirs))


def _drifts(pictures: FloatArray, scale_of: FloatArray | None = None) -> FloatArray:
    """The largest relative difference of saturation, contrast and gradient [R] in windows [R, W, P].

    Differences are relative to the first windows of `scale_of`, by default those of `pictures`.
    """
    chosen = [STATISTICS.index(name) for name in DRIFTING]
    looks, beside = pictures[:, :, chosen], (pictures if scale_of is None else scale_of)[:, 0, chosen]
    scale = np.maximum(beside.mean(axis=0), 1e-9)
    drifts: FloatArray = (np.abs(looks[:, -1] - looks[:, 0]) / scale).max(axis=1)
    return drifts


@functools.lru_cache(maxsize=1024)  # each way of running a world is compared with the same scenes
def _rendered(scene: Scene, seed: int, blocks: tuple[int, ...], scale: int) -> tuple[float, ...]:
    """Statistics [P] of a rendered take of one scene, at some of its blocks and at a scale."""
    take = Take(((0, scene),), sample_camera(np.random.default_rng(seed)))
    frames = [render_take(take, block_start(max(1, block)), BLOCK_FRAMES, scale=scale) for block in blocks]
    return tuple(round(value, 5) for value in astuple(Picture.of(torch.stack(frames))))
