"""The exchange between the window's thread and the worker's thread, under one lock.

Shapes: T pixel frames per block, H rows, W columns.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from longlive_env.frames import Frames
    from longlive_env.scenario import Scenario
    from longlive_env.viewer.direction import Wish
    from longlive_env.viewer.history import Beat
    from longlive_env.viewer.session import Played, Session
    from longlive_env.viewer.view import View

Item = TypeVar("Item")

AHEAD = 1  # number of blocks that may wait to be shown


@dataclass(frozen=True)
class Notice:
    """A message for the user; `wrong` if something did not work, `settles` if earlier errors are outdated."""

    text: str
    wrong: bool = False
    settles: bool = False


@dataclass(frozen=True)
class Command:
    """Something to do between two blocks.

    Attributes:
        run: function that does it.
        outdates: whether it outdates unseen blocks, which then must not be shown.
        keep: whether it keeps something, and so runs even if the window closes before its turn.
        stoppable: whether it may take long, and ends early on request.
    """

    run: Callable[[Session], None]
    outdates: bool = False
    keep: bool = False
    stoppable: bool = False


class Exchange:
    """Commands go from the window to the worker; blocks, views and messages come back."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._commands: deque[Command] = deque()
        self._ready: deque[Played] = deque()
        self._seen: deque[Played] = deque()  # taken by the window, not yet recorded
        self._notices: deque[Notice] = deque()
        self._newest: Played | None = None  # taken by the window
        self._shown = 0
        self._epoch = 0
        self._still: Frames | None = None
        self._outdating = 0  # pending commands that outdate ready blocks
        self._stoppable = 0  # pending commands that may be stopped
        self._breakable = False  # whether what keeps the worker busy may be stopped, too
        self._pending = 0  # commands that are not done
        self._halting = 0  # of these, the first so many should stop, if they can
        self._passed: deque[Beat] = deque()  # blocks that were not shown
        self._discarded = False  # whether a block was discarded since the window last took one
        self._starved = False  # whether the window has asked in vain since then
        self._scenario: Scenario | None = None  # a new one
        self._view: View | None = None
        self._asking: str | None = None  # prompt that the view does not include yet
        self._failure: str | None = None
        self._busy: str | None = "Loading the world"
        self._stopping = False

    # For the window.

    def take(self, epoch: int | None = None) -> Played | None:
        """Take the next block to show, if it is ready; from now on it counts as seen.

        Args:
            epoch: number of jumps that the caller knows of; after another one there is nothing to take.
        """
        with self._changed:
            if self._outdating or not self._ready or epoch not in (None, self._epoch):
                self._starved = True
                return None
            played = self._ready.popleft()
            self._newest, self._shown, self._still = played, played.beat.block + 1, None
            self._discarded = self._starved = False
            self._seen.append(played)
            self._changed.notify_all()
            return played

    def coming(self) -> Frames | None:
        """The frames of the next block, if it is ready, uint8 [T, H, W, 3]; it does not count as seen."""
        with self._changed:
            return None if self._outdating or not self._ready else self._ready[0].frames

    def view(self) -> View | None:
        """The world in play; None before it is loaded."""
        with self._changed:
            view = self._view
            return view and replace(view, shown=self._shown, epoch=self._epoch, still=self._still)

    def status(self) -> tuple[str | None, str | None]:
        """Return what keeps the worker busy apart from generating, and what went wrong, if anything."""
        with self._changed:
            return self._busy, self._failure

    def wanted(self) -> str:
        """Return the prompt that was requested last, or is in force."""
        with self._changed:
            return self._asking or (self._view.wanted if self._view is not None else "")

    def queued(self) -> int:
        """Return the number of blocks that wait to be shown."""
        with self._changed:
            return len(self._ready)

    def take_notices(self) -> list[Notice]:
        """Take the messages since the last call."""
        with self._changed:
            return _drained(self._notices)

    def send(self, command: Command, asking: Wish | None = None) -> None:
        """Send a command.

        Args:
            command: the command.
            asking: function that it applies to the wanted prompt, if any; takes effect at once.
        """
        with self._changed:
            if asking is not None:
                self._asking = asking(self.wanted())
            self._commands.append(command)
            self._pending += 1
            self._outdating += command.outdates
            self._stoppable += command.stoppable
            self._changed.notify_all()

    @property
    def stoppable(self) -> bool:
        """Whether there is anything for `halt` to stop."""
        with self._changed:
            return self._stoppable > 0 or self._breakable

    def halt(self) -> bool:
        """Stop what may be stopped, with all that was sent so far; returns whether there is anything."""
        with self._changed:
            self._halting = self._pending if (stops := self.stoppable) else 0
            return stops

    def take_scenario(self) -> Scenario | None:
        """Take the scenario that replaced the previous one, if that happened since the last call."""
        with self._changed:
            scenario, self._scenario = self._scenario, None
            return scenario

    def take_passed(self) -> list[Beat]:
        """Take the blocks that passed unseen since the last call."""
        with self._changed:
            return _drained(self._passed)

    # For the worker.

    @property
    def shown(self) -> int:
        """Blocks that the window has taken; after a jump, its target."""
        with self._changed:
            return self._shown

    @property
    def epoch(self) -> int:
        """Number of jumps so far."""
        with self._changed:
            return self._epoch

    @property
    def must_show(self) -> bool:
        """Whether ready blocks have to be shown although a command outdates them.

        Otherwise, prompts that come faster than blocks could keep the picture from ever changing.
        """
        with self._changed:
            return self._starved and self._discarded and bool(self._ready)

    @property
    def has_room(self) -> bool:
        """Whether another block is wanted."""
        with self._changed:
            return self._failure is None and not self._stopping and len(self._ready) < AHEAD

    @property
    def stopping(self) -> bool:
        """Whether the worker should end."""
        with self._changed:
            return self._stopping

    @property
    def halted(self) -> bool:
        """Whether a stoppable command should stop, on request or because something else is wanted."""
        with self._changed:
            return self._halting > 0 or self._stopping or self._outdating > 1

    @property
    def told_to_stop(self) -> bool:
        """Whether the user wants the command that runs to stop, if it can."""
        with self._changed:
            return self._halting > 0

    def take_commands(self) -> list[Command]:
        """Take the commands to run; call `done` after each."""
        with self._changed:
            return _drained(self._commands)

    def put_back(self, commands: Sequence[Command]) -> None:
        """Put back commands that could not be run yet, ahead of all others."""
        with self._changed:
            self._commands.extendleft(reversed(commands))

    def done(self, command: Command) -> None:
        """Note that a command has been run, or has failed."""
        with self._changed:
            self._outdating -= command.outdates
            self._stoppable -= command.stoppable
            self._pending -= 1
            self._halting = max(0, self._halting - 1)
            self._busy, self._breakable = None, False

    def keep_the_rest(self) -> None:
        """Drop all commands except those that keep something."""
        with self._changed:
            self._commands = deque(command for command in self._commands if command.keep)

    def deliver(self, played: Played) -> None:
        """Deliver a block to the window."""
        with self._changed:
            self._ready.append(played)

    def change_scenario(self, scenario: Scenario) -> None:
        """Note that another scenario is played."""
        with self._changed:
            self._scenario = scenario

    def pass_by(self, played: Played) -> None:
        """Skip a block unseen; its goals and remarks are still reported, after the next jump."""
        with self._changed:
            self._passed.append(played.beat)

    def discard(self) -> None:
        """Discard ready blocks."""
        with self._changed:
            self._discarded = self._discarded or bool(self._ready)
            self._ready.clear()

    def jumped(self, position: int, still: Frames | None) -> None:
        """Continue the picture after `position` blocks; meanwhile it shows the last frame of `still`."""
        with self._changed:
            self._ready.clear()
            self._shown, self._still = position, still
            self._discarded = self._starved = False
            self._epoch += 1

    def take_seen(self) -> list[Played]:
        """Return the blocks that the window has taken since the last call."""
        with self._changed:
            return _drained(self._seen)

    def see_again(self, beats: Sequence[Beat]) -> None:
        """Count the block on show as just taken, if the window has taken it and it belongs to the take.

        Args:
            beats: blocks of the take.
        """
        with self._changed:
            newest = self._newest
            if newest is not None and newest.beat in beats[: self._shown][-1:] and newest not in self._seen:
                self._seen.appendleft(newest)

    def publish(self, view: View) -> None:
        """Publish a new view of the world in play."""
        with self._changed:
            self._view = view
            if not self._commands:
                self._asking = None

    def tell(self, text: str, *, wrong: bool = False, settles: bool = False) -> None:
        """Show a message to the user."""
        with self._changed:
            self._notices.append(Notice(text, wrong, settles))

    def set_busy(self, what: str | None, *, stoppable: bool = False) -> None:
        """Set what takes a while, and whether it ends early on request whatever the command says."""
        with self._changed:
            self._busy, self._breakable = what, stoppable

    def fail(self, why: str | None) -> None:
        """Set why the world has stopped; None clears it."""
        with self._changed:
            self._failure = why
            if why is not None:
                self._busy = None

    def wait(self, loaded: bool) -> None:
        """Wait until there is something to do; room for a block only counts once a world is loaded."""
        with self._changed:
            if not (self._stopping or self._commands or self._seen or (loaded and self.has_room)):
                self._changed.wait()

    def stop(self) -> None:
        """End the worker."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()


def _drained(queue: deque[Item]) -> list[Item]:
    """Return what a queue holds, and empty it."""
    items = list(queue)
    queue.clear()
    return items
