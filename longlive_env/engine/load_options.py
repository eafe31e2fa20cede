"""Options for loading a world, checked before weights are read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypedDict, Unpack

import torch

from longlive_env.engine import world_files, world_places
from longlive_env.engine.compile import check_mode
from longlive_env.engine.config import (
    CodecKind,
    CompileMode,
    KvPrecision,
    Positions,
    Precision,
    WorldConfig,
    check_choice,
)
from longlive_env.engine.devices import usable
from longlive_env.engine.published import is_published
from longlive_env.engine.quantize import check_precision
from longlive_env.errors import ConfigError

if TYPE_CHECKING:
    from longlive_env.engine.memory import MemoryLimit


class LoadOptions(TypedDict, total=False):
    """Options of `World.load`, for functions that pass them on."""

    codec: CodecKind | None
    precision: Precision | None
    kv_precision: KvPrecision | None
    memory: MemoryLimit | None
    compile: CompileMode
    steps: int | None
    rope: Positions | None


def checked_config(
    name_or_path: str | os.PathLike[str],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    **asked: Unpack[LoadOptions],
) -> WorldConfig:
    """The configuration of the world that `World.load` would return, if `memory` has room for its codec.

    Reading weights takes minutes, and a window may be open by then, so impossible options are rejected here;
    only `memory` is checked on loading.

    For arguments and errors see `World.load`.
    """
    precision = asked.get("precision")
    place, dtype = usable(device), dtype_of(dtype, precision)
    check_choice("codec", asked.get("codec"), CodecKind)
    check_choice("precision", precision, Precision)
    check_choice("kv_precision", asked.get("kv_precision"), KvPrecision)
    check_mode(asked.get("compile", "off"), place)
    if precision is not None and precision != "bf16":
        check_precision(precision, place, dtype or world_files.default_dtype(place))
    return as_asked(world_files.read_config(name_or_path, asked.get("codec")), asked)


def default_memory(name_or_path: str | os.PathLike[str], device: torch.device | str) -> MemoryLimit | None:
    """The `memory` of a world that is loaded without: all that is free, for a published one on a GPU.

    For arguments and errors see `World.load`.
    """
    on_gpu = str(device).startswith("cuda")  # loading checks the device
    return "auto" if on_gpu and is_published(world_places.find(name_or_path)) else None


def as_asked(config: WorldConfig, asked: LoadOptions) -> WorldConfig:
    """A world's configuration with the requested denoising steps and positions.

    Raises:
        ConfigError: the number of steps is impossible, or the positions are unknown.
    """
    return config.with_steps(asked.get("steps")).with_rope(asked.get("rope"))


def dtype_of(dtype: torch.dtype | None, precision: Precision | None) -> torch.dtype | None:
    """The requested type of weights, which a precision may imply; None if there was no request.

    Raises:
        ConfigError: `dtype` is not one of torch's, or the two contradict each other.
    """
    if dtype is not None and not isinstance(dtype, torch.dtype):
        raise ConfigError(f"dtype is {dtype!r}; expected one of torch's, such as torch.bfloat16")
    if precision != "bf16":
        return dtype
    if dtype not in (None, torch.bfloat16):
        raise ConfigError(f"precision bf16 and dtype {dtype} contradict each other; leave one out")
    return torch.bfloat16
