"""Take the viewer's screenshots from the running program: `python docs/make_screenshots.py`.

The tiny world plays the shipped scenario `demo` in a window of SDL's dummy driver, and keys are pressed.
Time passes frame by frame as the script says, so that the pictures do not depend on how busy the machine is:
speed and latency in them are no measurements.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ["SDL_VIDEODRIVER"] = os.environ["SDL_AUDIODRIVER"] = "dummy"  # before pygame loads

import pygame

from longlive_env.agents import RandomAgent
from longlive_env.envs.world_cache import shared_world
from longlive_env.recording import LogHeader
from longlive_env.scenario import load_scenario
from longlive_env.viewer.app import App
from longlive_env.viewer.options import Options
from longlive_env.viewer.session import Session
from longlive_env.viewer.worker import Worker

SCENARIO = "demo"
MODIFIERS = {"ctrl": pygame.KMOD_LCTRL, "shift": pygame.KMOD_LSHIFT}


class Hands:
    """Presses keys and lets time pass.

    Args:
        folder: where the pictures go.
    """

    def __init__(self, folder: Path) -> None:
        scenario = load_scenario(SCENARIO)
        world = shared_world(scenario.world)
        self.now = 0.0
        self.folder = folder
        self.worker = Worker(
            lambda: Session(world, scenario.plan(world.config), RandomAgent()),
            _no_recording,
            clock=lambda: self.now,
            threaded=False,
        )
        self.app = App(self.worker, Options(scenario=scenario), clock=lambda: self.now)

    def wait(self, seconds: float) -> None:
        """Let the world play on."""
        for _ in range(round(seconds * 16)):
            while self.worker.turn():
                pass
            self.app.frame()
            self.now += 1 / 16

    def press(self, *chords: str) -> None:
        """Press keys one after the other."""
        for chord in chords:
            *held, name = chord.split("+")
            mod = sum(MODIFIERS[modifier] for modifier in held)
            code = pygame.key.key_code(name)
            pygame.event.post(pygame.Event(pygame.KEYDOWN, key=code, mod=mod, unicode="", scancode=0))
            self.app.frame()

    def type(self, text: str) -> None:
        """Type a text."""
        pygame.event.post(pygame.Event(pygame.TEXTINPUT, text=text))
        self.app.frame()

    def shoot(self, name: str) -> None:
        """Save what the window shows."""
        path = self.folder / f"viewer-{name}.png"
        pygame.image.save(self.app.draw(), str(path))
        print(path)


def _no_recording(session: Session) -> LogHeader:
    raise AssertionError("nothing is recorded here")


def main() -> None:
    """Play a little and take pictures on the way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images", help="docs/images")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    hands = Hands(folder)
    with hands.app:
        hands.wait(5)
        hands.press("b")
        hands.wait(5)
        hands.shoot("story")
        hands.press("left")
        hands.wait(4)
        hands.press("b", "right")
        hands.wait(4)
        hands.press("f2", "f3")
        hands.wait(2)
        hands.press("5")
        hands.wait(2.5)
        hands.shoot("steer")
        hands.press("f2", "f3", "t")
        hands.type("a green dinosaur walks on the be")
        hands.wait(0.2)
        hands.shoot("prompt")
        hands.press("escape", "f1")
        hands.wait(0.2)
        hands.shoot("keys")


if __name__ == "__main__":
    main()
