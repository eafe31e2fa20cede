"""What is timed: a world by name or folder, or a world of its shape with random weights."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from longlive_env.engine.threads import checked_threads
from longlive_env.errors import ConfigError

if TYPE_CHECKING:
    from longlive_env.engine.config import (
        Backend,
        CodecKind,
        CompileMode,
        KvPrecision,
        Positions,
        Precision,
        WorldConfig,
    )
    from longlive_env.engine.fused import Fused
    from longlive_env.engine.load_options import LoadOptions
    from longlive_env.engine.memory import MemoryLimit

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class BenchConfig:
    """Settings of the benchmark of a world.

    Attributes:
        world: name of a world or folder of weights.
        device: device on which it runs.
        dtype: dtype of the weights; None leaves the choice to the world.
        codec: "wan" or "light", if the world has both; None takes its own.
        random_weights: whether to use the named preset with random weights, which run just as fast.
        batch: number of worlds that run together.
        blocks: number of timed blocks.
        threads: number of CPU threads; None leaves the choice to torch.
        precision: precision of the linear layers, see `World.load`; None is that of the weights.
        kv_precision: precision of cached keys and values; None is that of the weights.
        memory: GiB to fit in, or "auto"; None is the default of `World.load`, and no limit with random
            weights.
        compile: whether passes run compiled, see `World.load`.
        steps: denoising steps of a block; None takes the world's own.
        rope: positions in time, see `World.load`.
        attention: backend of the transformer's attention; "auto" lets it choose.
        measured: whether kernels are chosen by measurements on this machine, if there are any.
        fused: what runs norms, rotation and cache of self-attention, see `engine.fused`.
        merge: whether self-attention projects with a single product, see `World.load`.
        size: rows and columns of pixels, with random weights; None takes the preset's.
        layers: number of transformer layers, with random weights; None takes the preset's. A preset reduced
            in both runs the same code on a small machine.
        thorough: whether to also measure the machine's ceilings, start-up in a fresh process, and the same
            world without the choices of `precision` and `compile`.
    """

    world: str = "tiny"
    device: str = "cpu"
    dtype: str | None = None
    codec: CodecKind | None = None
    random_weights: bool = False
    batch: int = 1
    blocks: int = 20
    threads: int | None = None
    precision: Precision | None = None
    kv_precision: KvPrecision | None = None
    memory: MemoryLimit | None = None
    compile: CompileMode = "off"
    steps: int | None = None
    rope: Positions | None = None
    attention: Backend = "auto"
    measured: bool = True
    fused: Fused = "auto"
    merge: bool | None = None
    size: tuple[int, int] | None = None
    layers: int | None = None
    thorough: bool = True

    def __post_init__(self) -> None:
        for name in ("batch", "blocks", "layers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1")
        if self.threads is not None:
            checked_threads(self.threads)
        if not self.random_weights and (self.size, self.layers) != (None, None):
            raise ConfigError(
                "size and layers can be changed with random weights only; add random_weights "
                "(--random-weights)"
            )
        if self.dtype is not None and self.dtype not in DTYPES:
            raise ConfigError(f"dtype is {self.dtype!r}; expected one of {', '.join(DTYPES)}")

    def use_threads(self) -> None:
        """Let torch use `threads` from now on, if there is a number."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)


def world_config(config: BenchConfig) -> WorldConfig:
    """Return the configuration of the timed world, without its weights."""
    from longlive_env.engine.config import PRESETS
    from longlive_env.engine.load_options import as_asked
    from longlive_env.engine.world_files import read_config

    asked: LoadOptions = {"steps": config.steps, "rope": config.rope}
    if not config.random_weights:
        return as_asked(read_config(config.world, config.codec), asked)
    if config.world not in PRESETS:
        raise ConfigError(f"random weights need a preset, not {config.world!r}; known: {', '.join(PRESETS)}")
    preset = as_asked(PRESETS[config.world], asked)
    height, width = config.size or (preset.height, preset.width)
    shape = dataclasses.replace(preset.transformer, layers=config.layers or preset.transformer.layers)
    return dataclasses.replace(preset, height=height, width=width, transformer=shape)


def weights_dtype(config: BenchConfig) -> torch.dtype:
    """Return the dtype of the timed weights.

    Raises:
        ConfigError: dtype and precision contradict each other.
    """
    from longlive_env.engine.load_options import dtype_of
    from longlive_env.engine.world_files import default_dtype

    asked = DTYPES[config.dtype] if config.dtype else None
    return dtype_of(asked, config.precision) or default_dtype(config.device)
