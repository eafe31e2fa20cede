"""An immutable view of the world in play for the window, made by the worker after every change.

Shapes: T pixel frames per block, H rows, W columns.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from longlive_env.frames import Frames
from longlive_env.viewer.history import Span

if TYPE_CHECKING:
    from longlive_env.engine.config import WorldConfig
    from longlive_env.engine.world import World
    from longlive_env.scenario import Pace
    from longlive_env.viewer.direction import Steerer
    from longlive_env.viewer.session import Session
    from longlive_env.viewer.story import Score


@dataclass(frozen=True)
class Slot:
    """One slot of the cache: the latent frame it holds, if any, and the prompt it was last computed under."""

    sink: bool
    frame: int | None
    prompt: str


@dataclass(frozen=True)
class Mark:
    """A bookmark: its number, its place, and whether it is on the current take."""

    number: int
    position: int
    here: bool


@dataclass(frozen=True)
class View:
    """The world in play, as far as it has been generated.

    Attributes:
        world: models and configuration.
        pace: timing of its blocks.
        seed: seed of the take.
        wanted: requested prompt, or that of the newest block.
        whole: what that prompt stands for, by which the next is completed; "" before the first block, as a
            request then opens the take.
        seat: who steers.
        thinking: whether the agent in the seat has yet to answer.
        recache: mode of the next switch.
        spans: spans of the take by prompt.
        cues: upcoming prompts of the scenario.
        ends: block at which the scenario ends; None if none is followed and there is nothing to win.
        marks: bookmarks by number.
        slots: slots of the cache, sink first.
        memory_bytes: memory of snapshots, bookmarks and the take that undo returns to.
        snapshots: number of snapshots.
        recording: folder of the recording, if one is running.
        scored: score by everything that was generated, in a scenario with goals.
        newest_mark: number of the newest bookmark.
        start: frames that the take continued, uint8 [T, H, W, 3]; None if it began from the prompt alone.
        epoch: number of jumps (rewinds, resets, returns). Frames of another epoch are no longer shown.
        still: frames of the block before a jump's target, uint8 [T, H, W, 3]; None at the start of a take.
        shown: number of blocks that the window has taken; after a jump, its target.
    """

    world: World
    pace: Pace
    seed: int
    wanted: str
    whole: str
    seat: Steerer
    thinking: bool
    recache: str
    spans: tuple[Span, ...]
    cues: Mapping[int, str]
    ends: int | None
    marks: tuple[Mark, ...]
    slots: tuple[Slot, ...]
    memory_bytes: int
    snapshots: int
    recording: Path | None = None
    scored: Score | None = None
    newest_mark: int | None = None
    start: Frames | None = None
    epoch: int = 0
    still: Frames | None = None
    shown: int = 0

    @property
    def score(self) -> Score | None:
        """Score by what was shown, so that upcoming results are not revealed."""
        return self.scored and self.scored.after(self.shown)

    @property
    def config(self) -> WorldConfig:
        """Configuration of the world."""
        return self.world.config

    def span_at(self, position: float) -> Span | None:
        """Return the span of the frame at a position in the take, in blocks; None at the very start."""
        return next((span for span in reversed(self.spans) if span.begin < position), None)


def view_of(session: Session, recording: Path | None) -> View:
    """Create the view of a session, which may be recorded into a folder."""
    history = session.history
    spans = tuple(history.spans())
    present = set(history.beats)
    marks = tuple(
        Mark(number, len(mark.beats), mark.beats[-1] in present)
        for number, mark in sorted(history.bookmarks.items())
    )
    return View(
        world=session.world,
        pace=session.pace,
        seed=session.seed,
        wanted=session.wanted,
        whole=session.whole,
        seat=session.seat,
        thinking=session.thinking,
        recache=session.recache,
        spans=spans,
        cues=MappingProxyType(session.cues),
        ends=session.ends,
        marks=marks,
        slots=cache_slots(session, spans),
        memory_bytes=history.nbytes,
        snapshots=history.snapshots,
        recording=recording,
        scored=session.score,
        newest_mark=next(reversed(history.bookmarks), None),
        start=session.start,
    )


def cache_slots(session: Session, spans: tuple[Span, ...]) -> tuple[Slot, ...]:
    """Return the slots of the key-value cache, sink first, as the newest block has left them.

    A full recache recomputes everything in the cache under the new prompt, except for a sink that the world
    keeps.
    """
    config = session.world.config
    given = session.rollout.blocks[0] - session.position  # that the take continued, as its first span
    slots = []
    for place, frame in enumerate(session.rollout.state.cache.frames_held(0)):
        in_sink = place < config.sink_frames
        block = None if frame is None else max(0, frame // config.frames_per_block - given)
        prompt = "" if block is None else _computed_under(block, in_sink, config, spans)
        slots.append(Slot(in_sink, frame, prompt))
    return tuple(slots)


def _computed_under(block: int, in_sink: bool, config: WorldConfig, spans: tuple[Span, ...]) -> str:
    """Return the prompt under which keys and values of a block's latent frames were last computed."""
    born = bisect.bisect_right(spans, block, key=lambda span: span.begin) - 1  # index of its span
    if not (in_sink and config.keep_sink):
        for later in range(len(spans) - 1, born, -1):
            if spans[later].recache == "full":
                return spans[later].prompt
    return spans[born].prompt if born >= 0 and block < spans[born].end else ""
