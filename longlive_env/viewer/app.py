"""The window: events in, pictures out. Everything that is not about windows lies in the modules beside."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from types import TracebackType

import pygame

from longlive_env.viewer import inputs, remote
from longlive_env.viewer.controls import Controls
from longlive_env.viewer.display import Mirror, open_display
from longlive_env.viewer.dock import pills_of
from longlive_env.viewer.messages import SECONDS_NOTE, Messages
from longlive_env.viewer.options import Options
from longlive_env.viewer.playback import Playback
from longlive_env.viewer.prompt_box import PromptBox
from longlive_env.viewer.scaling import PREPARED, opening_size
from longlive_env.viewer.screen import Scene, Screen
from longlive_env.viewer.series import Meter
from longlive_env.viewer.steering import Steering
from longlive_env.viewer.view import View
from longlive_env.viewer.worker import Worker
from longlive_env.viewer.writing import Writing

SMALLEST = (480, 300)  # points
IDLE_S = 0.1  # between two looks when nothing moves
ANIMATION_S = 1 / 30  # between two pictures of what moves over a frame
TRAVELLING_S = 1 / 10  # the same, where pictures travel to a mirror
SLOW_S = 10.0  # that a world stays behind the video's speed until there is advice
FEW = 2  # denoising steps
FASTER = f"Too slow for this machine? longlive play --steps {FEW} takes fewer denoising steps a block"
HINTS_S, FADE_S = 9.0, 0.6  # how long the first keys are shown to somebody who presses none


class App:
    """The viewer's window; use it in a `with` statement, which finishes a recording whatever happens.

    Args:
        worker: of the world in play; started and stopped here.
        options: of the viewer.
        clock: seconds; the same as the worker's.
        mirror: where the window is seen instead of on this screen; None for here.
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
        self.playback = Playback(worker)
        self.messages = Messages()
        self.controls = Controls(worker, self.playback, options, self._tell)
        self.writing = Writing(worker, self.controls.ask)
        self.meter = Meter()
        self._clock = clock
        self._mirror = mirror
        self._animation_s = ANIMATION_S if mirror is None else TRAVELLING_S
        self._mouse: tuple[int, int] | None = None
        self._fullscreen = options.fullscreen
        self._density = 1.0  # of the screen that a mirror is seen on
        self._dirty = True
        self._hints_until = self._drawn_at = 0.0
        self._hovers = False  # whether the mouse has moved since the last picture
        self._keeps_up_at, self._advised = 0.0, False  # when the world did last, and whether help was offered
        self._moves = False  # whether something does over the frame on show
        self._ended = False  # whether the frame on show lies behind the end of the scenario
        for warning in options.bindings.warnings:
            self._tell(warning, wrong=True)

    def __enter__(self) -> App:
        for name, value in PREPARED.items():
            os.environ.setdefault(name, value)
        desktop = open_display()
        self._factor = self.options.ui_scale.on(desktop, pygame.display.get_driver(), os.environ)
        self.window = pygame.Window(
            self.options.title,
            self.options.size or opening_size(desktop, self._factor),
            resizable=True,
            allow_high_dpi=True,
            fullscreen_desktop=self._fullscreen,
        )
        self.window.minimum_size = SMALLEST
        pygame.key.stop_text_input()
        self.screen = Screen()
        self.screen.stage.crisp = self.options.crisp
        self._gamepads = inputs.Gamepads()
        self.worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.window.hide()  # what is under way may take a while
        self.worker.stop()
        self._gamepads.close()
        self.window.destroy()
        pygame.display.quit()

    @property
    def box(self) -> PromptBox | None:
        """The prompt being written, if any."""
        return self.writing.box

    def run(self) -> None:
        """Until somebody closes the window. The world stands still while nobody looks at a mirror."""
        while self.running:
            seen = self._mirror is None or self._mirror.watched(timeout_s=IDLE_S)
            if seen or pygame.event.peek(pygame.QUIT):  # which a signal to end sends, too
                self.frame(wait=True)
            else:
                self.playback.stand_still(self._clock())

    def frame(self, *, wait: bool = False) -> None:
        """Handle the events that are there, show the next frame if it is time, draw if anything has changed.

        Args:
            wait: for the next event or frame, if there is nothing to do yet.
        """
        if wait:
            milliseconds = max(1, int(self._wait_s() * 1000))
            first = pygame.event.wait(milliseconds)
            events = [] if first.type == pygame.NOEVENT else [first]
        else:
            events = []
        for event in [*events, *pygame.event.get()]:
            self.handle(event)
        self._update()
        if self._dirty:
            surface = self.draw()
            self.window.flip()
            self._drawn_at = self._clock()
            if self._mirror is not None:
                self._mirror.show(surface, writing=self.box is not None)
            self._dirty = self._hovers = False

    def handle(self, event: pygame.Event) -> None:
        """React to one event."""
        if event.type == pygame.MOUSEMOTION:
            self._hovers = True  # and is not drawn for each of its many steps
        else:
            self._dirty = True
        if event.type in (pygame.QUIT, pygame.WINDOWCLOSE):
            self.running = False
        elif event.type == pygame.KEYDOWN:
            self._key(event)
        elif event.type == pygame.TEXTINPUT:
            self.writing.type(event.text)
        elif event.type == pygame.TEXTEDITING:
            self.writing.compose(event.text)
        elif event.type in (pygame.MOUSEBUTTONDOWN, pygame.MOUSEMOTION, pygame.MOUSEBUTTONUP):
            self._pointer(event)
        elif event.type == pygame.WINDOWLEAVE:
            self._mouse = None
        elif event.type == remote.RESIZED:
            self.window.size, self._density = event.size, event.density
        elif pad := self._gamepads.chord(event):
            self._press(pad)

    def draw(self) -> pygame.Surface:
        """Draw everything; returns the window's surface."""
        surface = self.window.get_surface()
        density = self._density * self._factor * surface.get_width() / self.window.size[0]
        scale = self.options.ui_scale.pixels(surface.get_size(), density)
        self.screen.draw(surface, self._scene(), scale)
        return surface

    def _scene(self) -> Scene:
        now, view, clock = self._clock(), self.worker.view(), self.playback.clock
        busy, failure = self.worker.status()
        pills = pills_of(
            view,
            position=self.playback.position,
            paused=self.playback.paused,
            slow_fps=clock.speed(now) if clock.slow(now) else None,
            latency_s=self.playback.latency_s,
            waiting=view is not None and self._waits(view),
        )
        return Scene(
            now=now,
            view=view,
            position=self.playback.position,
            wanted=self.worker.wanted(),
            pills=pills,
            busy=busy,
            failure=failure,
            open=self.controls.open,
            box=self.box,
            bindings=self.options.bindings,
            steering=self.controls.steering,
            statistics=self.meter.statistics,
            gamepad=self._gamepads.present,
            hints=min(1.0, max(0.0, (self._hints_until - now) / FADE_S)),
            messages=self.messages.shown(now),
            mouse=self._mouse,
        )

    def _update(self) -> None:
        """Bring what is shown up to date."""
        now = self._clock()
        for notice in self.worker.notices():
            self._tell(notice.text, wrong=notice.wrong)
        view = self.worker.view()
        if view is None:
            self._dirty = True  # something moves while the world loads
            return
        if self.controls.steering is None:
            self._meet(view)
        if self.playback.update(view, now) and self.playback.frame is not None:
            self.screen.stage.show(self.playback.frame)
            self._dirty = True
        for goal in self.playback.reached:
            self._tell(f"Reached: {goal}")
        for remark in self.playback.remarks:
            self.messages.add(remark, now, seconds=SECONDS_NOTE)
        self.playback.reached.clear()
        self.playback.remarks.clear()
        ended = view.ends is not None and self.playback.position >= view.ends
        if ended and not self._ended:
            self._tell(_the_end(view))
        self._ended = ended
        self._advise(view, now)
        if self.meter.update(self.playback, self.worker.queued(), now):
            self._dirty = True
        busy = self.worker.status() != (None, None)
        moves = busy or self.box is not None or bool(self.messages.shown(now)) or now < self._hints_until
        due = now - self._drawn_at > 0.9 * self._animation_s  # more often would slow the world down
        if ((moves or self._hovers) and due) or moves != self._moves:  # what has faded away is drawn over
            self._dirty = True
        self._moves = moves

    def _advise(self, view: View, now: float) -> None:
        """Say once what makes a world faster that stays behind its video's speed."""
        if not self.playback.clock.slow(now):
            self._keeps_up_at = now
        elif not self._advised and now - self._keeps_up_at > SLOW_S and len(view.config.sampler.steps) > FEW:
            self._advised = True
            self.messages.add(FASTER, now, seconds=SECONDS_NOTE)

    def _meet(self, view: View) -> None:
        """The world is there."""
        self.controls.steering = Steering.of(self.options.scenario, view.config.name, self.options.bindings)
        for warning in self.controls.steering.warnings:
            self._tell(warning, wrong=True)
        if self.options.agent_first:
            self.worker.toggle_seat()
        self._hints_until = self._clock() + HINTS_S

    def _wait_s(self) -> float:
        """How long nothing will happen unless an event does."""
        view = self.worker.view()
        if view is None or self.worker.status() != (None, None):
            return self._animation_s
        wait = self.playback.wait_s(self._clock())
        return min(self._animation_s if self._hovers else IDLE_S, wait) if wait > 0 else 1 / 120

    def _waits(self, view: View) -> bool:
        """Whether a prompt was asked for whose first frame is yet to come."""
        played = self.playback.played
        return played is not None and self.worker.wanted() != played.beat.prompt and view.seat == "you"

    def _key(self, event: pygame.Event) -> None:
        box, chord = self.box, inputs.chord(event)
        if not self.writing.key(event) and chord:
            self._press(chord)
        elif box is not None and box is self.box and (typed := getattr(event, "typed", "")):
            self.writing.type(typed)  # elsewhere: SDL sends text by itself, after the key

    def _press(self, chord: str) -> None:
        self._hints_until = min(self._hints_until, self._clock() + FADE_S)
        action = self.controls.press(chord)
        if action == "prompt":
            self.writing.open()
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
        if self._mirror is not None:
            self._tell("The browser makes it full screen: F11")
            return
        self._fullscreen = not self._fullscreen
        if self._fullscreen:
            self.window.set_fullscreen(True)
        else:
            self.window.set_windowed()

    def _pointer(self, event: pygame.Event) -> None:
        surface, size = self.window.get_surface(), self.window.size
        x = round(event.pos[0] * surface.get_width() / size[0])  # the two differ on dense screens
        y = round(event.pos[1] * surface.get_height() / size[1])
        self._mouse = (x, y)
        if not self.writing.pointer(event, x) and event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
            self._click((x, y))

    def _click(self, point: tuple[int, int]) -> None:
        view = self.worker.view()
        if self.controls.open.help:
            self.controls.open.help = False
        elif view is not None:
            bookmark, block = (
                self.screen.timeline.bookmark_at(point),
                self.screen.timeline.block_at(point, view),
            )
            if bookmark is not None:
                self.worker.return_to(bookmark)
            elif block is not None:
                self.worker.rewind(block)
            elif self.screen.caption.collidepoint(point):
                self.writing.open()
            elif self.screen.stage.rect.collidepoint(point):
                self.controls.do("pause")

    def _dismiss(self) -> None:
        opened = self.controls.open
        if opened.help:
            opened.help = False
        elif opened.cards or opened.stats:
            opened.cards = opened.stats = False
        elif self._fullscreen:
            self._toggle_fullscreen()
        else:
            self.messages.clear()
            self._tell(f"{self.options.bindings.first('quit')} quits")

    def _screenshot(self) -> None:
        path = self.controls.new_path("screenshot", ".png")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            pygame.image.save(self.draw(), str(path))
        except (OSError, pygame.error) as error:
            self._tell(f"No screenshot: {error}", wrong=True)
            return
        self._tell(f"Screenshot: {path}")

    def _tell(self, text: str, *, wrong: bool = False) -> None:
        self.messages.add(text, self._clock(), wrong=wrong)
        self._dirty = True


def _the_end(view: View) -> str:
    """What there is to say where a scenario ends."""
    if view.score is None:
        return "The story ends here. The world goes on, and it is yours"
    return f"The end: {view.score.points} of {view.score.possible} points. Click where you want to try again"
