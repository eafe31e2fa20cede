"""Streaming long tuning: distillation on takes that last a minute or more.

The teacher scores each chunk of a running take as a short clip, under the new prompt once it has changed.
Source: LongLive (Yang and others, 2025), "streaming long tuning".
"""

from __future__ import annotations

from dataclasses import dataclass

from longlive_env.training.distill_stage import Distillation, DistillOptions, DistillStage
from longlive_env.training.rollout_stage import Generated
from longlive_env.training.running_stage import RunningStage
from longlive_env.training.running_takes import RunningOptions
from longlive_env.training.stages import Batch


@dataclass(frozen=True)
class StreamOptions(DistillOptions, RunningOptions):
    """Options of distillation and of running takes."""


class StreamStage(RunningStage, DistillStage):
    """Trains a `Distillation` on long takes; see the module."""

    name = "stream"
    options_type = StreamOptions
    options: StreamOptions

    def generate(self, model: Distillation, batch: Batch) -> Generated:
        """The next chunk of the running takes."""
        return self.takes.chunk(model.generator, batch)
