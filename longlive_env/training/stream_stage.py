"""Streaming long tuning: distillation on takes that go on for a minute and more.

The worlds of a step run on from one step to the next with their cache, chunk by chunk; a chunk keeps an
overlap of frames that were generated before, and the teacher scores it as a short clip. History carries no
gradients. At a random block boundary the prompt of a take changes, with a recache, and from then on the
teacher is asked about the new prompt. Source: LongLive (Yang and others, 2025), "streaming long tuning".

Shapes: B worlds, F latent frames of a chunk, C latent channels, h x w latent size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from longlive_env.engine import snapshot
from longlive_env.engine.noise import WorldNoise
from longlive_env.engine.rollout import Rollout
from longlive_env.engine.state import RolloutState
from longlive_env.errors import CheckpointError, ConfigError
from longlive_env.training import parallel
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
        """Equal numbers of worlds for every process; those of one process share a cache.

        Raises:
            ConfigError: there are more parts than processes.
        """
        if parts != parallel.processes():
            raise ConfigError("the stream stage runs its worlds in one batch; train it with one thread")
        return super().split(batch, parts)

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
        stream, count = self.stream, len(self.stream.later)
        tensors: dict[str, Tensor] = {}
        for world in range(count):
            tensors |= {
                f"{parallel.rank() * count + world}.{name}": value
                for name, value in {
                    "snapshot": _from_bytes(stream.rollout.snapshot([world])),
                    "later": _from_bytes(stream.later[world].encode()),
                    "tail": stream.tail[world],
                    "switch": torch.tensor([stream.switches[world]]),
                }.items()
            }
        return tensors

    def restore(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        """Go on with the takes that `state` kept: each process with its share of them.

        Raises:
            CheckpointError: they do not divide by the number of processes.
        """
        assert isinstance(model, Distillation)
        total = sum(name.endswith(".snapshot") for name in tensors)
        count = total // parallel.processes()
        if not total:
            return
        if count * parallel.processes() != total:
            raise CheckpointError(
                f"{total} takes are under way, which {parallel.processes()} processes cannot share evenly; "
                "start a number that divides them"
            )
        first = parallel.rank() * count
        mine = range(first, first + count)
        state = RolloutState(self.config, model.generator, WorldNoise([0] * count), count)
        with parallel.gathered(model.generator), torch.no_grad():
            for world, number in enumerate(mine):
                data = tensors[f"{number}.snapshot"].numpy().tobytes()
                # Sharded weights, and so what they compute, may travel in bfloat16 where whole ones do not.
                one = snapshot.from_bytes(data, self.config, model.generator, convert=True)
                state.assign([world], one)
        rollout = Rollout(self.world_of(model.generator), state)
        later = [tensors[f"{number}.later"].numpy().tobytes().decode() for number in mine]
        tail = torch.stack([tensors[f"{number}.tail"] for number in mine]).to(state.history.device)
        switches = [int(tensors[f"{number}.switch"].item()) for number in mine]
        self.stream = Stream(rollout, tail, later, switches)

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


def _from_bytes(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)
