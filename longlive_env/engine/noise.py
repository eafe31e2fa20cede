"""Where a rollout's noise comes from: a generator for each world, or a recording.

Shapes: B worlds, F latent frames of a block, C latent channels, h x w latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from longlive_env.engine.seeds import checked_seed
from longlive_env.errors import ConfigError


class NoiseSource(Protocol):
    """Draws float32 CPU noise in the sampler's order: first to start a block, then between steps."""

    def start(self, shape: tuple[int, int, int, int]) -> Tensor:
        """Starting noise of the next block: ``[B, F, C, h, w]`` for `shape` ``(F, C, h, w)``."""
        ...

    def fresh(self, shape: tuple[int, int, int, int]) -> Tensor:
        """Noise between two steps, of the same shape."""
        ...


def _within_32_bits(seed: int) -> int:
    """Fit a seed to the 32 bits that torch's CPU generator keeps; larger ones are hashed, so they differ."""
    whole = checked_seed(seed)
    return whole if whole < 1 << 32 else int(np.random.SeedSequence(whole).generate_state(1)[0])


class WorldNoise:
    """One CPU generator for each world, so that a seed means the same on every device and in any batch."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.generators = [torch.Generator().manual_seed(_within_32_bits(seed)) for seed in seeds]

    def reseed(self, world: int, seed: int) -> None:
        """Restart a world's noise from a seed."""
        self.generators[world].manual_seed(_within_32_bits(seed))

    def start(self, shape: tuple[int, int, int, int]) -> Tensor:
        """See `NoiseSource`."""
        draws = [
            torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
            for generator in self.generators
        ]
        return torch.stack(draws)

    def fresh(self, shape: tuple[int, int, int, int]) -> Tensor:
        """See `NoiseSource`."""
        return self.start(shape)

    def select(self, worlds: Sequence[int]) -> WorldNoise:
        """Copies of some worlds' generators."""
        new = WorldNoise([0] * len(worlds))
        new.assign(range(len(worlds)), self, worlds)
        return new

    def assign(
        self, worlds: Sequence[int], source: WorldNoise, source_worlds: Sequence[int] | None = None
    ) -> None:
        """Set the generators of some worlds to the states of those of `source`."""
        others = range(len(source.generators)) if source_worlds is None else source_worlds
        for world, other in zip(worlds, others, strict=True):
            self.generators[world].set_state(source.generators[other].get_state())

    def states(self) -> Tensor:
        """State of each generator: uint8 ``[B, bytes]``."""
        return torch.stack([generator.get_state() for generator in self.generators])

    def set_states(self, states: Tensor) -> None:
        """Restore the generators to what `states` returned."""
        for generator, state in zip(self.generators, states, strict=True):
            generator.set_state(state.clone())


class RecordedNoise:
    """Plays recorded noise back.

    Args:
        noise: starting noise of the whole video ``[B, frames, C, h, w]``.
        step_noise: noise between steps in drawing order ``[draws, B * F, C, h, w]``, world by world.
    """

    def __init__(self, noise: Tensor, step_noise: Tensor) -> None:
        self.noise, self.step_noise = noise, step_noise
        self.frames = self.draws = 0  # played so far

    def start(self, shape: tuple[int, int, int, int]) -> Tensor:
        """See `NoiseSource`."""
        begin, self.frames = self.frames, self.frames + shape[0]
        if self.frames > self.noise.shape[1]:
            raise ConfigError(f"the recording holds noise for {self.noise.shape[1]} frames; stop there")
        return self.noise[:, begin : self.frames]

    def fresh(self, shape: tuple[int, int, int, int]) -> Tensor:
        """See `NoiseSource`."""
        self.draws += 1
        if self.draws > self.step_noise.shape[0]:
            raise ConfigError(
                f"the recording holds {self.step_noise.shape[0]} draws between steps; stop there"
            )
        draw: Tensor = self.step_noise[self.draws - 1].unflatten(0, (-1, shape[0]))
        return draw
