"""The thread that generates: one block ahead of the picture, obeying commands between blocks.

Shapes: T pixel frames of a block, H rows, W columns.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from longlive_env.engine.config import RECACHE_MODES
from longlive_env.envs.prompts import checked_prompt
from longlive_env.errors import OUT_OF_MEMORY, LongLiveError, PromptError, is_out_of_memory
from longlive_env.recording import LogHeader
from longlive_env.viewer.history import Frames
from longlive_env.viewer.session import Played, Seat, Session
from longlive_env.viewer.take import Take, TakeRecorder
from longlive_env.viewer.view import View, view_of

logger = logging.getLogger(__name__)

AHEAD = 1  # blocks that wait to be shown
LOADING_S = 0.5  # to wait for a world that is being loaded, when the window is closed
RECENT_BLOCKS = 2  # after a step back, for another one to go further


@dataclass(frozen=True)
class Notice:
    """A line for the person at the keyboard; `wrong` if something did not work."""

    text: str
    wrong: bool = False


@dataclass(frozen=True)
class Command:
    """Something to do between two blocks.

    Attributes:
        run: does it.
        stale: whether blocks that nobody has seen are older than this and must not be shown.
        keep: whether it keeps something, and so is done even if the window closes before its turn.
    """

    run: Callable[[Session], None]
    stale: bool = False
    keep: bool = False


class Worker:
    """Plays a session for a window. All public methods may be called from the window's thread at any time.

    Args:
        load: makes the session; called in the worker's thread, since loading a world takes a while.
        header: describes a recording of the session, whose `seed` and `recache` are filled in.
        clock: seconds; the one by which requests say when they were made.
        threaded: False leaves it to the caller to call `turn`, for tests.
    """

    def __init__(
        self,
        load: Callable[[], Session],
        header: Callable[[Session], LogHeader],
        *,
        clock: Callable[[], float] = time.perf_counter,
        threaded: bool = True,
    ) -> None:
        self._load = load
        self._header = header
        self._clock = clock
        self._session: Session | None = None
        self._recorder: TakeRecorder | None = None
        self._landed: int | None = None  # where the last step back to a change has led
        self._wake = threading.Condition()
        # What follows is shared between the threads, under `_wake`.
        self._commands: deque[Command] = deque()
        self._ready: deque[Played] = deque()
        self._seen: deque[Played] = deque()  # taken by the window, not yet recorded
        self._notices: deque[Notice] = deque()
        self._newest: Played | None = None  # that the window has taken
        self._shown = 0
        self._epoch = 0
        self._still: Frames | None = None
        self._stale = 0  # commands underway that what is ready is older than
        self._discarded = False  # whether a block was, since the window last took one
        self._starved = False  # whether the window has asked in vain since
        self._view: View | None = None
        self._asking: str | None = None  # a prompt that the view does not know yet
        self._failure: str | None = None
        self._busy: str | None = "Loading the world"
        self._stopping = False
        self._thread = (
            threading.Thread(target=self._loop, name="longlive-worker", daemon=True) if threaded else None
        )

    # What the window calls.

    def start(self) -> None:
        """Begin to generate."""
        if self._thread is not None:
            self._thread.start()

    def stop(self) -> None:
        """Finish the block, what is to be kept and the recording, and end the thread.

        A world that is still being loaded is left to the end of the process, as there is nothing to keep.
        Calling it twice is harmless.
        """
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(None if self._session is not None else LOADING_S)
        self._keep_the_rest()
        self._finish_recording()
        if self._session is not None:
            self._session.close()

    def take(self) -> Played | None:
        """The next block to show, if it is ready; it counts as seen from now on."""
        with self._wake:
            if self._stale or not self._ready:
                self._starved = True
                return None
            played = self._ready.popleft()
            self._newest, self._shown, self._still = played, played.beat.block + 1, None
            self._discarded = self._starved = False
            self._seen.append(played)
            self._wake.notify_all()
            return played

    def view(self) -> View | None:
        """The world in play; None before it is loaded."""
        with self._wake:
            view = self._view
            return view and replace(view, shown=self._shown, epoch=self._epoch, still=self._still)

    def status(self) -> tuple[str | None, str | None]:
        """What the worker is busy with other than generating, and what went wrong, if anything."""
        with self._wake:
            return self._busy, self._failure

    def wanted(self) -> str:
        """The prompt that was asked for last, or is in force."""
        with self._wake:
            return self._asking or (self._view.wanted if self._view is not None else "")

    def check(self, prompt: str) -> None:
        """Pass if the world can read a prompt.

        Raises:
            PromptError: it cannot, or there is none.
        """
        if self._session is not None and not checked_prompt(self._session.world, prompt):
            raise PromptError("the prompt is empty; describe a scene")

    def unknown_words(self, text: str) -> list[str]:
        """Words that the world does not know."""
        return self._session.world.unknown_words(text) if self._session is not None else []

    def queued(self) -> int:
        """Blocks that wait to be shown."""
        with self._wake:
            return len(self._ready)

    def notices(self) -> list[Notice]:
        """What there is to tell since the last call."""
        with self._wake:
            told = list(self._notices)
            self._notices.clear()
            return told

    def ask(self, prompt: str) -> None:
        """Change the prompt; blocks that were generated ahead are thrown away."""
        asked_at = self._clock()

        def run(session: Session) -> None:
            with self._wake:
                # Nobody may be kept from seeing anything by prompts that come faster than blocks.
                keep = self._starved and self._discarded and bool(self._ready)
            if not keep and session.position > self._shown_now():
                if prompt == session.wanted:
                    return
                self._take_back(session)
            self._landed = None
            session.ask(prompt, asked_at)

        with self._wake:
            self._asking = prompt
        self._send(run, stale=True)

    def rewind(self, position: int) -> None:
        """Go back to where the take had that many blocks."""
        self._jump(lambda session: session.rewind(position, self._progress))

    def rewind_block(self) -> None:
        """Go back to before the block on show when this is obeyed, so that quick presses add up."""
        self._jump(lambda session: session.rewind(max(0, self._shown_now() - 1), self._progress))

    def rewind_change(self) -> None:
        """Go back to right before the last prompt change, be it one that nobody has seen yet.

        Shortly after such a step back, the change before is meant.
        """

        def target(session: Session) -> Frames | None:
            shown = self._shown_now()
            if session.asked_after(shown):
                return session.rewind(shown, self._progress)
            recent = self._landed is not None and 0 <= shown - self._landed <= RECENT_BLOCKS
            at = session.history.change_before(self._landed if recent and self._landed else shown)
            self._landed = at
            return session.rewind(at, self._progress)

        self._jump(target)

    def reset(self, seed: int | None = None) -> None:
        """Start another take with the prompt in force."""

        def run(session: Session) -> Frames | None:
            session.reset(seed)
            return None

        self._jump(run)

    def undo(self) -> None:
        """Return to the take that the last jump has led away from."""
        self._jump(lambda session: session.undo(self._shown_now(), self._progress), leaves=False)

    def keep_bookmark(self, number: int | None = None) -> None:
        """Keep the world as it is after the block on show."""

        def run(session: Session) -> None:
            kept = session.keep_bookmark(self._shown_now(), number)
            self._tell(f"Bookmark {kept} kept · Shift+{kept} returns to it")

        self._send(run)

    def return_to(self, number: int) -> None:
        """Go on from a bookmark."""
        self._jump(lambda session: session.return_to(number))

    def toggle_seat(self) -> None:
        """Hand the seat to the agent, or take it back."""

        def run(session: Session) -> None:
            seat: Seat = "you" if session.seat == "agent" else "agent"
            session.take_seat(seat)
            self._take_back(session)
            self._tell("The agent steers · Tab takes the seat back" if seat == "agent" else "You steer")

        self._send(run, stale=True)

    def cycle_recache(self) -> None:
        """Another recache mode for the switches to come."""

        def run(session: Session) -> None:
            following = RECACHE_MODES.index(session.recache) + 1
            session.recache = RECACHE_MODES[following % len(RECACHE_MODES)]
            self._tell(f"Recache: {session.recache}")

        self._send(run)

    def record(self, folder: Path) -> None:
        """Start to record into a folder, with the block on show; or stop, if a recording is running."""

        def run(session: Session) -> None:
            if self._recorder is not None:
                self._finish_recording()
                return
            self._record_seen()
            self._recorder = TakeRecorder(folder, self._header(session))
            with self._wake:
                newest, here = self._newest, session.history.beats[: self._shown][-1:]
                if newest is not None and newest.beat in here and newest not in self._seen:
                    self._seen.appendleft(newest)
            self._tell(f"Recording into {self._recorder.folder}")

        self._send(run)

    def save_scenario(self, save: Callable[[Take], str]) -> None:
        """Hand what was shown of the take to `save`, whose answer is told."""

        def run(session: Session) -> None:
            self._tell(save(Take.of(session, self._shown_now())))

        self._send(run, keep=True)

    # What the thread does.

    def turn(self) -> bool:
        """Obey commands, record what was seen, generate a block if there is room; whether any was done."""
        try:
            done = self._open() or self._obey()
            self._publish(done)  # before a block is made, which takes its time
            done = self._record_seen() or done
            produced = self._produce()
            self._publish(produced)
        except Exception as error:
            self._fail(error)
            return True
        return done or produced

    def _loop(self) -> None:
        while True:
            done = self.turn()
            with self._wake:
                if self._stopping:
                    return
                if not done and not self._work_waits():
                    self._wake.wait()

    def _work_waits(self) -> bool:
        room = self._session is not None and self._failure is None and len(self._ready) < AHEAD
        return bool(self._commands or self._seen) or room

    def _open(self) -> bool:
        if self._session is not None or self._failure is not None:
            return False
        self._session = self._load()
        with self._wake:
            self._busy = None
        return True

    def _obey(self) -> bool:
        with self._wake:
            commands = list(self._commands)
            self._commands.clear()
        for number, command in enumerate(commands):
            try:
                if self._session is not None:
                    self._recover(command)
                    command.run(self._session)
            except (LongLiveError, OSError) as error:
                self._tell(str(error), wrong=True)
            except BaseException:
                with self._wake:  # the others are not to be lost with this one
                    self._commands.extendleft(reversed(commands[number + 1 :]))
                raise
            finally:
                with self._wake:
                    self._stale -= command.stale
                    self._busy = None
        return bool(commands)

    def _keep_the_rest(self) -> None:
        """Obey what the thread has left behind and is to be kept; nobody will see what else was asked for."""
        with self._wake:
            self._commands = deque(command for command in self._commands if command.keep)
        try:
            self._obey()
        except Exception as error:
            self._fail(error)

    def _recover(self, command: Command) -> None:
        """What went wrong is left behind by a command that changes what comes next."""
        if command.stale:
            with self._wake:
                self._failure = None

    def _produce(self) -> bool:
        session = self._session
        with self._wake:
            if session is None or self._failure is not None or self._stopping or len(self._ready) >= AHEAD:
                return False
        try:
            played = session.advance()
        except Exception as error:
            if session.seat != "agent":
                raise
            logger.warning("the agent has failed", exc_info=error)
            session.take_seat("you")
            self._tell(f"The agent has left its seat: {error}", wrong=True)
            return True
        with self._wake:
            self._ready.append(played)
        return True

    def _record_seen(self) -> bool:
        with self._wake:
            seen = list(self._seen)
            self._seen.clear()
        if self._recorder is not None and self._session is not None:
            try:
                for played in seen:
                    self._recorder.add(self._session, played)
            except (LongLiveError, OSError) as error:
                self._tell(f"The recording has stopped: {error}", wrong=True)
                self._close(self._recorder, complete=False)
        return bool(seen)

    def _finish_recording(self) -> None:
        if self._recorder is None:
            return
        self._record_seen()
        recorder = self._recorder  # which is there no more, if that failed
        if recorder is not None and self._close(recorder, complete=True):
            self._tell(f"Recorded {recorder.seconds:.1f} s in {recorder.folder}")

    def _close(self, recorder: TakeRecorder, *, complete: bool) -> bool:
        """Finish the files of the recording; whether that worked."""
        self._recorder = None
        try:
            recorder.close(complete=complete)
        except (LongLiveError, OSError) as error:
            self._tell(f"The recording in {recorder.folder} is unfinished: {error}", wrong=True)
            return False
        return True

    def _publish(self, changed: bool = True) -> None:
        """Make the view anew, if anything has changed."""
        session = self._session
        if session is None or not changed:
            return
        with self._wake:
            epoch, still, shown = self._epoch, self._still, self._shown
        recording = self._recorder.folder if self._recorder is not None else None
        view = view_of(session, epoch=epoch, still=still, shown=shown, recording=recording)
        with self._wake:
            self._view = view
            if not self._commands:
                self._asking = None

    def _fail(self, error: Exception) -> None:
        meant = isinstance(error, LongLiveError)  # which says it all, where others need their traceback
        logger.error("the world has stopped: %s", error, exc_info=None if meant else error)
        kind = "" if meant else f"{type(error).__name__}: "
        with self._wake:
            self._failure = (
                OUT_OF_MEMORY if is_out_of_memory(error) else f"{kind}{error}" or type(error).__name__
            )
            self._busy = None

    def _send(self, run: Callable[[Session], None], *, stale: bool = False, keep: bool = False) -> None:
        with self._wake:
            self._commands.append(Command(run, stale, keep))
            self._stale += stale
            self._wake.notify_all()

    def _jump(self, go: Callable[[Session], Frames | None], *, leaves: bool = True) -> None:
        """Send a command after which the picture goes on from elsewhere, and `undo` knows what it leaves."""

        def run(session: Session) -> None:
            self._record_seen()
            left = session.here(self._shown_now()) if leaves else None
            still = go(session)
            session.leave(left)
            with self._wake:
                self._ready.clear()
                self._shown, self._still = session.position, still
                self._discarded = self._starved = False
                self._epoch += 1
            self._publish()

        self._send(run, stale=True)

    def _take_back(self, session: Session) -> None:
        """Throw away what nobody has seen."""
        with self._wake:
            self._discarded = self._discarded or bool(self._ready)
            self._ready.clear()
        session.take_back(self._shown_now())

    def _shown_now(self) -> int:
        with self._wake:
            return self._shown

    def _progress(self, done: int, count: int) -> None:
        with self._wake:
            if self._stopping:
                raise LongLiveError("the window was closed on the way back")
            self._busy = f"Generating again what lies before: {done} of {count} blocks"

    def _tell(self, text: str, *, wrong: bool = False) -> None:
        with self._wake:
            self._notices.append(Notice(text, wrong))
