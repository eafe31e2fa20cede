"""History of the current take: its blocks, the snapshots for going back, and bookmarks.

Snapshots stay within a memory budget, and live as long as their blocks: in the current take, in the one
that undo returns to, or in a bookmark's. A position without one is regenerated from the nearest earlier
snapshot, which gives the same frames, since a world's state and seed determine everything.

Shapes: T pixel frames per block, H rows, W columns.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from weakref import WeakKeyDictionary

from longlive_env.engine.config import RecacheMode
from longlive_env.engine.snapshot import Kept
from longlive_env.frames import Frames
from longlive_env.recording import LogGoal
from longlive_env.scenario import Mix, Plan, Reading

Source = Literal["start", "you", "agent", "scenario"]

MIB = 1 << 20
BUDGET_BYTES = 256 * MIB  # default, if that holds enough snapshots
SNAPSHOTS_HELD = 4  # default, if the host has the memory
FREE_SHARE = 0.25  # of free memory: from a GPU, snapshots go to pinned memory, which nothing else can use
REACH_BLOCKS = 16  # minimum reach of snapshots, however few there are
COPIED_BYTES_A_BLOCK = 256 * MIB  # average limit: copying a state to the host stops the world
NEWEST_KEPT = 3  # newest snapshots, which are never thinned out
WEIGHT_OF_CHANGE = 4.0  # of a snapshot right before a new prompt, relative to others


@dataclass(frozen=True, eq=False)
class Beat:
    """One generated block of a take.

    Attributes:
        block: index of the block, from 0.
        mix: prompts of the text embedding: one, or several in a transition.
        source: who set that prompt.
        recache: what the switch to that prompt did to the memory of earlier frames.
        follows: whether the scenario was still being followed.
        frames: number of pixel frames.
        digest: digest of the frames, see `recording.digest`.
        notes: what a scenario decided before the block, and which goals the block reached.
        remarks: those of the notes that are shown to a viewer.
        reached: goals of the scenario that the block reached.
        reading: what the block shows, if the scenario asks.
    """

    block: int
    mix: Mix
    source: Source
    recache: RecacheMode
    follows: bool
    frames: int
    digest: str
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    reached: tuple[LogGoal, ...] = ()
    reading: Reading | None = None

    @property
    def prompt(self) -> str:
        """The prompt in force, or the target of a transition."""
        return self.mix.prompt


@dataclass(frozen=True)
class Saved:
    """A state of the world right after a block, and the block's frames, uint8 [T, H, W, 3]."""

    state: Kept
    frames: Frames

    @property
    def nbytes(self) -> int:
        """Memory that it takes, in bytes."""
        return self.state.nbytes + self.frames.nbytes


@dataclass(frozen=True)
class Span:
    """Consecutive blocks under one prompt: from block `begin` up to, not including, `end`."""

    begin: int
    end: int
    prompt: str
    source: Source
    recache: RecacheMode


@dataclass(frozen=True)
class Opening:
    """The start of a take.

    Attributes:
        seed: seed of the world.
        prompt: starting prompt.
        plan: scenario that the take plays, whose goals count; None if there is none.
        start: frames that the take continued, uint8 [T, H, W, 3]; None if it began from the prompt alone.
    """

    seed: int
    prompt: str
    plan: Plan | None = None
    start: Frames | None = field(default=None, compare=False)

    @property
    def follows(self) -> bool:
        """Whether the scenario is followed from the start."""
        return self.plan is not None and bool(self.plan.timeline)


@dataclass(frozen=True)
class Branch:
    """A take up to some block, from which play can resume: a bookmark, or the target of undo.

    Attributes:
        opening: start of the take.
        beats: blocks of the take.
        saved: newest saved state of the take, if any.
        at: number of blocks before that state.
    """

    opening: Opening
    beats: tuple[Beat, ...]
    saved: Saved | None = None
    at: int = 0

    @property
    def first(self) -> Mix:
        """The mix of its first block, present or future."""
        return self.beats[0].mix if self.beats else Mix.of(self.opening.prompt)

    def begins_with(self, other: Branch) -> bool:
        """Return whether this branch begins with all of the other one."""
        return self.opening == other.opening and self.beats[: len(other.beats)] == other.beats


class History:
    """The blocks of the current take and the snapshots among them.

    Args:
        opening: start of the take.
        budget_bytes: memory limit of snapshots, bookmarks excluded; None derives it from their size, see
            `default_budget`.

    Attributes:
        opening: start of the take.
        beats: blocks of the take, oldest first.
        bookmarks: bookmarks by number, 1 to 9; the newest comes last.
        left: take that the last jump left.
    """

    def __init__(self, opening: Opening, budget_bytes: int | None = None) -> None:
        self.opening = opening
        self.beats: list[Beat] = []
        self.bookmarks: dict[int, Branch] = {}
        self.left: Branch | None = None
        self._budget = budget_bytes
        self._saved: WeakKeyDictionary[Beat, Saved] = WeakKeyDictionary()  # of blocks that can be returned to

    @property
    def nbytes(self) -> int:
        """Memory used by snapshots, bookmarks and the take that was left, in bytes."""
        branches = [*self.bookmarks.values(), *([self.left] if self.left is not None else [])]
        snapshots = (self._saved[beat] for beat in self._saved_beats())
        kept = [*snapshots, *(one.saved for one in branches if one.saved is not None)]
        return sum({id(saved): saved.nbytes for saved in kept}.values())

    @property
    def snapshots(self) -> int:
        """Number of snapshots, bookmarks excluded."""
        return len(self._saved)

    def spacing(self, nbytes: int) -> int | None:
        """Return the blocks between snapshots of `nbytes` bytes each; None if not even one fits."""
        if self._budget is None:
            self._budget = default_budget(nbytes)
        room = self._budget // nbytes
        return max(-(-REACH_BLOCKS // room), -(-nbytes // COPIED_BYTES_A_BLOCK)) if room else None

    def append(self, beat: Beat, saved: Saved | None = None) -> None:
        """Append the next block, and the state after it if it was saved."""
        assert beat.block == len(self.beats)
        self.beats.append(beat)
        if saved is not None:
            self.save(beat, saved, self.beats)

    def save(self, beat: Beat, saved: Saved, take: Sequence[Beat]) -> None:
        """Add the state after a block of the current or coming take; those of others make room for it."""
        self._saved[beat] = saved
        self._thin(take)

    def cut(self, position: int) -> None:
        """Drop the blocks from `position` on; their snapshots go with them, unless another take has them."""
        del self.beats[position:]

    def begin(self, opening: Opening) -> None:
        """Begin another take."""
        self.cut(0)
        self.opening = opening

    def branch(self, position: int) -> Branch:
        """Return the first `position` blocks of the take, with their newest saved state."""
        at, saved = self.nearest(position)
        return Branch(self.opening, tuple(self.beats[:position]), saved, at)

    def refreshed(self, branch: Branch) -> Branch:
        """Return a branch with its newest state, which may have been saved since it was made."""
        at, saved = self._newest(branch.beats[branch.at :])
        return branch if saved is None else replace(branch, saved=saved, at=at)

    def adopt(self, branch: Branch) -> None:
        """Make another take the current one, with the snapshots that are left of it."""
        self.opening, self.beats = branch.opening, list(branch.beats)
        if branch.saved is not None:
            self.save(branch.beats[branch.at - 1], branch.saved, self.beats)

    def remember(self, left: Branch) -> None:
        """Remember where a jump came from, unless it extends another jump or led nowhere."""
        if not left.beats or (left.opening == self.opening and left.beats == tuple(self.beats)):
            return
        if self.left is None or not self.left.begins_with(left):
            self.left = left

    def nearest(self, position: int) -> tuple[int, Saved | None]:
        """Return the last saved position up to `position`, and its state; None stands for the very start."""
        return self._newest(self.beats[:position])

    def spans(self) -> Iterator[Span]:
        """Return the take's spans by prompt, oldest first."""
        begin = 0
        for end in range(1, len(self.beats) + 1):
            if end == len(self.beats) or self.beats[end].prompt != self.beats[begin].prompt:
                first = self.beats[begin]
                yield Span(begin, end, first.prompt, first.source, first.recache)
                begin = end

    def change_before(self, position: int) -> int:
        """Return the last block before `position` that brought a new prompt; 0 if there was none."""
        return max((span.begin for span in self.spans() if span.begin < position), default=0)

    def _newest(self, beats: Sequence[Beat]) -> tuple[int, Saved | None]:
        """Return the last saved position among blocks, and its state; 0 and None if there is none."""
        for beat in reversed(beats):
            if (saved := self._saved.get(beat)) is not None:
                return beat.block + 1, saved
        return 0, None

    def _thin(self, take: Sequence[Beat]) -> None:
        """Drop snapshots until they fit, first the oldest of other takes, then the least worth of `take`."""
        budget = BUDGET_BYTES if self._budget is None else self._budget
        here, kept = set(take), self._saved_beats()
        while sum(self._saved[beat].nbytes for beat in kept) > budget:
            order = [beat for beat in kept if beat in here]
            if len(order) < len(kept):
                worst = next(beat for beat in kept if beat not in here)
            elif len(order) > 1:
                free = order[: -min(NEWEST_KEPT, len(order) - 1)]
                worst = min(free, key=lambda beat: _worth(beat, order, take))
            else:
                break
            del self._saved[worst]
            kept.remove(worst)

    def _saved_beats(self) -> list[Beat]:
        """Return the blocks with snapshots, oldest first.

        It does not iterate over the mapping, as blocks may go meanwhile: the window's thread holds some, too.
        """
        beats = (reference() for reference in self._saved.keyrefs())
        return sorted((beat for beat in beats if beat is not None), key=lambda beat: beat.block)


def _worth(beat: Beat, order: list[Beat], take: Sequence[Beat]) -> float:
    """Return how much the way back would lengthen without this snapshot, relative to its age.

    Args:
        beat: block of the snapshot, not the newest one that has one.
        order: blocks of the take that have snapshots, oldest first.
        take: blocks of the take.
    """
    place = order.index(beat)
    before = order[place - 1].block if place else -1
    gap = order[place + 1].block - before
    following = take[beat.block + 1] if beat.block + 1 < len(take) else beat
    weight = WEIGHT_OF_CHANGE if following.prompt != beat.prompt else 1.0
    return weight * gap / (len(take) - beat.block)


def default_budget(nbytes: int) -> int:
    """Return the memory for snapshots of `nbytes` bytes each: for several, if the host can spare it."""
    free = free_host_bytes()
    several = SNAPSHOTS_HELD * nbytes
    return max(BUDGET_BYTES, several if free is None else min(several, int(free * FREE_SHARE)))


def free_host_bytes() -> int | None:
    """Return the host's available memory in bytes; None if the system does not report it."""
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():  # the count of free pages excludes reclaimable file cache
        sizes = dict(line.split(":", 1) for line in meminfo.read_text(encoding="utf-8").splitlines())
        if "MemAvailable" in sizes:
            return int(sizes["MemAvailable"].split()[0]) * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # no such function or value
        return None
