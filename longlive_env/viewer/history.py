"""The take that is being played: its blocks, the snapshots that lead back into it, and bookmarks.

Snapshots live within a budget of memory. What has none is generated again from the nearest one before it,
which gives the same frames, since a world's state and seed decide everything.

Shapes: T pixel frames of a block, H rows, W columns.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from longlive_env.engine.config import RecacheMode
from longlive_env.frames import Frames
from longlive_env.scenario import Mix, Plan, Reading

Source = Literal["start", "you", "agent", "scenario"]

MIB = 1 << 20
BUDGET_BYTES = 256 * MIB  # by default, where that holds enough snapshots
SNAPSHOTS_HELD = 4  # by default, where the host has the memory
FREE_SHARE = 0.25  # of free memory: while a snapshot is taken, it is there three times
REACH_BLOCKS = 16  # that snapshots reach back at least, however few there are
COPIED_BYTES_A_BLOCK = 256 * MIB  # on average: the world stands still while its state is copied to the host
NEWEST_KEPT = 3  # snapshots that thinning leaves alone
WEIGHT_OF_CHANGE = 4.0  # a snapshot right before a new prompt is worth this many others


@dataclass(frozen=True, eq=False)
class Beat:
    """One generated block of a take.

    Attributes:
        block: its index, from 0.
        mix: what the text embedding was made of: one prompt, or several on the way to another.
        source: who brought that prompt.
        recache: what the switch to that prompt did to the memory of earlier frames.
        follows: whether the scenario was still being followed.
        frames: pixel frames.
        digest: of the frames, see `recording.digest`.
        notes: what a scenario decided before it, and what it has reached.
        reading: what it shows, if the scenario asks.
    """

    block: int
    mix: Mix
    source: Source
    recache: RecacheMode
    follows: bool
    frames: int
    digest: str
    notes: tuple[str, ...] = ()
    reading: Reading | None = None

    @property
    def prompt(self) -> str:
        """The prompt in force, or being approached."""
        return self.mix.prompt


@dataclass(frozen=True)
class Saved:
    """A state of the world right after a block: snapshot bytes, and the block's frames uint8 [T, H, W, 3]."""

    data: bytes
    frames: Frames

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return len(self.data) + self.frames.nbytes


@dataclass(frozen=True)
class Span:
    """Neighbouring blocks under one prompt: from block `begin` up to, not including, `end`."""

    begin: int
    end: int
    prompt: str
    source: Source
    recache: RecacheMode


@dataclass(frozen=True)
class Opening:
    """How a take began.

    Attributes:
        seed: of the world.
        prompt: that it started with.
        plan: the scenario that it plays, whose goals count; None if it belongs to none.
        start: what it went on from, uint8 [T, H, W, 3]; None for nothing but the prompt.
    """

    seed: int
    prompt: str
    plan: Plan | None = None
    start: Frames | None = field(default=None, compare=False)

    @property
    def follows(self) -> bool:
        """Whether the scenario is followed from there."""
        return self.plan is not None and bool(self.plan.timeline)


@dataclass(frozen=True)
class Branch:
    """A take up to some block, to go on from: a bookmark, or what undo returns to.

    Attributes:
        opening: how it began.
        beats: its blocks.
        saved: the newest state that was kept of it, if any.
        at: blocks before that state.
    """

    opening: Opening
    beats: tuple[Beat, ...]
    saved: Saved | None = None
    at: int = 0

    @property
    def first(self) -> Mix:
        """What its first block was made of, or will be."""
        return self.beats[0].mix if self.beats else Mix.of(self.opening.prompt)

    def begins_with(self, other: Branch) -> bool:
        """Whether nothing else has been played in the other than in this one."""
        return self.opening == other.opening and self.beats[: len(other.beats)] == other.beats


class History:
    """The blocks of the present take and the snapshots among them.

    Args:
        opening: how the take begins.
        budget_bytes: how much the snapshots may take, bookmarks aside; None follows their size, see
            `default_budget`.

    Attributes:
        opening: how the take began.
        beats: its blocks, oldest first.
        bookmarks: by number, 1 to 9; the newest comes last.
        left: the take that the last jump has led away from.
    """

    def __init__(self, opening: Opening, budget_bytes: int | None = None) -> None:
        self.opening = opening
        self.beats: list[Beat] = []
        self.bookmarks: dict[int, Branch] = {}
        self.left: Branch | None = None
        self._budget = budget_bytes
        self._saved: dict[Beat, Saved] = {}

    @property
    def nbytes(self) -> int:
        """Memory that snapshots, bookmarks and the take that was left take."""
        branches = [*self.bookmarks.values(), *([self.left] if self.left is not None else [])]
        kept = [*self._saved.values(), *(one.saved for one in branches if one.saved is not None)]
        return sum({id(saved): saved.nbytes for saved in kept}.values())

    @property
    def snapshots(self) -> int:
        """How many snapshots there are, bookmarks aside."""
        return len(self._saved)

    def spacing(self, nbytes: int) -> int | None:
        """Blocks from one snapshot to the next, if one takes so many bytes; None if not even one fits."""
        if self._budget is None:
            self._budget = default_budget(nbytes)
        room = self._budget // nbytes
        return max(-(-REACH_BLOCKS // room), -(-nbytes // COPIED_BYTES_A_BLOCK)) if room else None

    def append(self, beat: Beat, saved: Saved | None = None) -> None:
        """Add the next block, and the state after it if it was saved."""
        assert beat.block == len(self.beats)
        self.beats.append(beat)
        if saved is not None:
            self._saved[beat] = saved
            self._thin()

    def cut(self, position: int) -> None:
        """Forget the blocks from `position` on."""
        for beat in self.beats[position:]:
            self._saved.pop(beat, None)
        del self.beats[position:]

    def begin(self, opening: Opening) -> None:
        """Begin another take."""
        self.cut(0)
        self.opening = opening

    def branch(self, position: int) -> Branch:
        """The first `position` blocks of the take, with the newest state that is kept of them."""
        at, saved = self.nearest(position)
        return Branch(self.opening, tuple(self.beats[:position]), saved, at)

    def adopt(self, branch: Branch) -> None:
        """Make another take the present one; snapshots of blocks that both share are kept."""
        shared = set(branch.beats)
        self._saved = {beat: saved for beat, saved in self._saved.items() if beat in shared}
        if branch.saved is not None:
            self._saved[branch.beats[branch.at - 1]] = branch.saved
        self.opening, self.beats = branch.opening, list(branch.beats)

    def remember(self, left: Branch) -> None:
        """Remember where a jump has come from, unless it goes on from another one, or has led nowhere."""
        if not left.beats or (left.opening == self.opening and left.beats == tuple(self.beats)):
            return
        if self.left is None or not self.left.begins_with(left):
            self.left = left

    def nearest(self, position: int) -> tuple[int, Saved | None]:
        """The last saved position up to `position`, and the state there; None stands for the very start."""
        for beat in reversed(self.beats[:position]):
            if beat in self._saved:
                return beat.block + 1, self._saved[beat]
        return 0, None

    def spans(self) -> Iterator[Span]:
        """The take by prompts, oldest first."""
        begin = 0
        for end in range(1, len(self.beats) + 1):
            if end == len(self.beats) or self.beats[end].prompt != self.beats[begin].prompt:
                first = self.beats[begin]
                yield Span(begin, end, first.prompt, first.source, first.recache)
                begin = end

    def change_before(self, position: int) -> int:
        """The last block before `position` that brought a new prompt; 0 if there was none."""
        return max((span.begin for span in self.spans() if span.begin < position), default=0)

    def _thin(self) -> None:
        """Drop snapshots until they fit: first those with near neighbours whose time is long past."""
        budget = BUDGET_BYTES if self._budget is None else self._budget
        while len(self._saved) > 1 and sum(saved.nbytes for saved in self._saved.values()) > budget:
            order = sorted(self._saved, key=lambda beat: beat.block)
            free = order[: -min(NEWEST_KEPT, len(order) - 1)]
            del self._saved[min(free, key=lambda beat: self._worth(beat, order))]

    def _worth(self, beat: Beat, order: list[Beat]) -> float:
        """How much longer the way back would get without this snapshot, against how far back it lies."""
        place = order.index(beat)
        before = order[place - 1].block if place else -1
        gap = order[place + 1].block - before
        following = self.beats[beat.block + 1] if beat.block + 1 < len(self.beats) else beat
        weight = WEIGHT_OF_CHANGE if following.prompt != beat.prompt else 1.0
        return weight * gap / (len(self.beats) - beat.block)


def default_budget(nbytes: int) -> int:
    """Memory for snapshots that take so many bytes each: for several, if the host has that to spare."""
    free = free_host_bytes()
    several = SNAPSHOTS_HELD * nbytes
    return max(BUDGET_BYTES, several if free is None else min(several, int(free * FREE_SHARE)))


def free_host_bytes() -> int | None:
    """Memory of the host that can be had; None where the system does not tell."""
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():  # pages that are free leave out what the cache of files would give back
        sizes = dict(line.split(":", 1) for line in meminfo.read_text(encoding="utf-8").splitlines())
        if "MemAvailable" in sizes:
            return int(sizes["MemAvailable"].split()[0]) * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # there is no such function, or no such figure
        return None
