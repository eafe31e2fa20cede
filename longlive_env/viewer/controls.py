"""Effects of actions on the world in play and on open panels, independent of the window."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from longlive_env.envs.vocabulary import vocabulary_of
from longlive_env.errors import RecordingError, ScenarioError
from longlive_env.recording import write_frames
from longlive_env.scenario import Change, Scenario
from longlive_env.viewer.actions import BY_NAME, NUMBERS
from longlive_env.viewer.commands import Commands
from longlive_env.viewer.exchange import Exchange
from longlive_env.viewer.messages import Tell
from longlive_env.viewer.options import Options
from longlive_env.viewer.playback import Playback
from longlive_env.viewer.saving import saving
from longlive_env.viewer.steering import Steering
from longlive_env.viewer.take import Take, command, printable, scenario_text, unused

logger = logging.getLogger(__name__)

SEEDS = 2**31


@dataclass
class Open:
    """Panels open over the picture, and whether the dock is below it."""

    help: bool = False
    cards: bool = False
    stats: bool = False
    dock: bool = True


class Controls:
    """Does what keys ask for.

    Args:
        exchange: exchange with the world in play.
        commands: commands that change it.
        playback: playback of its frames.
        options: options of the viewer.
        tell: function that shows a message.

    Attributes:
        steering: prompt changes by key; None until the world is known.
        open: panels open over the picture.
    """

    def __init__(
        self,
        exchange: Exchange,
        commands: Commands,
        playback: Playback,
        options: Options,
        tell: Tell,
    ) -> None:
        self.steering: Steering | None = None
        self.open = Open()
        self._exchange = exchange
        self._commands = commands
        self._playback = playback
        self._options = options
        self._tell = tell
        self._scenario: Scenario | None = None
        self._quick = 0
        self._actions: dict[str, Callable[[], None]] = {
            "seat": commands.toggle_seat,
            "surprise": self._surprise,
            "recache": commands.cycle_recache,
            "pause": lambda: playback.pause(not playback.paused),
            "step": playback.step,
            "rewind": commands.rewind_change,
            "rewind_block": self._rewind_block,
            "undo": commands.undo,
            "reset": commands.reset,
            "new_seed": lambda: commands.reset(secrets.randbelow(SEEDS)),
            "restart": commands.restart,
            "restart_new_seed": lambda: commands.restart(secrets.randbelow(SEEDS)),
            "reload": self._reload,
            "bookmark": commands.keep_bookmark,
            **{f"keep_{n}": partial(commands.keep_bookmark, n) for n in NUMBERS},
            **{f"return_{n}": partial(commands.return_to, n) for n in NUMBERS},
            "last_bookmark": self._last_bookmark,
            "next_quick": self._next_quick,
            "help": lambda: self._toggle("help"),
            "cards": lambda: self._toggle("cards"),
            "stats": lambda: self._toggle("stats"),
            "dock": self._toggle_dock,
            "save": self._save,
            "picture": self._save_picture,
            "record": lambda: commands.record(self.new_path("recording", "")),
        }

    def follow(self, scenario: Scenario | None, vocabulary: str) -> None:
        """Bind keys to a scenario's prompt changes, or to defaults without one, in words of a vocabulary."""
        self._scenario = scenario
        bindings = self._options.bindings
        prepared = {} if self.steering is None else self.steering.prepared
        steering = Steering.of(scenario, vocabulary, bindings)
        for warning in steering.warnings:
            self._tell(warning, wrong=True)
        for number, change in prepared.items():
            steering = steering.prepare(number, change.words, bindings)
        self.steering = steering

    def press(self, chord: str) -> str | None:
        """Do what a chord asks for; returns the action if the window has to do it."""
        action = self._options.bindings.action(chord)
        if self.steering is not None and (change := self.steering.change(chord, action)) is not None:
            self.change(change)
            return None
        if action is None:
            return None
        if self.steering is not None and BY_NAME[action].kind == "quick":
            number = BY_NAME[action].number
            keeps = self._options.bindings.first(f"prepare_{number}")
            self._tell(f"There is no quick prompt {number}; {keeps} keeps one")
            return None
        return self.do(action)

    def do(self, action: str) -> str | None:
        """Do an action; returns it if the window has to do it."""
        if action not in self._actions:
            return action
        self._actions[action]()
        return None

    def change(self, change: Change) -> None:
        """Request a change of the next prompt, whatever a live scenario makes that prompt meanwhile."""
        steering = self.steering
        if steering is not None:
            self._commands.ask(lambda prompt: steering.apply(change, prompt))

    def prepare(self, number: int, prompt: str) -> None:
        """Keep a valid prompt as a quick prompt, for as long as the viewer is open."""
        if self.steering is not None:
            bindings = self._options.bindings
            self.steering = self.steering.prepare(number, prompt, bindings)
            self._tell(f"{bindings.first(f'quick_{number}')} asks for it from now on: {prompt}")

    def new_path(self, kind: str, suffix: str) -> Path:
        """Return a path for a new file or folder, named after its kind and the time."""
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        return unused(self._options.out / f"{kind}-{stamp}{suffix}")

    def save_image(self, kind: str, image: Image.Image) -> None:
        """Save an image under a new name, and say where, or why it cannot be saved."""
        path = self.new_path(kind, ".png")
        try:
            with saving(path) as file:  # unlike pygame's own way, PIL notices a full disk
                image.save(file, "PNG")
        except RecordingError as error:
            self._tell(str(error), wrong=True)
            return
        self._tell(f"{kind.capitalize()}: {path}")

    def _reload(self) -> None:
        read = self._options.read_again
        if read is None:
            self._tell("There is no scenario to read again; start one with: longlive play FILE.yaml")
        else:
            self._commands.reload(lambda: self._checked(read()))

    def _checked(self, scenario: Scenario) -> Scenario:
        """Return a reloaded scenario, checked to be for the world in play."""
        if scenario.world != self._options.world:
            raise ScenarioError(
                f"{scenario.file or scenario.name} asks for world {scenario.world} now, and "
                f"{self._options.world} is loaded; close the viewer and start it again"
            )
        return scenario

    def _surprise(self) -> None:
        view = self._exchange.view()
        if view is not None:
            self._commands.ask(vocabulary_of(view.config.vocabulary).sample(np.random.default_rng()))

    def _next_quick(self) -> None:
        changes = [] if self.steering is None else [*self.steering.numbered.values()]
        if changes:
            self._quick += 1
            self.change(changes[(self._quick - 1) % len(changes)])

    def _rewind_block(self) -> None:
        self._playback.pause(True)
        self._commands.rewind_block()

    def _last_bookmark(self) -> None:
        view = self._exchange.view()
        if view is None or view.newest_mark is None:
            self._tell(f"There is no bookmark yet; {self._options.bindings.first('bookmark')} keeps one")
        else:
            self._commands.return_to(view.newest_mark)

    def _toggle(self, name: str) -> None:
        setattr(self.open, name, not getattr(self.open, name))

    def _toggle_dock(self) -> None:
        self._toggle("dock")
        if not self.open.dock:
            self._tell(f"{self._options.bindings.first('dock')} brings the dock back")

    def _save_picture(self) -> None:
        """Save the frame on show as it was generated."""
        frame = self._playback.frame
        if frame is None:
            self._tell("There is no picture yet; wait for the first block")
            return
        self.save_image("picture", Image.fromarray(frame))

    def _save(self) -> None:
        scenario = self._scenario

        def save(take: Take) -> str:
            path = self.new_path("scenario", ".yaml")
            world = self._options.world
            where = os.path.abspath(world) if os.path.isdir(world) else world
            start = unused(path.with_suffix(".tiff"))
            frames = "" if take.start is None else start.name
            text = scenario_text(take, path.stem, where, frames, scenario)
            how = command(take, path)
            with saving(path, start) as file:
                if take.start is not None:
                    write_frames(start, take.start)
                file.write_text(f"# {printable(how)}\n{text}", encoding="utf-8")
            logger.warning("saved: %s", how)  # whose place is stderr, where it stays
            return f"Saved: {how}"

        self._commands.save_scenario(save)
