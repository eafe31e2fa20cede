"""Speed and memory of worlds, envs and the viewer, as measured figures that say what they include."""

from longlive_env.bench.config import BenchConfig, weights_dtype, world_config
from longlive_env.bench.opening import Prompts, open_world, random_world
from longlive_env.bench.speed import bench

__all__ = [
    "BenchConfig",
    "Prompts",
    "bench",
    "open_world",
    "random_world",
    "weights_dtype",
    "world_config",
]
