"""What a tiny-world scene is: its attributes, the held-out split, and takes that change over time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from longlive_env.errors import ConfigError

SUBJECTS = ("robot", "cat", "rabbit", "chick", "car", "ghost", "snail", "dinosaur")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
SETTINGS = ("city", "forest", "beach", "desert", "mountains", "meadow", "castle", "moon")
WEATHERS = ("clear", "night", "rain", "snow", "sunset", "fog")
ACTIONS = ("left", "right", "still", "jump", "dance")
LIVELY = ("jump", "dance")  # actions whose movement is fast
USUAL = {"subject": "robot", "setting": "meadow", "weather": "clear", "action": "still"}
USUAL_COLOURS = {  # of each subject
    "robot": "blue",
    "cat": "orange",
    "rabbit": "white",
    "chick": "yellow",
    "car": "red",
    "ghost": "white",
    "snail": "pink",
    "dinosaur": "green",
}

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "subject": SUBJECTS,
    "colour": COLOURS,
    "setting": SETTINGS,
    "weather": WEATHERS,
    "action": ACTIONS,
}

HELD_OUT_EVERY = 10  # one combination in this many is never trained on
ONE_CHANGE_SHARE = 0.6  # of prompt changes in a take
HEIGHT, WIDTH = 96, 160  # pixels of a scene; pictures may have several for each, see `picture_scale`
FRAMES_PER_LATENT = 4
BLOCK_FRAMES = 12
CAMERA_STEP = 16  # pixels that the camera moves in a block, and the grid of positions that takes begin at
SCENERY_WIDTH = 320  # pixels after which the scenery repeats


def picture_scale(height: int) -> int:
    """Picture pixels per scene pixel, along each side, for a picture of `height` rows; 1 for smaller ones."""
    return max(1, height // HEIGHT)


@dataclass(frozen=True)
class Scene:
    """One combination of attribute values.

    Raises:
        ConfigError: a value is not a member of its tuple in `ATTRIBUTES`.
    """

    subject: str
    colour: str
    setting: str
    weather: str
    action: str

    def __post_init__(self) -> None:
        for name, values in ATTRIBUTES.items():
            if getattr(self, name) not in values:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(values)}")

    def attribute(self, name: str) -> str:
        """The value of the attribute called `name`."""
        value: str = getattr(self, name)
        return value

    def labels(self) -> list[int]:
        """Index of each attribute's value, in the order of `ATTRIBUTES`."""
        return [values.index(self.attribute(name)) for name, values in ATTRIBUTES.items()]


def completed(named: Mapping[str, str]) -> Scene:
    """The scene that a take's first prompt asks for which names only some attributes.

    The others are the usual ones; the usual colour depends on the subject.

    Raises:
        ConfigError: a value is unknown, see `Scene`.
    """
    values = {**USUAL, **named}
    return Scene(**{"colour": USUAL_COLOURS.get(values["subject"], ""), **values})


def without_saying(scene: Scene) -> Scene:
    """What a take shows if its first prompt leaves everything out, beside which `scene` stands out.

    It has the usual colour of the subject of `scene`.
    """
    return replace(completed({}), colour=USUAL_COLOURS[scene.subject])


def is_held_out(scene: Scene) -> bool:
    """Whether this combination belongs to the 10 % that training never sees (a fixed hash decides)."""
    key = "|".join(scene.attribute(name) for name in ATTRIBUTES)
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % HELD_OUT_EVERY == 0


def check_split(split: str) -> None:
    """Check the name of a split.

    Raises:
        ConfigError: it is neither `"train"` nor `"held_out"`.
    """
    if split not in ("train", "held_out"):
        raise ConfigError(f"split is {split!r}; expected 'train' or 'held_out'")


def in_split(scene: Scene, split: str) -> bool:
    """Whether a combination belongs to a split, see `check_split`."""
    check_split(split)
    return is_held_out(scene) == (split == "held_out")


def other_values(scene: Scene, name: str) -> list[str]:
    """The values of the attribute `name` that `scene` does not have."""
    return [value for value in ATTRIBUTES[name] if value != scene.attribute(name)]


def sample_scene(rng: np.random.Generator, split: str = "train") -> Scene:
    """A uniformly drawn combination of one split."""
    while True:
        scene = Scene(*(values[rng.integers(len(values))] for values in ATTRIBUTES.values()))
        if in_split(scene, split):
            return scene


def sample_usual(rng: np.random.Generator, split: str = "train") -> Scene:
    """A combination of one split in which about half of the attributes have their usual values."""
    while True:
        drawn = sample_scene(rng, split)
        scene = completed({name: drawn.attribute(name) for name in ATTRIBUTES if rng.random() < 0.5})
        if in_split(scene, split):
            return scene


def change_one(scene: Scene, name: str, rng: np.random.Generator, split: str = "train") -> Scene:
    """`scene` with another value of the attribute `name`, or `scene` itself if its split has none."""
    values = other_values(scene, name)
    rng.shuffle(values)
    changed = (replace(scene, **{name: value}) for value in values)
    return next((other for other in changed if in_split(other, split)), scene)


@dataclass(frozen=True)
class Take:
    """One long shot: scenes that begin at given pixel frames, and where the camera starts.

    Attributes:
        segments: `(first_frame, scene)`, ascending, the first at frame 0.
        camera: horizontal camera position in pixels at the start of the first block, were it as long as the
            others (it is three frames shorter).
        offsets: how far from there each segment is seen, in pixels; empty for 0. A segment that fades out
            keeps its own.
    """

    segments: tuple[tuple[int, Scene], ...]
    camera: float
    offsets: tuple[float, ...] = ()

    def scene_at(self, frame: int) -> Scene:
        """The scene whose prompt is in force at pixel frame `frame`."""
        return next(scene for start, scene in reversed(self.segments) if start <= frame)


def block_start(block: int) -> int:
    """First pixel frame of a block; the first block is three frames shorter than the others."""
    return max(0, block * BLOCK_FRAMES - (FRAMES_PER_LATENT - 1))


def sample_take(rng: np.random.Generator, frames: int, switches: int = 0, split: str = "train") -> Take:
    """A random take of `frames` pixel frames whose prompt changes `switches` times at block boundaries.

    Six changes in ten touch one attribute; the others draw setting, weather and action anew.

    Args:
        rng: source of all randomness.
        frames: length in pixel frames.
        switches: number of changes; the take needs at least `switches + 1` blocks.
        split: `"train"` or `"held_out"`.

    Raises:
        ConfigError: the take is too short for the switches, or there is no such split.
    """
    blocks = (frames + FRAMES_PER_LATENT - 1) // BLOCK_FRAMES
    if switches >= blocks:
        raise ConfigError(f"{switches} switches do not fit in {blocks} blocks; give more frames")
    scene = sample_scene(rng, split)
    segments = [(0, scene)]
    for block in sorted(rng.choice(np.arange(1, blocks), size=switches, replace=False).tolist()):
        if rng.random() < ONE_CHANGE_SHARE:
            changed = change_one(scene, str(rng.choice(list(ATTRIBUTES))), rng, split)
        else:
            changed = replace(sample_scene(rng, split), subject=scene.subject, colour=scene.colour)
        if changed == scene or not in_split(changed, split):
            changed = sample_scene(rng, split)
        scene = changed
        segments.append((block_start(block), scene))
    return Take(tuple(segments), sample_camera(rng))


def sample_camera(rng: np.random.Generator) -> float:
    """A camera position of the grid.

    The grid is as wide as a token of the transformer, so that a walk moves the nearest scenery by one token
    per block. There are then few places to tell apart, and a small model draws them crisply.
    """
    return float(CAMERA_STEP * rng.integers(SCENERY_WIDTH // CAMERA_STEP))
