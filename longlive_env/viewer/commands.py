"""Commands from a window to a session, run between two blocks in the order given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from longlive_env.engine.config import RECACHE_MODES
from longlive_env.errors import LongLiveError
from longlive_env.frames import Frames
from longlive_env.scenario import Scenario, lint_in
from longlive_env.viewer.direction import Steerer, Wish, as_wish
from longlive_env.viewer.exchange import Command, Exchange
from longlive_env.viewer.session import Session
from longlive_env.viewer.take import Take
from longlive_env.viewer.tape import Tape
from longlive_env.viewer.view import view_of

WARNINGS = 2  # maximum shown about a scenario; more would hide the picture
RECENT_BLOCKS = 2  # after a step back, in which another one goes further


class Commands:
    """The commands, to be called from the window's thread at any time.

    Args:
        exchange: exchange that takes them to the worker.
        tape: recorder of what was shown.
        clock: clock in seconds, by which requests are timed.
    """

    def __init__(self, exchange: Exchange, tape: Tape, clock: Callable[[], float]) -> None:
        self._exchange = exchange
        self._tape = tape
        self._clock = clock
        self._landed: tuple[int, int] | None = None  # position and epoch reached by a step back to a change

    def ask(self, wish: str | Wish) -> None:
        """Change the prompt; blocks that were generated ahead are discarded.

        Args:
            wish: a prompt, or a function of the prompt that the next block would have.
        """
        asked_at = self._clock()
        change = as_wish(wish)

        def run(session: Session) -> None:
            if session.position > self._exchange.shown and not self._exchange.must_show:
                if not session.changes(change):
                    return
                self._take_back(session)
            self._landed = None
            session.ask(change, asked_at)

        self._exchange.send(Command(run, outdates=True), asking=change)

    def rewind(self, position: int) -> None:
        """Go back to where the take had `position` blocks."""
        self._jump(lambda session: session.rewind(position, self._progress))

    def rewind_block(self) -> None:
        """Go back to before the block on show at the time this runs, so that quick presses add up."""
        self._jump(lambda session: session.rewind(max(0, self._exchange.shown - 1), self._progress))

    def rewind_change(self) -> None:
        """Go back to right before the last prompt change, even one not seen yet.

        Shortly after such a step back, this goes to the change before that.
        """

        def go(session: Session) -> Frames | None:
            shown = self._exchange.shown
            if session.asked_after(shown):
                return session.rewind(shown, self._progress)
            epoch, landed = self._landed or (None, 0)
            recent = epoch == self._exchange.epoch and 0 <= shown - landed <= RECENT_BLOCKS
            at = session.history.change_before(landed if recent and landed else shown)
            still = session.rewind(at, self._progress)
            self._landed = (self._exchange.epoch + 1, at)
            return still

        self._jump(go)

    def go_ahead(self, position: int) -> None:
        """Generate without showing until the take has `position` blocks, and continue the picture there.

        It ends early when it is stopped, something else is requested, or a block fails.
        """

        def run(session: Session) -> None:
            self._tape.add_seen(session)
            left = session.history.branch(self._exchange.shown)
            self._take_back(session)
            count, still = position - session.position, session.frames
            try:
                for done in range(count):
                    if self._exchange.halted:
                        break
                    self._exchange.set_busy(f"Going ahead: {done} of {count} blocks · a click stops")
                    played = session.advance()
                    self._exchange.pass_by(played)
                    still = played.frames
            finally:
                session.history.remember(left)
                self._land(session, still)

        self._exchange.send(Command(run, outdates=True, stoppable=True))

    def reset(self, seed: int | None = None) -> None:
        """Start another take with the prompt in force."""
        self._jump(lambda session: session.reset(seed, self._exchange.shown))

    def restart(self, seed: int | None = None) -> None:
        """Restart the scenario."""
        self._jump(lambda session: session.restart(seed))

    def reload(self, read: Callable[[], Scenario]) -> None:
        """Reload and start the scenario; if it cannot be read or played, nothing changes."""

        def go(session: Session) -> None:
            scenario = read()
            plan = scenario.plan(session.world.config)
            warnings = lint_in(session.world, scenario)
            session.change_scenario(plan)
            self._exchange.tell(f"Read again: {scenario.file or scenario.name}", settles=True)
            for warning in warnings[:WARNINGS]:
                self._exchange.tell(warning, wrong=True)
            self._exchange.change_scenario(scenario)

        self._jump(go)

    def undo(self) -> None:
        """Return to the take that the last jump left."""
        self._jump(lambda session: session.undo(self._exchange.shown, self._progress), leaves=False)

    def keep_bookmark(self, number: int | None = None) -> None:
        """Bookmark the world after the block on show."""

        def run(session: Session) -> None:
            kept = session.keep_bookmark(self._exchange.shown, number)
            self._exchange.tell(f"Bookmark {kept} kept · a click on its flag returns to it")

        self._exchange.send(Command(run))

    def return_to(self, number: int) -> None:
        """Resume from a bookmark."""
        self._jump(lambda session: session.return_to(number))

    def toggle_seat(self) -> None:
        """Give the seat to the agent, or take it back."""

        def run(session: Session) -> None:
            seat: Steerer = "you" if session.seat == "agent" else "agent"
            session.take_seat(seat)
            self._take_back(session)
            self._exchange.tell(
                "The agent steers · the same key takes the seat back" if seat == "agent" else "You steer"
            )

        self._exchange.send(Command(run, outdates=True))

    def cycle_recache(self) -> None:
        """Select the next recache mode for future switches."""

        def run(session: Session) -> None:
            following = RECACHE_MODES.index(session.recache) + 1
            session.recache = RECACHE_MODES[following % len(RECACHE_MODES)]
            self._exchange.tell(f"Recache: {session.recache}")

        self._exchange.send(Command(run))

    def record(self, folder: Path) -> None:
        """Start recording into a folder, from the block on show; or stop a running recording."""
        self._exchange.send(Command(lambda session: self._tape.toggle(session, folder)))

    def save_scenario(self, save: Callable[[Take], str]) -> None:
        """Pass the shown part of the take to `save`, and show the message that it returns."""

        def run(session: Session) -> None:
            self._exchange.tell(save(Take.of(session, self._exchange.shown)))

        self._exchange.send(Command(run, keep=True))

    def _jump(self, go: Callable[[Session], Frames | None], *, leaves: bool = True) -> None:
        """Send a command after which the picture continues elsewhere.

        If it has to generate blocks again, it can be stopped, and with it those that wait behind it; then the
        world stays where it was.

        Args:
            go: function that does it and returns the frames of the previous block.
            leaves: whether `undo` returns to the take that this leaves.
        """

        def run(session: Session) -> None:
            if self._exchange.told_to_stop:
                return
            self._tape.add_seen(session)
            left = session.history.branch(self._exchange.shown) if leaves else None
            try:
                still = go(session)
            except _Stopped:
                session.recover(self._recovering)
                self._exchange.tell("Stopped: the world is where it was")
                return
            if left is not None:
                session.history.remember(left)
            self._land(session, still)

        self._exchange.send(Command(run, outdates=True))

    def _land(self, session: Session, still: Frames | None) -> None:
        """Continue the picture from where the session is."""
        self._exchange.jumped(session.position, still)
        self._exchange.publish(view_of(session, self._tape.folder))

    def _take_back(self, session: Session) -> None:
        """Discard unseen blocks."""
        session.take_back(self._exchange.shown)
        self._exchange.discard()

    def _progress(self, done: int, count: int) -> None:
        """Show how far a way back is, and stop it on request."""
        if self._exchange.told_to_stop and done < count:
            raise _Stopped
        self._tell_progress("Generating again", done, count, " · a click stops and stays here")

    def _recovering(self, done: int, count: int) -> None:
        """Show how far the world is from where it was before a way back was stopped."""
        self._tell_progress("Staying here", done, count)

    def _tell_progress(self, what: str, done: int, count: int, how_to_stop: str = "") -> None:
        if self._exchange.stopping:
            raise LongLiveError("the window was closed on the way back")
        stoppable = bool(how_to_stop) and done < count
        text = f"{what}: {done} of {count} blocks{how_to_stop if stoppable else ''}"
        self._exchange.set_busy(text, stoppable=stoppable)


class _Stopped(Exception):
    """The user has stopped a way back."""
