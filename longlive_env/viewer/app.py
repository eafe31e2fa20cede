"""The viewer's main loop: events in, pictures out. Its parts are in the neighbouring modules."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache, partial

import pygame

from longlive_env import terminal
from longlive_env.viewer import inputs, remote
from longlive_env.viewer.actions import BY_NAME
from longlive_env.viewer.controls import Controls
from longlive_env.viewer.display import Mirror
from longlive_env.viewer.dock import pills_of
from longlive_env.viewer.eyes import Eyes
from longlive_env.viewer.messages import Messages
from longlive_env.viewer.news import News
from longlive_env.viewer.options import Options
from longlive_env.viewer.playback import Playback
from longlive_env.viewer.prompt_box import PromptBox
from longlive_env.viewer.prompt_file import PromptFile
from longlive_env.viewer.redraw import IDLE_S, Redraw
from longlive_env.viewer.screen import Scene, Screen
from longlive_env.viewer.series import Meter
from longlive_env.viewer.view import View
from longlive_env.viewer.window import Window
from longlive_env.viewer.worker import Worker
from longlive_env.viewer.writing import Writing

HINTS_S, FADE_S = 9.0, 0.6  # how long key hints are shown if no key is pressed
SUSPENDED_S = 2.0  # between two looks at the clock: the process was stopped, or the machine asleep


class App:
    """The viewer's loop; use it in a `with` statement, which finishes a recording in any case.

    Args:
        worker: worker of the world in play; started and stopped here.
        options: options of the viewer.
        clock: clock in seconds, the same as the worker's.
        mirror: mirror that shows the window instead of this screen; None for this screen.
    """

    def __init__(
        self,
        worker: Worker,
        options: Options,
        clock: Callable[[], float] = time.perf_counter,
        mirror: Mirror | None = None,
    ) -> None:
        self.worker = worker
        self.options = options
        self.running = True
        self.playback = Playback(worker.exchange)
        self.messages = Messages()
        self.controls = Controls(worker.exchange, worker.commands, self.playback, options, self._tell)
        self.meter = Meter()
        self._eyes = Eyes()
        self._exchange, self._commands = worker.exchange, worker.commands
        self._clock = clock
        self._mirror = mirror
        self._redraw = Redraw(travels=mirror is not None)
        self._news = News(self.messages, options.bindings, advises=not options.replays)
        self._mouse: tuple[int, int] | None = None  # in pixels
        self._held: set[int] = set()  # keys that are down
        self._left_box = False  # the last press of the mouse closed the prompt box
        self._hints_until = 0.0
        self._updated_at = 0.0
        self._opens_box = False  # whether there was no box when the keys being handled were pressed
        prompts = None if options.prompts is None else PromptFile(options.prompts, self._tell)
        hint = "{} keeps it for key {}".format(
            *(options.bindings.first(f"{kind}_1") for kind in ("prepare", "quick"))
        )
        self.writing = Writing(worker.exchange, worker.commands.ask, prompts, hint)
        for warning in options.bindings.warnings:
            self._tell(warning, wrong=True)

    def __enter__(self) -> App:
        self.window = Window(self.options, self._mirror)
        pygame.key.stop_text_input()
        self.screen = Screen()
        self.screen.stage.crisp = self.options.crisp
        self._gamepads = inputs.Gamepads()
        self.worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        told = cache(partial(terminal.tell, "finishing the recording"))  # once
        with terminal.on_interrupt(told):
            self.window.hide()  # pending work may take a while
            self.worker.stop()
            self._gamepads.close()
            self.window.close()

    @property
    def box(self) -> PromptBox | None:
        """The prompt being written, if any."""
        return self.writing.box

    def run(self) -> None:
        """Run until the window is closed. The world stands still while nobody watches a mirror."""
        while self.running:
            seen = self._mirror is None or self._mirror.watched(timeout_s=IDLE_S)
            if seen or pygame.event.peek(pygame.QUIT):  # also sent on a signal to end
                self.frame(wait=True)
            else:
                self.playback.stand_still(self._clock())

    def frame(self, *, wait: bool = False) -> None:
        """Handle pending events, show the next frame if it is due, draw if anything has changed.

        Args:
            wait: whether to wait for the next event or frame if there is nothing to do.
        """
        if wait:
            milliseconds = max(1, int(self._wait_s() * 1000))
            first = pygame.event.wait(milliseconds)
            events = [] if first.type == pygame.NOEVENT else [first]
        else:
            events = []
        events += pygame.event.get()
        self._opens_box = self.box is None
        for event in events:
            self.handle(event)
        self._update()
        if self._redraw.due:
            self.draw()
            self.window.show(writing=self.box is not None)
            self._redraw.drawn(self._clock())

    def handle(self, event: pygame.Event) -> None:
        """React to one event."""
        if event.type == pygame.MOUSEMOTION:
            self._redraw.hover()
        else:
            self._redraw.ask()
        if event.type in (pygame.QUIT, pygame.WINDOWCLOSE):
            self.running = False
        elif event.type == pygame.KEYDOWN:
            self._key(event)
        elif event.type == pygame.KEYUP:
            self._held.discard(event.key)
        elif event.type == pygame.TEXTINPUT:
            self.writing.type(event.text)
        elif event.type == pygame.TEXTEDITING:
            self.writing.compose(event.text)
        elif event.type in (pygame.MOUSEBUTTONDOWN, pygame.MOUSEMOTION, pygame.MOUSEBUTTONUP):
            self._pointer(event)
        elif event.type == pygame.WINDOWLEAVE:
            self._mouse = None
        elif event.type == remote.RESIZED:
            self.window.fit(event.size, event.density)
        elif pad := self._gamepads.chord(event):
            self._press(pad)

    def draw(self) -> pygame.Surface:
        """Draw everything; returns the surface."""
        surface = self.window.surface()
        self.screen.draw(surface, self._scene(), self.window.scale())
        if self.box is not None:
            self.writing.place(self.window.points(self.box.caret))
        return surface

    def _scene(self) -> Scene:
        now, view = self._clock(), self._exchange.view()
        busy, failure = self._exchange.status()
        waiting = view is not None and self._waits(view)
        return Scene(
            now=now,
            view=view,
            position=self.playback.position,
            wanted=self._exchange.wanted(),
            pills=pills_of(view, self.playback, now, waiting=waiting),
            busy=busy,
            failure=failure,
            open=self.controls.open,
            box=self.box,
            bindings=self.options.bindings,
            steering=self.controls.steering,
            statistics=self.meter.statistics,
            seen=self._eyes.look(self.playback, view)
            if view is not None and self.controls.open.stats
            else (),
            gamepad=self._gamepads.present,
            hints=min(1.0, max(0.0, (self._hints_until - now) / FADE_S)),
            messages=self.messages.shown(now),
            mouse=self._mouse,
        )

    def _update(self) -> None:
        """Bring what is shown up to date."""
        now = self._clock()
        if now - self._updated_at > SUSPENDED_S:
            self.playback.stand_still(now)
        self._updated_at = now
        scenario = self._exchange.take_scenario()  # before notices, which may outdate errors but not its own
        self._news.tell(self._exchange.take_notices(), now)
        view = self._exchange.view()
        if view is None:
            self._redraw.ask()  # there is an animation while the world loads
            return
        if self.controls.steering is None:
            self._meet(view)
        if scenario is not None:
            self.controls.follow(scenario, view.config.vocabulary)
        if self.playback.update(view, now) and self.playback.frame is not None:
            self.screen.stage.show(self.playback.frame)
            self._redraw.ask()
        if self._exchange.status()[0] is not None and self.playback.at_end:
            self.playback.stand_still(now)  # on purpose, so no sign of a slow world
        self._news.update(self.playback, view, now)
        if self.meter.update(self.playback, self._exchange.queued(), now):
            self._redraw.ask()
        busy = self._exchange.status() != (None, None)
        told = bool(self.messages.shown(now))
        self._redraw.update(now, moves=busy or told or self.box is not None or now < self._hints_until)

    def _meet(self, view: View) -> None:
        """Set up for a world that has loaded."""
        self.controls.follow(self.options.scenario, view.config.vocabulary)
        if self.options.agent_first:
            self._commands.toggle_seat()
        self._hints_until = self._clock() + HINTS_S

    def _wait_s(self) -> float:
        """Return the seconds in which nothing happens unless an event comes."""
        moves = self._exchange.view() is None or self._exchange.status() != (None, None)
        return self._redraw.wait_s(None if moves else self.playback.wait_s(self._clock()))

    def _waits(self, view: View) -> bool:
        """Return whether a prompt was requested whose first frame has yet to come."""
        played = self.playback.played
        return played is not None and self._exchange.wanted() != played.beat.prompt and view.seat == "you"

    def _key(self, event: pygame.Event) -> None:
        box, chord = self.box, inputs.chord(event)
        again = self._mirror is None and event.key in self._held  # a mirror tells of no key that is let go
        self._held.add(event.key)
        if not self.writing.key(event) and chord:
            if box is None or not again:  # held keys repeat in the box, where other keys act once
                self._press(chord)
        elif box is not None and box is self.box and (typed := self._typed(event)):
            self.writing.type(typed)

    def _typed(self, event: pygame.Event) -> str:
        """Return what a key types if no event says so.

        Without a mirror, SDL sends text itself, but not for keys that came with the one that opened the box.
        """
        if hasattr(event, "typed"):
            return str(event.typed)
        command = {"ctrl", "alt"} & set(inputs.modifiers(event))
        return event.unicode if self._opens_box and event.unicode.isprintable() and not command else ""

    def _press(self, chord: str) -> None:
        self._hints_until = min(self._hints_until, self._clock() + FADE_S)
        action = self.controls.press(chord)
        if action is None:
            return
        if action == "prompt":
            self.writing.open()
        elif BY_NAME[action].kind == "prepare":
            if prompt := self.writing.prepare():
                self.controls.prepare(BY_NAME[action].number, prompt)
        elif action == "scaling":
            self.screen.stage.crisp = not self.screen.stage.crisp
            self._tell("Crisp pixels" if self.screen.stage.crisp else "Smooth pixels")
        elif action == "fullscreen":
            self._toggle_fullscreen()
        elif action == "screenshot":
            self._screenshot()
        elif action == "dismiss":
            self._dismiss()
        elif action == "quit":
            self.running = False

    def _toggle_fullscreen(self) -> None:
        if not self.window.toggle_fullscreen():
            self._tell("The browser makes it full screen: F11")

    def _pointer(self, event: pygame.Event) -> None:
        point = self._mouse = self.window.pixel(event.pos)
        pressed = event.type == pygame.MOUSEBUTTONDOWN and event.button == 1
        covered = pressed and self.controls.open.help  # which is over the box
        box = self.box
        if (not covered and self.writing.pointer(event, point)) or not pressed:
            return
        left = box is not None and self.box is None  # a press beside the box leaves it
        again = getattr(event, "clicks", 1) > 1
        second, self._left_box = again and self._left_box, left  # of a double click that has left the box
        if not second and (not left or self._exchange.stoppable or self._steers(point)):
            self._click(point, again=again)

    def _steers(self, point: tuple[int, int]) -> bool:
        """Return whether a press that leaves the prompt box also counts: not one on picture or timeline."""
        return self.screen.sheet_at(point) is not None or self.screen.places.cards.collidepoint(point)

    def _click(self, point: tuple[int, int], *, again: bool) -> None:
        view = self._exchange.view()
        if self._exchange.stoppable:
            if not again:  # the second click of a double click is part of the first
                self._exchange.halt()
        elif self.controls.open.help:
            self.controls.open.help = False
        elif (sheet := self.screen.sheet_at(point)) is not None:
            if (change := sheet.change_at(point)) is not None:
                self.controls.change(change)
        elif view is not None:
            timeline = self.screen.timeline
            bookmark, block = timeline.bookmark_at(point), timeline.block_at(point, view)
            if bookmark is not None:
                self._commands.return_to(bookmark)
            elif block is not None:
                self._commands.rewind(block)
            elif (ahead := timeline.ahead_at(point, view)) is not None:
                self._commands.go_ahead(ahead)
            elif self.screen.places.cards.collidepoint(point):
                self.controls.do("cards")
            elif self.screen.places.caption.collidepoint(point):
                self.writing.open()
            elif self.screen.stage.rect.collidepoint(point):
                self.controls.do("pause")

    def _dismiss(self) -> None:
        opened = self.controls.open
        if self._exchange.halt():
            return
        if opened.help:
            opened.help = False
        elif opened.cards or opened.stats:
            opened.cards = opened.stats = False
        elif not opened.dock:
            opened.dock = True
        elif self.window.fullscreen:
            self._toggle_fullscreen()
        else:
            self.messages.clear()
            self._tell(f"{self.options.bindings.first('quit')} quits")

    def _screenshot(self) -> None:
        self.draw()
        self.controls.save_image("screenshot", self.window.picture())

    def _tell(self, text: str, *, wrong: bool = False) -> None:
        self.messages.add(text, self._clock(), wrong=wrong)
        self._redraw.ask()
