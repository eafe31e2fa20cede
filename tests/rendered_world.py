"""A world that renders scenes instead of generating them, for tests of what measures worlds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from longlive_env.evaluate import Trial
from longlive_env.tiny.render import render_take
from longlive_env.tiny.scene import Scene, Take, block_start

Meaning = Callable[[str, Scene | None], Scene]  # from a prompt, and the scene before it, if any


def said(planned: Iterable[Trial]) -> Meaning:
    """What the prompts of trials mean by themselves."""
    scenes = {text: scene for one in planned for text, scene in zip(one.prompts, one.scenes, strict=True)}
    return lambda prompt, before: scenes[prompt]


class RenderedWorld:
    """Renders what its prompts mean."""

    device = torch.device("cpu")

    def __init__(self, meaning: Meaning) -> None:
        self.meaning = meaning

    def start(self, prompts: Sequence[str], seed: Sequence[int]) -> RenderedRollout:
        assert len(set(seed)) == len(prompts)
        return RenderedRollout(self, prompts)


class RenderedRollout:
    """Takes of a rendered world."""

    def __init__(self, world: RenderedWorld, prompts: Sequence[str]) -> None:
        self.world, self.block = world, 0
        self.segments = [[(0, world.meaning(prompt, None))] for prompt in prompts]

    def switch_prompt(self, prompts: Sequence[str]) -> None:
        for segments, prompt in zip(self.segments, prompts, strict=True):
            before = segments[-1][1]
            segments.append((block_start(self.block), self.world.meaning(prompt, before)))

    def step(self) -> Tensor:
        start, end = block_start(self.block), block_start(self.block + 1)
        self.block += 1
        takes = [Take(tuple(segments), camera=0.0) for segments in self.segments]
        return torch.stack([render_take(take, start, end - start) for take in takes])
