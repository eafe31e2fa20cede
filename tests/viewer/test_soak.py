"""Random keys, texts, clicks and sizes: nothing breaks, memory stays, and the picture moves again afterwards.

Short here; for a soak of ten minutes in real time, and for as many inputs as fit into some ten minutes:

    LONGLIVE_SOAK_S=600 LONGLIVE_STORM_STEPS=20000 pytest tests/viewer/test_soak.py -o log_cli_level=INFO
"""

import logging
import os
import random
import time
from collections.abc import Callable

import pytest
from viewer_player import Asks, Player
from viewer_stage import CAT, DOG, OWL

from longlive_env.viewer.bindings import Bindings
from longlive_env.viewer.series import memory_mb

STEPS = int(os.environ.get("LONGLIVE_STORM_STEPS", "130"))
SOAK_S = float(os.environ.get("LONGLIVE_SOAK_S", "3"))
MOST_MB = 20
TEXTS = ["cat", " in the rain", "日本", "\u200d", "x" * 300, "🙂", "1", " "]
SIZES = [(480, 300), (641, 333), (800, 600), (1280, 720), (1000, 480), (2560, 1440)]

logger = logging.getLogger(__name__)


class Storm:
    """Somebody who has fallen asleep on the keyboard, and wakes up at times to pull at the window."""

    def __init__(self, player: Player, seed: int) -> None:
        self.player = player
        self.strikes = 0
        self._random = random.Random(seed)
        files = {"quit", "screenshot", "save"}
        bindings = Bindings.default()
        self._chords = [
            chord
            for chord, action in bindings.actions.items()
            if not chord.startswith("pad ") and action not in files
        ]
        self._chords += ["delete", "home", "end"]
        self._warm_up()
        self._memory = memory_mb()

    def strike(self) -> None:
        """Do something."""
        self.strikes += 1
        rng, player = self._random, self.player
        kind = rng.random()
        if kind < 0.6:
            player.press(rng.choice(self._chords))
        elif kind < 0.75:
            player.type(rng.choice(TEXTS))
        elif kind < 0.85:
            player.click(rng.randrange(-20, 900), rng.randrange(-20, 600))
        elif kind < 0.9:
            player.app.window.size = (rng.randrange(480, 1000), rng.randrange(300, 700))
        elif kind < 0.92:
            for size in rng.sample(SIZES, 4):
                player.app.window.size = size
                player.app.frame()
        else:
            for _ in range(rng.randrange(1, 5)):
                player.worker.commands.ask(rng.choice([CAT, DOG, OWL, "nothing " * 99]))

    def _warm_up(self) -> None:
        """Once through all that is kept from then on: fonts, texts, bookmarks, the video encoder."""
        player = self.player
        for chord in ("f2", "f3", "f9"):
            player.press(chord)
        for size in SIZES:
            player.app.window.size = size
            for chord in ("f1", "f1", "t"):
                player.press(chord)
            player.type("on the be")
            player.press("escape")
        for number in range(1, 10):
            player.play(0.2)
            player.press(f"ctrl+{number}")
        player.press("f9")
        player.play(0.5)

    def check(self) -> None:
        """Nothing has stopped, and memory has not grown; afterwards the picture moves again."""
        player, memory = self.player, memory_mb()
        if self._memory is not None and memory is not None:
            grown = memory - self._memory
            logger.info("%d inputs; memory %.1f MB, %+.1f MB", self.strikes, memory, grown)
            assert grown < MOST_MB
        assert player.worker.exchange.status()[1] is None
        player.press("escape")
        player.app.playback.pause(False)
        before = player.app.playback.position, player.app.playback._epoch
        player.play(0.5)
        assert (player.app.playback.position, player.app.playback._epoch) != before


@pytest.mark.parametrize("threaded", [False, True], ids=["step by step", "in real time"])
def test_a_storm(start: Callable[..., Player], threaded: bool) -> None:
    player = start(agent=Asks(), budget_bytes=4_000_000, threaded=threaded)
    storm = Storm(player, seed=3)
    if threaded:
        begin = time.monotonic()
        while time.monotonic() - begin < SOAK_S:
            storm.strike()
            player.app.frame(wait=True)
    else:
        for step in range(STEPS):
            storm.strike()
            if step % 3 == 0:
                player.wait(step // 3 % 3)
    storm.check()
