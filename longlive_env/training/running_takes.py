"""Takes that continue from one step of training to the next, with prompt switches on the way.

The worlds of a step keep their cache and continue chunk by chunk; each chunk overlaps with frames generated
before it. History carries no gradients. At a random block boundary, the prompt of a take changes, with a
recache. Source: LongLive (Yang and others, 2025), "streaming long tuning".

Shapes: B worlds, F latent frames of a chunk, C latent channels, h x w latent size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from longlive_env.engine import snapshot
from longlive_env.engine.noise import WorldNoise
from longlive_env.engine.rollout import Rollout
from longlive_env.engine.state import RolloutState
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.errors import CheckpointError, ConfigError
from longlive_env.training import parallel
from longlive_env.training.rollout_stage import Generated, RolloutOptions, RolloutStage
from longlive_env.training.stages import Batch, check_shares


@dataclass(frozen=True)
class RunningOptions(RolloutOptions):
    """How long takes are, and how their prompts change.

    Attributes:
        length: number of blocks in a take; LongLive's 240 latent frames are 80.
        overlap: number of blocks in a chunk that were generated before it.
        switch_share: share of takes that change their prompt.
    """

    length: int = 80
    overlap: int = 1
    switch_share: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_shares(self, "switch_share")
        if not 0 < self.overlap < self.blocks:
            raise ConfigError(
                f"overlap is {self.overlap} blocks of a chunk of {self.blocks}; "
                f"expected 1 to {self.blocks - 1}"
            )
        if self.length < self.blocks:
            raise ConfigError(f"length is {self.length} blocks, less than a chunk of {self.blocks}; raise it")


@dataclass
class Stream:
    """The takes in progress.

    Attributes:
        rollout: their state.
        tail: latents of the newest blocks, with which the next chunk begins ``[B, overlap * F, C, h, w]``.
        later: prompt that each world changes to.
        switches: first block under that prompt; beyond the take's end for worlds that keep their prompt.
        seeds: seeds by which each world's prompts were drawn.
    """

    rollout: Rollout
    tail: Tensor
    later: list[str]
    switches: list[int]
    seeds: list[int]

    @property
    def age(self) -> int:
        """Number of blocks generated; all worlds of a stream have the same age."""
        return self.rollout.blocks[0]


class RunningTakes:
    """The running takes of a stage.

    Args:
        stage: stage that starts rollouts and draws prompts.
        options: options of the stage.
    """

    def __init__(self, stage: RolloutStage, options: RunningOptions) -> None:
        self.stage, self.options = stage, options
        self.stream: Stream | None = None

    def goes_on(self, stream: Stream) -> bool:
        """Whether takes have room for another chunk."""
        return stream.age + self.options.blocks - self.options.overlap <= self.options.length

    def ready(self, generator: CausalWanTransformer, batch: Batch) -> tuple[Stream, int]:
        """The takes that the next chunk continues, new ones if the last have ended, and its new blocks."""
        options = self.options
        if self.stream is None or not self.goes_on(self.stream):
            self.stream = self.begin(generator, batch["seeds"].tolist())
        return self.stream, options.blocks - (options.overlap if self.stream.age else 0)

    def chunk(
        self,
        generator: CausalWanTransformer,
        batch: Batch,
        remember: Callable[[Tensor], Tensor] = Tensor.detach,
    ) -> Generated:
        """Generate the next chunk of the running takes, or the first of new ones, with the current weights.

        Args:
            generator: network that rolls out.
            batch: `seeds` of takes that begin, and the number of denoising `steps`.
            remember: function from a new block ``[B, F, C, h, w]`` to what the worlds remember; by default
                the block itself, detached.
        """
        (stream, count), options = self.ready(generator, batch), self.options
        fresh, frames = stream.age == 0, self.stage.config.frames_per_block
        _refresh(stream)
        weights = stream.tail.new_ones(len(stream.later), count)
        blocks, kept = list[Tensor](), list[Tensor]()

        def keep(latents: Tensor) -> Tensor:
            kept.append(remember(latents))
            return kept[-1]

        for block in range(count):
            turning = [world for world, at in enumerate(stream.switches) if at == stream.age]
            if turning:
                prompts = [stream.later[world] for world in turning]
                stream.rollout.switch_prompt(prompts, "full", turning, text=self.stage.encode(prompts))
                weights[turning, :block] = 0  # made under the old prompt
            blocks.append(stream.rollout.step_latents(steps=int(batch["steps"]), remember=keep))
        new = torch.cat(blocks, dim=1)
        latents = new if fresh else torch.cat((stream.tail, new), dim=1)
        counted = weights.repeat_interleave(frames, dim=1)
        if not fresh:
            counted = torch.cat((counted.new_zeros(len(counted), stream.tail.shape[1]), counted), dim=1)
        stream.tail = torch.cat((stream.tail, *kept), dim=1)[:, -options.overlap * frames :].clone()
        return Generated(latents, stream.rollout.state.text.clone(), counted)

    def begin(self, generator: CausalWanTransformer, seeds: list[int]) -> Stream:
        """Start new takes, each with its prompts and the block at which they change."""
        rngs = [np.random.default_rng(seed) for seed in seeds]
        pairs = [self.stage.prompts.draw(rng, "train") for rng in rngs]
        length = self.options.length
        switches = [
            int(rng.integers(1, length)) if rng.random() < self.options.switch_share else length
            for rng in rngs
        ]
        rollout = self.stage.start(generator, [before for before, _ in pairs], WorldNoise(seeds))
        tail = rollout.state.history[:, :0]
        return Stream(rollout, tail, [after for _, after in pairs], switches, seeds)

    def numbers(self) -> range:
        """Numbers of this process's takes among those of all processes."""
        count = 0 if self.stream is None else len(self.stream.later)
        return range(parallel.rank() * count, (parallel.rank() + 1) * count)

    def state(self) -> dict[str, Tensor]:
        """The takes in progress, for `Stage.state`."""
        if self.stream is None:
            return {}
        stream, tensors = self.stream, dict[str, Tensor]()
        for world, number in enumerate(self.numbers()):
            tensors |= {
                f"{number}.{name}": value
                for name, value in {
                    "snapshot": _from_bytes(stream.rollout.snapshot([world])),
                    "later": _from_bytes(stream.later[world].encode()),
                    "tail": stream.tail[world],
                    "switch": torch.tensor([stream.switches[world]]),
                    "seed": torch.tensor([stream.seeds[world]]),
                }.items()
            }
        return tensors

    def restore(self, generator: CausalWanTransformer, tensors: Mapping[str, Tensor]) -> None:
        """Continue the takes that `state` returned, each process with its share of them.

        Raises:
            CheckpointError: the takes do not divide by the number of processes.
        """
        total = sum(name.endswith(".snapshot") for name in tensors)
        count = total // parallel.processes()
        if not total:
            return
        if count * parallel.processes() != total:
            raise CheckpointError(
                f"{total} takes are under way, which {parallel.processes()} processes cannot share evenly; "
                "start a number that divides them"
            )
        first, config = parallel.rank() * count, self.stage.config
        mine = range(first, first + count)
        state = RolloutState(config, generator, WorldNoise([0] * count), count)
        with parallel.gathered(generator), torch.no_grad():
            for world, number in enumerate(mine):
                data = tensors[f"{number}.snapshot"].numpy().tobytes()
                # Sharded weights, and so their results, may be in bfloat16 where unsharded ones are not.
                one, _ = snapshot.resumed(snapshot.from_bytes(data), config, generator, convert=True)
                state.assign([world], one)
        rollout = Rollout(self.stage.world.replaced(transformer=generator), state)
        later = [tensors[f"{number}.later"].numpy().tobytes().decode() for number in mine]
        tail = torch.stack([tensors[f"{number}.tail"] for number in mine]).to(state.history.device)
        switches = [int(tensors[f"{number}.switch"].item()) for number in mine]
        seeds = [int(tensors[f"{number}.seed"].item()) for number in mine]
        self.stream = Stream(rollout, tail, later, switches, seeds)


def _refresh(stream: Stream) -> None:
    """Recompute the prompts' keys and values with the current weights; those of frames stay as cached."""
    state = stream.rollout.state
    for world, text in enumerate(state.text):
        state.set_prompt(world, state.prompts[world], text, state.whole_prompts[world])


def _from_bytes(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)
