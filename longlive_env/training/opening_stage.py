"""The base of stages in which the renderer teaches a generator first blocks, and what follows them.

Shapes: B clips, F latent frames of a block, C latent channels, h x w latent size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.training import parallel
from longlive_env.training.places import weighed
from longlive_env.training.rendered_stage import Camera, RenderedOptions, RenderedStage
from longlive_env.training.running_stage import RunningStage
from longlive_env.training.stages import Batch, check_least, check_split


@dataclass(frozen=True)
class OpeningOptions(RenderedOptions):
    """Options of rendered takes, and of what a generator learns from them.

    Attributes:
        openings: number of first blocks in a step.
        setting_weight: factor for the loss of a new setting's first block, of which a take has one at most.
    """

    openings: int = 24
    setting_weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, openings=1, setting_weight=0)


class OpeningStage(RunningStage, RenderedStage):
    """A stage that trains a generator on first blocks and on running takes."""

    options: OpeningOptions

    def check(self) -> None:
        """Require also that first blocks split over processes."""
        super().check()
        check_split({"openings": self.options.openings}, parallel.processes())

    def batch(self, step: int) -> Batch:
        """The batch of rollouts, and seeds of first blocks."""
        rng = np.random.default_rng((self.seed, 9, step))
        openings = torch.from_numpy(rng.integers(2**31, size=self.options.openings))
        return {**super().batch(step), "openings": openings}

    def following(self, generator: CausalWanTransformer, batch: Batch) -> Tensor:
        """The squared distance of a chunk's new blocks from the renderer's, except a take's first block.

        The distance is `weighed`.
        """
        stream, _ = self.takes.ready(generator, batch)
        errors = list[Tensor]()

        def judged(made: Tensor) -> Tensor:
            found, age = self.compare(stream, generator, made), stream.age
            if age:
                error = weighed(found.error, found.haze)
                error[self.turning(stream, age)] *= self.options.setting_weight
                errors.append(error)
            return found.kept

        self.takes.chunk(generator, batch, judged)
        return torch.cat(errors).mean()

    def state(self) -> dict[str, Tensor]:
        """The running takes and their cameras, so that a resumed run continues them."""
        cameras = {
            f"{number}.camera": torch.tensor([camera.first, camera.offset])
            for number, camera in zip(self.takes.numbers(), self.cameras, strict=True)
        }
        return {**super().state(), **cameras}

    def restore(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        """See `RunningTakes.restore`."""
        super().restore(model, tensors)
        self.cameras = [Camera(*tensors[f"{number}.camera"].tolist()) for number in self.takes.numbers()]
