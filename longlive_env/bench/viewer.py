"""Latency from a key to the picture, in the viewer's own loop and worker, with keys at random moments.

A separate thread posts a key, as a window system would, at a random moment within the length of a block. The
latency ends when the first frame under the new prompt has been drawn and flipped. It includes text encoding,
recache, generation, the rest of the block on show and drawing, but not the screen's own delay, since the
window uses SDL's dummy driver unless SDL_VIDEODRIVER says otherwise.
"""

from __future__ import annotations

import dataclasses
import os
import random
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from longlive_env.bench.config import BenchConfig
from longlive_env.bench.opening import open_world
from longlive_env.engine.warmup import warm_up
from longlive_env.errors import ConfigError, LongLiveError
from longlive_env.viewer import require_pygame

if TYPE_CHECKING:
    from longlive_env.viewer.app import App
    from longlive_env.viewer.session import Session

PROMPT = "a red robot walks right through the city on a sunny day"
SETTLED_BLOCKS = 2  # shown under a prompt before the next key
SIZE = (1280, 720)  # of the window, in pixels
SEED = 0  # of the moments and the keys
HUNG_S = 120.0  # without a new block, after which the measurement gives up


@dataclass(frozen=True)
class TimedChange:
    """One prompt change, in milliseconds.

    Attributes:
        latency_ms: time from the key to the first frame under the new prompt.
        still_ms: part of it in which the picture stood still, beyond the time of a frame.
        recache_ms: time of the switch's recache.
        block_ms: time to generate the block, recache included.
    """

    latency_ms: float
    still_ms: float
    recache_ms: float
    block_ms: float


def bench_viewer(config: BenchConfig, on_change: Callable[[], None] | None = None) -> dict[str, Any]:
    """Play a world in a window and time prompt changes.

    Args:
        config: world, device, precision, threads, and blocks (number of timed prompt changes).
        on_change: called after each timed change.

    Returns:
        JSON values, times in ms; `picture_fps` is over the whole time, waiting included.

    Raises:
        ConfigError: the world has random weights, or there are several.
        MissingExtraError: pygame-ce is not installed.
        LongLiveError: the world cannot be loaded, or stops.
    """
    if config.random_weights:
        raise ConfigError("the viewer's prompts are texts, and random weights come without a text encoder")
    if config.batch != 1:
        raise ConfigError(f"batch is {config.batch}; the viewer plays one world")
    require_pygame()
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    config.use_threads()
    with _app(config) as app:
        hand = _Hand(app, random.Random(SEED))
        hand.watch(_context_blocks(app))
        begin, shown = time.perf_counter(), hand.frames
        changes = []
        for _ in range(config.blocks):
            changes.append(hand.change())
            if on_change is not None:
                on_change()
        rate = (hand.frames - shown) / (time.perf_counter() - begin)
    return {
        "config": {"base": dataclasses.asdict(config), "size": SIZE, "seed": SEED},
        "latency_ms": _summary([one.latency_ms for one in changes]),
        "still_ms": _summary([one.still_ms for one in changes]),
        "recache_ms": _summary([one.recache_ms for one in changes]),
        "block_ms": _summary([one.block_ms for one in changes]),
        "picture_fps": round(rate, 2),
    }


def _context_blocks(app: App) -> int:
    """Return the number of blocks that fill the world's context; waits until it is loaded."""
    begin = time.perf_counter()
    while (view := app.worker.exchange.view()) is None:
        app.frame(wait=True)
        _fail_if_stopped(app, begin)
    return view.config.context_blocks


class _Hand:
    """Presses keys of a viewer at random moments.

    Attributes:
        frames: frames shown so far.
    """

    def __init__(self, app: App, rng: random.Random) -> None:
        self.frames = 0
        self._app = app
        self._random = rng
        self._position = app.playback.position
        self._shown_at = time.perf_counter()

    def watch(self, blocks: int) -> None:
        """Wait until `blocks` more blocks have been shown."""
        end = self._app.playback.position + blocks
        while self._app.playback.position < end:
            self._frame()

    def change(self) -> TimedChange:
        """Watch a little, press a key at a random moment, and measure how long its prompt takes to show."""
        app = self._app
        self.watch(SETTLED_BLOCKS)
        view = app.worker.exchange.view()
        assert view is not None
        key, posted = self._key(), list[float]()
        pause_s = self._random.random() * view.config.block_seconds
        timer = threading.Timer(pause_s, lambda: posted.append(_press(key)))
        timer.start()
        while True:
            before = self._shown_at
            self._frame()
            played = app.playback.played
            if posted and played is not None and (played.asked_at or 0.0) >= posted[0]:
                break
        latency_s = self._shown_at - posted[0]
        still_s = max(0.0, self._shown_at - max(before, posted[0]) - 1 / view.config.fps)
        timing = played.timing
        return TimedChange(latency_s * 1e3, still_s * 1e3, timing["recache_ms"], timing["total_ms"])

    def _frame(self) -> None:
        """Run one round of the app's loop, and update the time of the last new frame."""
        app = self._app
        app.frame(wait=True)
        if app.playback.position != self._position:
            self._position, self._shown_at = app.playback.position, time.perf_counter()
            self.frames += 1
        _fail_if_stopped(app, self._shown_at)

    def _key(self) -> str:
        """Choose a key that changes the prompt."""
        steering, prompt = self._app.controls.steering, self._app.worker.exchange.wanted()
        assert steering is not None
        keys = {**steering.moves, **{str(n): change for n, change in enumerate(steering.quick, start=1)}}
        return self._random.choice(
            [key for key, change in keys.items() if steering.apply(change, prompt) != prompt]
        )


def _press(key: str) -> float:
    """Post the event of a key; returns the time."""
    import pygame

    code = pygame.key.key_code(key)
    event = pygame.Event(pygame.KEYDOWN, key=code, mod=0, unicode="", scancode=0)
    now = time.perf_counter()
    pygame.event.post(event)
    return now


def _fail_if_stopped(app: App, since: float) -> None:
    failure = app.worker.exchange.status()[1]
    if failure is None and time.perf_counter() - since > HUNG_S:
        failure = f"no new frame for {HUNG_S:.0f} s"
    if failure is not None:
        raise LongLiveError(f"the world has stopped: {failure}")


def _app(config: BenchConfig) -> App:
    from longlive_env.scenario import Moment, Scenario
    from longlive_env.viewer.app import App
    from longlive_env.viewer.options import Options
    from longlive_env.viewer.session import Session
    from longlive_env.viewer.worker import Worker

    scenario = Scenario(name="bench", prompt=PROMPT, duration=Moment(1, "blocks"), world=config.world)

    def load() -> Session:
        world = open_world(config)
        if world.compiled != "off":
            warm_up(world)
        return Session(world, scenario.plan(world.config))

    worker = Worker(load, _no_recording)
    return App(worker, Options(title="longlive · bench", scenario=scenario, size=SIZE))


def _no_recording(session: Session) -> NoReturn:
    raise ConfigError("nothing is recorded while the viewer is timed")


def _summary(values: list[float]) -> dict[str, Any]:
    return {
        "median": round(statistics.median(values), 1),
        "worst": round(max(values), 1),
        "all": [round(value, 1) for value in values],
    }
