"""What actions do to the world in play and to what is open over it. Knows no window."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from longlive_env.envs.vocabulary import vocabulary_of
from longlive_env.recording import write_frames
from longlive_env.viewer.options import Options
from longlive_env.viewer.playback import Playback
from longlive_env.viewer.steering import Steering
from longlive_env.viewer.take import Take, command, scenario_text, unused
from longlive_env.viewer.worker import Worker

SEEDS = 2**31
_NUMBERED = re.compile(r"(return|keep)_([1-9])")


@dataclass
class Open:
    """What is open over the picture."""

    help: bool = False
    cards: bool = False
    stats: bool = False


class Controls:
    """Does what keys ask for.

    Args:
        worker: of the world in play.
        playback: of its frames.
        options: of the viewer.
        tell: shows a message.

    Attributes:
        steering: what keys change in the prompt; None until the world is known.
        open: what is open over the picture.
    """

    def __init__(
        self, worker: Worker, playback: Playback, options: Options, tell: Callable[[str], None]
    ) -> None:
        self.steering: Steering | None = None
        self.open = Open()
        self._worker = worker
        self._playback = playback
        self._options = options
        self._tell = tell
        self._quick = 0
        self._actions: dict[str, Callable[[], None]] = {
            "seat": worker.toggle_seat,
            "surprise": self._surprise,
            "recache": worker.cycle_recache,
            "pause": lambda: playback.pause(not playback.paused),
            "step": playback.step,
            "rewind": worker.rewind_change,
            "rewind_block": self._rewind_block,
            "undo": worker.undo,
            "reset": worker.reset,
            "new_seed": lambda: worker.reset(secrets.randbelow(SEEDS)),
            "bookmark": worker.keep_bookmark,
            "last_bookmark": self._last_bookmark,
            "next_quick": self._next_quick,
            "help": lambda: self._toggle("help"),
            "cards": lambda: self._toggle("cards"),
            "stats": lambda: self._toggle("stats"),
            "save": self._save,
            "record": lambda: worker.record(self.new_path("recording", "")),
        }

    def press(self, chord: str) -> str | None:
        """Do what a chord asks for; returns the action if it is for the window to do."""
        action = self._options.bindings.action(chord)
        if self.steering is not None and (change := self.steering.change(chord, action)) is not None:
            self.ask(self.steering.apply(change, self._worker.wanted()))
            return None
        return self.do(action) if action is not None else None

    def do(self, action: str) -> str | None:
        """Do an action that changes no prompt; returns it if it is for the window to do."""
        if numbered := _NUMBERED.fullmatch(action):
            number = int(numbered[2])
            if numbered[1] == "return":
                self._worker.return_to(number)
            else:
                self._worker.keep_bookmark(number)
            return None
        if action in self._actions:
            self._actions[action]()
            return None
        return action

    def ask(self, prompt: str) -> None:
        """Ask for a prompt."""
        self._worker.ask(prompt)

    def new_path(self, kind: str, suffix: str) -> Path:
        """A new file or folder for what is kept, named after its kind and the time."""
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        return unused(self._options.out / f"{kind}-{stamp}{suffix}")

    def _surprise(self) -> None:
        view = self._worker.view()
        if view is not None:
            self.ask(vocabulary_of(view.config.name).sample(np.random.default_rng()))

    def _next_quick(self) -> None:
        if self.steering is not None and self.steering.quick:
            change = self.steering.quick[self._quick % len(self.steering.quick)]
            self._quick += 1
            self.ask(self.steering.apply(change, self._worker.wanted()))

    def _rewind_block(self) -> None:
        self._playback.pause(True)
        self._worker.rewind_block()

    def _last_bookmark(self) -> None:
        view = self._worker.view()
        if view is None or view.newest_mark is None:
            self._tell("There is no bookmark yet; B keeps one")
        else:
            self._worker.return_to(view.newest_mark)

    def _toggle(self, name: str) -> None:
        setattr(self.open, name, not getattr(self.open, name))

    def _save(self) -> None:
        path = self.new_path("scenario", ".yaml")

        def save(take: Take) -> str:
            path.parent.mkdir(parents=True, exist_ok=True)
            world = self._options.world
            where = os.path.abspath(world) if os.path.isdir(world) else world
            start = unused(path.with_suffix(".tiff"))
            text = scenario_text(take, path.stem, where, "" if take.start is None else start.name)
            if take.start is not None:
                write_frames(start, take.start)
            path.write_text(text, encoding="utf-8")
            return f"Saved: {command(take, path)}"

        self._worker.save_scenario(save)
