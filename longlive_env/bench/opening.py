"""The timed world, and prompts that are new to it."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

import torch

from longlive_env.bench.config import DTYPES, BenchConfig, weights_dtype, world_config
from longlive_env.engine.devices import usable

if TYPE_CHECKING:
    from longlive_env.engine.config import WorldConfig
    from longlive_env.engine.world import World

TEXT_TOKENS = 24  # length of a made-up prompt, for worlds without a text encoder


class Prompts:
    """An endless supply of new prompts: texts or, for a world without a text encoder, embeddings."""

    def __init__(self, world: World, batch: int) -> None:
        self._world, self._batch = world, batch
        self._numbers = itertools.count(time.time_ns() // 1000 % 10**9)  # also new to caches on disk

    def new(self) -> dict[str, Any]:
        """Return arguments for `World.start` and `Rollout.switch_prompt`."""
        number = next(self._numbers)
        names = [f"a red robot walks {number * self._batch + i} steps" for i in range(self._batch)]
        if self._world.text_encoding.present:
            return {"prompt": names}
        config = self._world.config.transformer
        text = torch.zeros(self._batch, config.text_len, config.text_dim)
        text[:, :TEXT_TOKENS].normal_(generator=torch.Generator().manual_seed(number))
        return {"prompt": names, "text": text.to(self._world.device)}


def open_world(config: BenchConfig) -> World:
    """Load or create the timed world."""
    from longlive_env.engine.kernel_table import use_table
    from longlive_env.engine.world import World

    check(config)
    if config.random_weights:
        world = _arranged_world(config)
    else:
        world = World.load(
            config.world,
            device=config.device,
            dtype=DTYPES[config.dtype] if config.dtype else None,
            codec=config.codec,
            precision=config.precision,
            kv_precision=config.kv_precision,
            memory=config.memory,
            batch=config.batch,
            compile=config.compile,
            merge=config.merge,
            steps=config.steps,
            rope=config.rope,
        )
    if not config.measured:
        use_table(world.device, None)
    world.transformer.attend_by(config.attention)
    world.transformer.fuse(config.fused)
    return world  # compiled functions depend on all of this when they first run


def random_world(config: WorldConfig, device: torch.device | str, dtype: torch.dtype) -> World:
    """Create a world with random weights, without a text encoder.

    Weights are drawn on their device, since a CPU takes minutes for those of the 1.3B world; they therefore
    differ between kinds of devices.
    """
    from longlive_env.engine.world import World

    place = usable(device)
    with place:
        return World.from_config(config, device=place, dtype=dtype, text_encoder=False)


def check(config: BenchConfig) -> None:
    """Check that the device and the packages that the choices need are available, before making a world.

    Raises:
        LongLiveError: one is missing, or the configuration contradicts itself.
    """
    from longlive_env.engine.attention import available
    from longlive_env.engine.compile import check_mode
    from longlive_env.engine.quantize import check_precision

    place = usable(config.device)
    world_config(config)
    check_mode(config.compile, place)
    dtype = weights_dtype(config)
    if config.precision is not None and config.precision != "bf16":
        check_precision(config.precision, place, dtype)
    if config.attention != "auto":
        available(config.attention, place.type)


def _arranged_world(config: BenchConfig) -> World:
    """Create a world of a preset's sizes, arranged as by `World.load`, but without a text encoder."""
    from longlive_env.engine.config import LightVAEConfig, PatchVAEConfig
    from longlive_env.engine.memory import arrange
    from longlive_env.engine.offload import offload
    from longlive_env.engine.world_files import with_codec

    preset, dtype, plan = world_config(config), weights_dtype(config), None
    codec, kv_precision = config.codec, config.kv_precision
    own = isinstance(preset.codec, PatchVAEConfig)
    if own:
        preset = with_codec(preset, codec)
    if config.memory is not None:
        plan = arrange(
            preset,
            config.memory,
            device=config.device,
            dtype=dtype,
            codec=codec,
            precision=config.precision,
            kv_precision=kv_precision,
            batch=config.batch,
            compile=config.compile,
            merge=config.merge,
            own_codec=own,
        )
        codec, kv_precision = plan.codec, plan.kv_precision
    if codec == "light" and not own:
        preset = preset.with_codec(LightVAEConfig())
    world = random_world(preset, config.device, dtype)
    world.memory_plan = plan
    if plan is not None and plan.offload:
        offload(world.transformer, config.device)
    world.optimize(precision=config.precision, kv_precision=kv_precision, merge=config.merge)
    world.compile(config.compile)
    return world
