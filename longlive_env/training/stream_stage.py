"""Streaming long tuning: distillation on takes that go on for a minute and more.

The teacher scores each chunk of a running take as a short clip, and from the change of its prompt on is asked
about the new one. Source: LongLive (Yang and others, 2025), "streaming long tuning".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from longlive_env.training.distill_stage import DistillOptions, DistillStage
from longlive_env.training.matching_stage import Distillation
from longlive_env.training.rollout_stage import Generated
from longlive_env.training.running_takes import RunningOptions, RunningTakes
from longlive_env.training.stages import Batch


@dataclass(frozen=True)
class StreamOptions(DistillOptions, RunningOptions):
    """Options of distillation and of running takes."""


class StreamStage(DistillStage):
    """Trains a `Distillation` on long takes; see the module.

    Attributes:
        takes: those that run on from step to step.
    """

    name = "stream"
    options_type = StreamOptions
    options: StreamOptions

    def __init__(self, seed: int = 0, **options: Any) -> None:
        super().__init__(seed, **options)
        self.takes = RunningTakes(self, self.options)

    def split(self, batch: Batch, parts: int) -> list[Batch]:
        """Equal numbers of worlds for every process."""
        self.takes.check_parts(parts)
        return super().split(batch, parts)

    def generate(self, model: Distillation, batch: Batch) -> Generated:
        """The next chunk of the running takes."""
        return self.takes.chunk(model.generator, batch)

    def state(self) -> dict[str, Tensor]:
        """The running takes, so that a resumed run goes on with them."""
        return self.takes.state()

    def restore(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        """See `RunningTakes.restore`."""
        assert isinstance(model, Distillation)
        self.takes.restore(model.generator, tensors)
