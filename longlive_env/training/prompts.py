"""Sources of training prompts: text files with a prompt on each line, or captions of the tiny world."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from longlive_env.errors import ConfigError
from longlive_env.tiny.captions import caption
from longlive_env.tiny.render import camera_speed
from longlive_env.tiny.scene import ATTRIBUTES, LIVELY, Scene, change_one, sample_scene

HELD_OUT_EVERY = 20  # one line in this many is kept for evaluation
ONE_CHANGE_SHARE = 0.7  # share of switches between captions; the others ask for another scene


class Prompts(Protocol):
    """Draws prompts, and the prompts they change to."""

    def draw(self, rng: np.random.Generator, split: str) -> tuple[str, str]:
        """Draw a prompt, and one that follows it in the same take.

        Args:
            rng: source of all randomness.
            split: `"train"` or `"held_out"`.
        """
        ...


@dataclass(frozen=True)
class TinyPrompts:
    """Captions of random scenes of the tiny world.

    Attributes:
        setting_share: share of one-attribute switches that are made to change the setting; the others change
            any attribute.
        walking_share: share of takes that are made to begin with a walk.
        night_share: share of these walks that are made to be at night, where little shows that they move.
        lively_share: share of takes that are made to begin with a jump or a dance; the rest begin with any
            action.

    Raises:
        ConfigError: `walking_share` and `lively_share` add up to more than 1.
    """

    setting_share: float = 0.0
    walking_share: float = 0.0
    night_share: float = 0.0
    lively_share: float = 0.0

    def __post_init__(self) -> None:
        if self.walking_share + self.lively_share > 1:
            raise ConfigError(
                f"walking_share is {self.walking_share} and lively_share {self.lively_share}: together more "
                "than all takes; lower one of them"
            )

    def draw(self, rng: np.random.Generator, split: str) -> tuple[str, str]:
        """See `Prompts`."""
        scene, following = self.scenes(rng, split)
        return caption(scene, rng, split), caption(following, rng, split)

    def scenes(self, rng: np.random.Generator, split: str) -> tuple[Scene, Scene]:
        """The scenes that `draw` captions, for a random generator in the same state."""
        scene = sample_scene(rng, split)
        drawn = rng.random() if self.walking_share or self.lively_share else 1.0
        if drawn < self.walking_share:
            dark = self.night_share and rng.random() < self.night_share
            while not camera_speed(scene.action) or (dark and scene.weather != "night"):
                scene = sample_scene(rng, split)
        elif drawn < self.walking_share + self.lively_share:
            while scene.action not in LIVELY:
                scene = sample_scene(rng, split)
        following = scene
        while following == scene:  # few held-out scenes have neighbours that are held out, too
            following = sample_scene(rng, split)
            if rng.random() < ONE_CHANGE_SHARE:
                following = change_one(scene, self._changed(rng), rng, split)
        return scene, following

    def _changed(self, rng: np.random.Generator) -> str:
        if self.setting_share and rng.random() < self.setting_share:
            return "setting"
        return str(rng.choice(list(ATTRIBUTES)))


class FilePrompts:
    """Prompts of a text file, one per line, as in LongLive and Self-Forcing.

    Args:
        path: file of prompts.
        later: file of the same length, whose lines follow the lines of the same number in `path`. Without it,
            a prompt is followed by another one of its split, or of its file if the split has one line.

    Raises:
        ConfigError: a file is missing or empty, the two differ in their number of lines, or one has a blank
            line.
    """

    def __init__(self, path: Path, later: Path | None = None) -> None:
        first = _lines(path)
        following = _lines(later) if later else first
        if len(following) != len(first):
            raise ConfigError(
                f"{path} holds {len(first)} prompts and {later} {len(following)}; "
                "line by line, the second file says what follows the first"
            )
        for number, (here, after) in enumerate(zip(first, following, strict=True), start=1):
            if bool(here) != bool(after):
                raise ConfigError(
                    f"line {number} is blank in one of {path} and {later}; "
                    "line by line, the second file says what follows the first"
                )
        prompts = [line for line in first if line]
        self.prompts = prompts if later else list(dict.fromkeys(prompts))  # none follows itself
        self.later = [line for line in following if line] if later else None
        everything = range(len(self.prompts))
        held_out = everything[::HELD_OUT_EVERY]
        train = [number for number in everything if number not in held_out]
        if len(everything) < HELD_OUT_EVERY:  # too few to split: used for both
            held_out, train = everything, list(everything)
        self._numbers = {"train": train, "held_out": list(held_out)}  # line numbers

    def draw(self, rng: np.random.Generator, split: str) -> tuple[str, str]:
        """See `Prompts`."""
        numbers = self._numbers[split]
        here = numbers[rng.integers(len(numbers))]
        if self.later is not None:
            return self.prompts[here], self.later[here]
        others = numbers if len(numbers) > 1 else range(len(self.prompts))
        after = here
        while after == here and len(others) > 1:
            after = others[rng.integers(len(others))]
        return self.prompts[here], self.prompts[after]


def open_prompts(path: str, later: str) -> Prompts:
    """Prompts of the named files, or those of the tiny world for an empty `path`."""
    if not path and later:
        raise ConfigError(f"later={later} needs prompts= beside it, the file whose lines it continues")
    return FilePrompts(Path(path), Path(later) if later else None) if path else TinyPrompts()


def _lines(path: Path) -> list[str]:
    """Lines of a file without trailing blank ones; other blank lines stay, as files are read side by side."""
    try:
        text = path.read_text(encoding="utf-8").rstrip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read prompts from {path}: {error}; give a text file") from error
    if not text:
        raise ConfigError(f"{path} holds no prompts; write one a line")
    return [line.strip() for line in text.split("\n")]  # prompts may hold other line separators
