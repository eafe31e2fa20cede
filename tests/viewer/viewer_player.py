"""Somebody at the keyboard of the viewer, for tests."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pygame
from viewer_stage import OWL, SCENARIO, header

from longlive_env.scenario import parse_scenario
from longlive_env.viewer.app import App
from longlive_env.viewer.display import Mirror
from longlive_env.viewer.options import Options
from longlive_env.viewer.session import Session
from longlive_env.viewer.view import View
from longlive_env.viewer.worker import Worker


class Player:
    """Plays an app by hand: time passes when it says so, and the worker works when it waits.

    With `threaded`, the worker works by itself and time is real.
    """

    def __init__(
        self,
        make: Callable[[], Session],
        out: Path,
        options: dict[str, Any],
        *,
        threaded: bool = False,
        mirror: Mirror | None = None,
    ) -> None:
        self.now = 100.0
        self.threaded = threaded
        clock = time.perf_counter if threaded else self.clock
        self.worker = Worker(make, header, clock=clock, threaded=threaded)
        scenario = parse_scenario(SCENARIO, "two.yaml")
        chosen = Options(**{"scenario": scenario, "out": out, "size": (640, 400), **options})
        self.app = App(self.worker, chosen, clock, mirror)

    def clock(self) -> float:
        return self.now

    def settle(self) -> None:
        """Let the worker do all that there is to do."""
        while not self.threaded and self.worker.turn():
            pass

    def wait(self, frames: int = 1) -> None:
        for _ in range(frames):
            self.settle()
            self.app.frame()
            self.now += 1 / 16

    def play(self, blocks: float) -> None:
        """Until so many blocks more have been shown, or the picture has jumped."""
        playback, end = self.app.playback, time.monotonic() + 120
        before, epoch = playback.position, playback._epoch
        while playback.position < before + blocks and playback._epoch == epoch:
            assert time.monotonic() < end, "the picture stands still"
            self.wait()
            time.sleep(0.01 if self.threaded else 0)

    def press(self, chord: str, repeats: int = 0) -> None:
        """Press a key of the keyboard and let it go; only what is pressed, not what it types."""
        *modifiers, name = chord.split("+")
        masks = {"ctrl": pygame.KMOD_LCTRL, "shift": pygame.KMOD_LSHIFT, "alt": pygame.KMOD_LALT}
        code = pygame.key.key_code({"enter": "return"}.get(name, name))
        mod = sum(masks[modifier] for modifier in modifiers)
        for _ in range(1 + repeats):
            pygame.event.post(pygame.Event(pygame.KEYDOWN, key=code, mod=mod, unicode="", scancode=0))
        pygame.event.post(pygame.Event(pygame.KEYUP, key=code, mod=mod, unicode="", scancode=0))
        self.app.frame()
        self.settle()

    def type(self, text: str) -> None:
        pygame.event.post(pygame.Event(pygame.TEXTINPUT, text=text))
        self.app.frame()

    def click(self, x: int, y: int) -> None:
        for kind in (pygame.MOUSEBUTTONDOWN, pygame.MOUSEBUTTONUP):
            pygame.event.post(pygame.Event(kind, pos=(x, y), button=1))
        self.app.frame()
        self.settle()

    @property
    def view(self) -> View:
        view = self.worker.exchange.view()
        assert view is not None
        return view

    @property
    def told(self) -> str:
        return " | ".join(text for text, *_ in self.app.messages.shown(self.now))


class Asks:
    """An agent with one wish."""

    def reset(self, env: Any, info: Any) -> None: ...

    def act(self, observation: Any, info: Any) -> str:
        return OWL
