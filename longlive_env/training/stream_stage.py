"""Streaming long tuning: distillation on takes that go on for a minute and more.

The worlds of a step run on from one step to the next with their cache, chunk by chunk; a chunk keeps an
overlap of frames that were generated before, and the teacher scores it as a short clip. History carries no
gradients. At a random block boundary the prompt of a take changes, with a recache, and from then on the
teacher is asked about the new prompt. Source: LongLive (Yang and others, 2025), "streaming long tuning".

Shapes: B worlds, F latent frames of a chunk, C latent channels, h x w latent size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from longlive_env.engine import snapshot
from longlive_env.engine.rollout import Rollout
from longlive_env.errors import ConfigError
from longlive_env.training.distill_stage import Distillation, DistillOptions, DistillStage, Generated
from longlive_env.training.stages import Batch


@dataclass(frozen=True)
class StreamOptions(DistillOptions):
    """Options of distillation, and the length of takes.

    Attributes:
        length: blocks of a take; LongLive's 240 latent frames are 80.
        overlap: blocks of a chunk that were generated before it.
        switch_share: how many takes change their prompt.
    """

    length: int = 80
    overlap: int = 1
    switch_share: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.overlap < self.blocks:
            raise ConfigError(
                f"overlap is {self.overlap} blocks of a chunk of {self.blocks}; "
                f"expected 1 to {self.blocks - 1}"
            )
        if self.length < self.blocks:
            raise ConfigError(f"length is {self.length} blocks, less than a chunk of {self.blocks}; raise it")


@dataclass
class Stream:
    """Takes that run on from step to step.

    Attributes:
        rollout: their state.
        tail: the newest blocks' latents, which the next chunk begins with ``[B, overlap * F, C, h, w]``.
        later: the prompt that each world changes to.
        switches: the first block under that prompt; beyond the take's end for worlds that keep theirs.
    """

    rollout: Rollout
    tail: Tensor
    later: list[str]
    switches: list[int]

    @property
    def age(self) -> int:
        """Blocks generated; the worlds of a stream are of one age."""
        return self.rollout.blocks[0]


class StreamStage(DistillStage):
    """Trains a `Distillation` on long takes; see the module."""

    name = "stream"
    options_type = StreamOptions

    def __init__(self, seed: int = 0, **options: Any) -> None:
        super().__init__(seed, **options)
        self.stream: Stream | None = None

    def split(self, batch: Batch, parts: int) -> list[Batch]:
        """Not possible: a stream's worlds share a cache.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("the stream stage runs its worlds in one batch; train it with one thread")

    def generate(self, model: Distillation, batch: Batch) -> Generated:
        """The next chunk of the running takes, or the first of new ones."""
        options = self._options
        if self.stream is None or self.stream.age + options.blocks - options.overlap > options.length:
            self.stream = self._begin(model, batch["seeds"].tolist())
        stream, fresh = self.stream, self.stream.age == 0
        self._refresh(stream, model)
        count, frames = options.blocks - (0 if fresh else options.overlap), self.config.frames_per_block
        weights = stream.tail.new_ones(len(stream.later), count)
        blocks = []
        for block in range(count):
            turning = [world for world, at in enumerate(stream.switches) if at == stream.age]
            if turning:
                prompts = [stream.later[world] for world in turning]
                stream.rollout.switch_prompt(prompts, "full", turning, text=self.encode(prompts))
                weights[turning, :block] = 0  # the teacher is asked about the new prompt only
            blocks.append(stream.rollout.step_latents(steps=int(batch["steps"])))
        new = torch.cat(blocks, dim=1)
        latents = new if fresh else torch.cat((stream.tail, new), dim=1)
        counted = weights.repeat_interleave(frames, dim=1)
        if not fresh:
            counted = torch.cat((counted.new_zeros(len(counted), stream.tail.shape[1]), counted), dim=1)
        stream.tail = latents[:, -options.overlap * frames :].detach().clone()
        return Generated(latents, stream.rollout.state.text.clone(), counted)

    def state(self) -> dict[str, Tensor]:
        """The running takes, so that a resumed run goes on with them."""
        if self.stream is None:
            return {}
        stream = self.stream
        data = stream.rollout.snapshot()
        later = "\n".join(stream.later).encode()
        return {
            "snapshot": torch.frombuffer(bytearray(data), dtype=torch.uint8),
            "later": torch.frombuffer(bytearray(later), dtype=torch.uint8),
            "tail": stream.tail,
            "switches": torch.tensor(stream.switches),
        }

    def restore(self, model: nn.Module, tensors: dict[str, Tensor]) -> None:
        """Go on with the takes that `state` kept."""
        assert isinstance(model, Distillation)
        if not tensors:
            return
        data = tensors["snapshot"].numpy().tobytes()
        state = snapshot.from_bytes(data, self.config, model.generator)
        later = tensors["later"].numpy().tobytes().decode().split("\n")
        tail = tensors["tail"].to(next(model.parameters()).device)
        rollout = Rollout(self.world_of(model.generator), state)
        self.stream = Stream(rollout, tail, later, tensors["switches"].tolist())

    @property
    def _options(self) -> StreamOptions:
        assert isinstance(self.options, StreamOptions)
        return self.options

    def _begin(self, model: Distillation, seeds: list[int]) -> Stream:
        """New takes, each with its prompts and the block at which they change."""
        rngs = [np.random.default_rng(seed) for seed in seeds]
        pairs = [self.prompts.draw(rng, "train") for rng in rngs]
        length = self._options.length
        switches = [
            int(rng.integers(1, length)) if rng.random() < self._options.switch_share else length
            for rng in rngs
        ]
        rollout = self.start(model.generator, [before for before, _ in pairs], seeds)
        tail = rollout.state.history[:, :0]
        return Stream(rollout, tail, [after for _, after in pairs], switches)

    def _refresh(self, stream: Stream, model: Distillation) -> None:
        """The prompts' keys and values under the weights as they are now; those of frames stay as cached."""
        state = stream.rollout.state
        for world, (prompt, text) in enumerate(zip(state.prompts, state.text, strict=True)):
            state.set_prompt(world, prompt, text)
