"""What the probe sees in the block on show, for the statistics.

Shapes: T pixel frames per block, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from longlive_env.envs import goals
from longlive_env.envs.rewards import ProbeReward
from longlive_env.envs.vocabulary import vocabulary_of
from longlive_env.frames import Frames, whole_block

if TYPE_CHECKING:
    from longlive_env.engine.config import WorldConfig
    from longlive_env.viewer.playback import Playback
    from longlive_env.viewer.view import View


@dataclass(frozen=True)
class Sighting:
    """What the probe sees of one attribute.

    Attributes:
        words: the likeliest value, in its plainest words.
        probability: its probability, from 0 to 1.
        asked: whether the prompt asks for that value; None if it leaves the attribute open.
    """

    words: str
    probability: float
    asked: bool | None


def attributes_seen(config: WorldConfig) -> int:
    """Return how many attributes the probe sees in a world; 0 if there is none for such a world."""
    return _attributes_in(config, config.height, config.width)


class Eyes:
    """Reads the block on show, once, as rewards and goals do."""

    def __init__(self) -> None:
        self._look: tuple[Frames | None, str] = (None, "")  # the block that was read last, and its prompt
        self._seen: tuple[Sighting, ...] = ()

    def look(self, playback: Playback, view: View) -> tuple[Sighting, ...]:
        """Return what the probe sees in the block on show, by attribute.

        Returns nothing where no block is on show, or there is no probe for such a world or such frames.
        """
        frames, span = playback.block, view.span_at(playback.position)
        prompt = span.prompt if span is not None else ""
        if prompt == view.wanted:
            prompt = view.whole or prompt
        if frames is not self._look[0] or prompt != self._look[1]:
            self._look = frames, prompt
            self._seen = () if frames is None else sightings(frames, prompt, view.config)
        return self._seen


def sightings(frames: Frames, prompt: str, config: WorldConfig) -> tuple[Sighting, ...]:
    """Return what the probe sees in a block, uint8 [T, H, W, 3], that `prompt` was to bring."""
    if not _attributes_in(config, *frames.shape[1:3]):
        return ()
    reading = ProbeReward().read(whole_block(frames, config.block_pixel_frames)[None])
    asked = goals.parse_first(prompt)
    return tuple(
        Sighting(goals.plain(name, value), probability, asked[name] == value if name in asked else None)
        for name, (value, probability) in reading.likeliest()[0].items()
    )


def _attributes_in(config: WorldConfig, height: int, width: int) -> int:
    """Return how many attributes the probe sees in pictures of this size of a world."""
    attributes = vocabulary_of(config.vocabulary).attributes
    return len(attributes) if attributes and ProbeReward.can_read(height, width) else 0
