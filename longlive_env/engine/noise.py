"""Where a rollout's noise comes from: a generator for each world, or a recording.

Shapes: B worlds, F latent frames of a block, C latent channels, h x w latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from longlive_env.engine.seeds import checked_seed
from longlive_env.errors import ConfigError

Shape = tuple[int, int, int, int]  # F, C, h, w


class NoiseSource(Protocol):
    """Draws float32 CPU noise."""

    def block(self, shape: Shape, draws: int) -> Tensor:
        """Noise of the next block, ``[draws, B, F, C, h, w]``: first to start it, then between its steps.

        The caller may change it.
        """
        ...


def _within_32_bits(seed: int) -> int:
    """Fit a seed to the 32 bits that torch's CPU generator keeps; larger ones are hashed, so they differ."""
    whole = checked_seed(seed)
    return whole if whole < 1 << 32 else int(np.random.SeedSequence(whole).generate_state(1)[0])


class WorldNoise:
    """One CPU generator for each world, so that a seed means the same on every device and in any batch."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.generators = [torch.Generator().manual_seed(_within_32_bits(seed)) for seed in seeds]
        self._ahead: _Ahead | None = None

    def block(self, shape: Shape, draws: int) -> Tensor:
        """See `NoiseSource`."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            if ahead.noise.shape[0] == draws and ahead.noise.shape[2:] == shape:
                return ahead.noise
            for generator, state in zip(self.generators, ahead.before, strict=True):
                generator.set_state(state)
        return self._drawn(shape, draws)

    def draw_ahead(self, shape: Shape, draws: int) -> None:
        """Draw what the next call of `block` will return, while there is time; nothing else changes."""
        if self._ahead is None:
            before = self._states()
            self._ahead = _Ahead(self._drawn(shape, draws), before)

    def reseed(self, world: int, seed: int) -> None:
        """Restart a world's noise from a seed."""
        self.generators[world].manual_seed(_within_32_bits(seed))
        self._redraw(world)

    def select(self, worlds: Sequence[int]) -> WorldNoise:
        """Copies of some worlds' generators."""
        new = WorldNoise([0] * len(worlds))
        new.assign(range(len(worlds)), self, worlds)
        return new

    def assign(self, worlds: Sequence[int], source: WorldNoise, source_worlds: Sequence[int]) -> None:
        """Set the generators of some worlds to the states of some of `source`."""
        states = list(source._states())
        for world, other in zip(worlds, source_worlds, strict=True):
            self.generators[world].set_state(states[other])
            self._redraw(world)

    def states(self) -> Tensor:
        """State of each generator: uint8 ``[B, bytes]``."""
        return torch.stack(self._states())

    def set_states(self, states: Tensor) -> None:
        """Restore the generators to what `states` returned."""
        self._ahead = None
        for generator, state in zip(self.generators, states, strict=True):
            generator.set_state(state.clone())

    def _drawn(self, shape: Shape, draws: int) -> Tensor:
        with torch.inference_mode(False):  # a part may be drawn again, in another mode
            noise = torch.empty(draws, len(self.generators), *shape, device="cpu", dtype=torch.float32)
        for draw in noise:
            for one, generator in zip(draw, self.generators, strict=True):
                one.normal_(generator=generator)
        return noise

    def _states(self) -> list[Tensor]:
        """State of each generator, before what is drawn ahead."""
        if self._ahead is not None:
            return self._ahead.before
        return [generator.get_state() for generator in self.generators]

    def _redraw(self, world: int) -> None:
        """Draw a world's part of what is drawn ahead from its generator, which has another state now."""
        if self._ahead is not None:
            generator = self.generators[world]
            self._ahead.before[world] = generator.get_state()
            for draw in self._ahead.noise:
                draw[world].normal_(generator=generator)


@dataclass(frozen=True)
class _Ahead:
    """Noise that is drawn already, ``[draws, B, F, C, h, w]``, and the generators' states before."""

    noise: Tensor
    before: list[Tensor]


class RecordedNoise:
    """Plays recorded noise back.

    Args:
        noise: starting noise of the whole video ``[B, frames, C, h, w]``.
        step_noise: noise between steps in drawing order ``[draws, B * F, C, h, w]``, world by world.
    """

    def __init__(self, noise: Tensor, step_noise: Tensor) -> None:
        self.noise, self.step_noise = noise, step_noise
        self.frames = self.draws = 0  # played so far

    def block(self, shape: Shape, draws: int) -> Tensor:
        """See `NoiseSource`."""
        return torch.stack([self._start(shape), *(self._fresh(shape) for _ in range(draws - 1))])

    def _start(self, shape: Shape) -> Tensor:
        begin, self.frames = self.frames, self.frames + shape[0]
        if self.frames > self.noise.shape[1]:
            raise ConfigError(f"the recording holds noise for {self.noise.shape[1]} frames; stop there")
        return self.noise[:, begin : self.frames]

    def _fresh(self, shape: Shape) -> Tensor:
        self.draws += 1
        if self.draws > self.step_noise.shape[0]:
            raise ConfigError(
                f"the recording holds {self.step_noise.shape[0]} draws between steps; stop there"
            )
        draw: Tensor = self.step_noise[self.draws - 1].unflatten(0, (-1, shape[0]))
        return draw
