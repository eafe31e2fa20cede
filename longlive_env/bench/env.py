"""Speed of envs: the cost of a step, alone and in a batch, and its share outside the engine.

A step is one block of every world. Steps are timed once the context is full, first under a constant prompt
and then under new prompts for all worlds. Time outside the engine is what a step takes beyond denoising,
decoding and recaches: checks, episodes, tasks, copies of observations. At last the state of all worlds is
cloned, and restored in place.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from longlive_env.bench.blocks import blocks_until_steady
from longlive_env.bench.config import BenchConfig
from longlive_env.bench.opening import Prompts, open_world
from longlive_env.errors import ConfigError

if TYPE_CHECKING:
    from longlive_env.envs.prompt_env import PromptEnv
    from longlive_env.envs.vector_env import PromptVectorEnv

BATCHES = (1, 2, 4, 8, 16, 32)
SWITCHES = 3  # steps with new prompts
CLONES = 3  # states that are cloned and restored


@dataclass(frozen=True)
class EnvBenchConfig:
    """Settings of the benchmark of envs.

    Attributes:
        base: world, device, dtype of the weights, threads, and blocks (timed steps of each env).
        batches: numbers of worlds of the vector envs.
        task: task of the envs; None for none.
    """

    base: BenchConfig
    batches: tuple[int, ...] = BATCHES
    task: str | None = None

    def __post_init__(self) -> None:
        if not self.batches or min(self.batches) < 1:
            raise ConfigError(f"batches are {list(self.batches)}; give numbers of worlds, each 1 or more")
        if self.base.random_weights:
            raise ConfigError("envs read their prompts, and random weights come without a text encoder")

    @property
    def steps(self) -> int:
        """Total number of timed steps."""
        return self.base.blocks * (1 + len(self.batches))


def bench_env(config: EnvBenchConfig, on_step: Callable[[], None] | None = None) -> dict[str, Any]:
    """Measure a single env, and vector envs of several sizes.

    Args:
        config: what to time, and how much.
        on_step: called after each timed step.

    Returns:
        JSON values; `envs` holds one row per env, the single env first. Steps and frames per second count
        those of all worlds.
    """
    from longlive_env.envs.prompt_env import PromptEnv
    from longlive_env.envs.vector_env import PromptVectorEnv

    config.base.use_threads()
    # Unless a limit is asked for, envs are those that a single world would be: more may not fit.
    batch = 1 if config.base.memory is None else max(config.batches)
    world = open_world(dataclasses.replace(config.base, batch=batch))
    rows = [measure(PromptEnv(world, task=config.task), config.base.blocks, on_step)]
    for count in config.batches:
        envs = PromptVectorEnv(count, world, task=config.task)
        rows.append(measure(envs, config.base.blocks, on_step))
    return {
        "config": dataclasses.asdict(config),
        "codec": world.config.codec.kind,
        "memory_plan": str(world.memory_plan) if world.memory_plan else None,
        "fingerprint": world.fingerprint,
        "envs": rows,
    }


def measure(
    env: PromptEnv | PromptVectorEnv, steps: int, on_step: Callable[[], None] | None = None
) -> dict[str, Any]:
    """Time an env and close it.

    Args:
        env: single or vector env.
        steps: number of timed steps.
        on_step: called after each timed step.

    Returns:
        A row of `bench_env`.
    """
    worlds: int = getattr(env, "num_envs", 1)
    config = env.world.config
    env.reset(seed=0)  # initialises libraries, and compiles what compiles on first use
    begin = time.perf_counter()
    env.reset()
    reset_ms = (time.perf_counter() - begin) * 1e3
    for _ in range(blocks_until_steady(config)):
        _timed(env)
    times = []
    for _ in range(steps):
        times.append(_timed(env))
        if on_step is not None:
            on_step()
    prompts = Prompts(env.world, worlds)
    switches = [_timed(env, *prompts.new()["prompt"])[0] for _ in range(SWITCHES)]
    clones, restores = zip(*(_cloned(env) for _ in range(CLONES)), strict=True)
    state_mb = len(env.clone_state()) / 1e6
    env.close()
    whole, engine = (sum(values) for values in zip(*times, strict=True))
    rate = steps * worlds / whole * 1e3
    return {
        "env": type(env).__name__,
        "worlds": worlds,
        "steps_per_s": round(rate, 3),
        "frames_per_s": round(rate * config.block_pixel_frames, 2),
        "step_ms": round(statistics.median(one for one, _ in times), 2),
        "ms_a_world": round(whole / steps / worlds, 2),
        "outside_engine": round(1 - engine / whole, 4),
        "switch_step_ms": round(statistics.median(switches), 2),
        "reset_ms": round(reset_ms, 2),
        "clone_ms": round(statistics.median(clones), 2),
        "restore_ms": round(statistics.median(restores), 2),
        "state_mb": round(state_mb, 1),
    }


def _cloned(env: PromptEnv | PromptVectorEnv) -> tuple[float, float]:
    """Return milliseconds that cloning the state takes, and restoring it."""
    begin = time.perf_counter()
    state = env.clone_state()
    done = time.perf_counter()
    env.restore_state(state)
    return (done - begin) * 1e3, (time.perf_counter() - done) * 1e3


def _timed(env: PromptEnv | PromptVectorEnv, *prompts: str) -> tuple[float, float]:
    """Return milliseconds of a step, and of the engine within it; without a prompt all worlds keep theirs."""
    said = list(prompts) or [""] * getattr(env, "num_envs", 1)
    action: Any = said if hasattr(env, "num_envs") else said[0]
    begin = time.perf_counter()
    env.step(action)
    return (time.perf_counter() - begin) * 1e3, env.timing["total_ms"]
