"""The thread that generates blocks, one ahead of the picture, and runs commands between blocks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from longlive_env.errors import (
    OUT_OF_MEMORY,
    AgentError,
    LongLiveError,
    is_out_of_memory,
)
from longlive_env.recording import LogHeader
from longlive_env.viewer.breakable import Breakable
from longlive_env.viewer.commands import Commands
from longlive_env.viewer.exchange import Command, Exchange
from longlive_env.viewer.session import Session
from longlive_env.viewer.tape import Tape
from longlive_env.viewer.view import view_of

logger = logging.getLogger(__name__)


class Worker:
    """Plays a session for a window.

    Args:
        load: function that makes the session; called in the worker's thread, since loading takes a while.
        header: header for a recording of the session, whose `name`, `seed`, `recache` and `goals` are filled
            in.
        clock: clock in seconds, by which requests are timed.
        threaded: whether to start a thread; if False, the caller calls `turn`, for tests.

    Attributes:
        exchange: exchange of blocks, views and messages with the window.
        commands: commands that the window can give.
        broken: whether the world could not be loaded.
    """

    def __init__(
        self,
        load: Callable[[], Session],
        header: Callable[[Session], LogHeader],
        *,
        clock: Callable[[], float] = time.perf_counter,
        threaded: bool = True,
    ) -> None:
        self.exchange = Exchange()
        self._tape = Tape(self.exchange, header)
        self.commands = Commands(self.exchange, self._tape, clock)
        self._load = load
        self._session: Session | None = None
        self.broken = False
        self._thread = Breakable(self._loop, name="longlive-worker") if threaded else None

    def start(self) -> None:
        """Start generating."""
        if self._thread is not None:
            self._thread.start()

    def stop(self) -> None:
        """Finish the block, commands that keep something and the recording, and end the thread.

        Loading a world is aborted, as there is nothing to keep. Calling it twice is harmless.
        """
        self.exchange.stop()
        session = self._session
        if session is not None:
            session.let_go()
        if self._thread is not None and self._thread.is_alive():
            if session is None:
                self._thread.break_off()
            else:
                self._thread.join()
        if session is not None:
            self._keep_the_rest(session)
            session.close()

    def turn(self) -> bool:
        """Run commands, record seen blocks, generate one if there is room; returns whether any was done."""
        try:
            session, opened = self._open()
            if session is None:
                return self._refuse() or opened
            done = self._obey(session) or opened
            self._publish(session, done)  # before the block, which takes a while
            done = self._tape.add_seen(session) or done
            produced = self._produce(session)
            self._publish(session, produced)
        except Exception as error:
            self._fail(error)
            return True
        return done or produced

    def _loop(self) -> None:
        while True:
            done = self.turn()
            if self.exchange.stopping:
                return
            if not done:
                self.exchange.wait(loaded=self._session is not None)

    def _open(self) -> tuple[Session | None, bool]:
        """Return the session, if there is one, and whether it is new."""
        if self._session is not None or self.broken:
            return self._session, False
        try:
            self._session = self._load()
        except Exception:
            self.broken = True
            raise
        self.exchange.set_busy(None)
        return self._session, True

    def _refuse(self) -> bool:
        """Drop commands, as there is no world to run them; returns whether there were any."""
        commands = self.exchange.take_commands()
        for command in commands:
            self.exchange.done(command)
        return bool(commands)

    def _obey(self, session: Session) -> bool:
        commands = self.exchange.take_commands()
        for number, command in enumerate(commands):
            try:
                self._run(command, session)
            except (LongLiveError, OSError) as error:
                self.exchange.tell(str(error), wrong=True)
            except BaseException:
                self.exchange.put_back(commands[number + 1 :])  # keeps the others if this one fails
                raise
            finally:
                self.exchange.done(command)
        return bool(commands)

    def _run(self, command: Command, session: Session) -> None:
        if command.outdates:  # clears the failure, as it changes what comes next
            self.exchange.fail(None)
        command.run(session)

    def _keep_the_rest(self, session: Session) -> None:
        """Run remaining commands that keep something; the others would have no visible effect any more."""
        self.exchange.keep_the_rest()
        for finish in (self._obey, self._tape.add_seen, lambda _: self._tape.finish()):
            try:
                finish(session)
            except Exception as error:
                self._fail(error)

    def _produce(self, session: Session) -> bool:
        if not self.exchange.has_room:
            return False
        try:
            self.exchange.deliver(session.advance())
        except AgentError as error:
            if self.exchange.stopping:
                return False
            logger.warning("the agent has failed", exc_info=error)
            session.take_seat("you")
            self.exchange.tell(f"The agent has left its seat: {error}", wrong=True)
        return True

    def _publish(self, session: Session, changed: bool) -> None:
        """Publish a new view, if anything has changed."""
        if changed:
            self.exchange.publish(view_of(session, self._tape.folder))

    def _fail(self, error: Exception) -> None:
        meant = isinstance(error, LongLiveError)  # its message suffices; others need their traceback
        logger.error("the world has stopped: %s", error, exc_info=None if meant else error)
        kind = "" if meant else f"{type(error).__name__}: "
        self.exchange.fail(
            OUT_OF_MEMORY if is_out_of_memory(error) else f"{kind}{error}" or type(error).__name__
        )
