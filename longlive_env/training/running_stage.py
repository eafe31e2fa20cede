"""A stage whose takes continue from step to step, and are part of its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from longlive_env.errors import ConfigError
from longlive_env.training import parallel
from longlive_env.training.rollout_stage import Generating, RolloutStage
from longlive_env.training.running_takes import RunningOptions, RunningTakes
from longlive_env.training.stages import Batch


class RunningStage(RolloutStage):
    """A stage that trains a `Generating` on running takes.

    Attributes:
        takes: the running takes, which continue from step to step.
    """

    options: RunningOptions

    def __init__(self, seed: int = 0, **options: Any) -> None:
        super().__init__(seed, **options)
        self.takes = RunningTakes(self, self.options)

    def split(self, batch: Batch, parts: int) -> list[Batch]:
        """Split a batch only over processes, as the worlds of a process share a cache.

        Raises:
            ConfigError: there are more parts than processes, or the batch does not split evenly.
        """
        if parts != parallel.processes():
            raise ConfigError(f"the {self.name} stage runs its worlds in one batch; train it with one thread")
        return super().split(batch, parts)

    def state(self) -> dict[str, Tensor]:
        """The running takes, so that a resumed run continues them."""
        return self.takes.state()

    def restore(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        """See `RunningTakes.restore`."""
        assert isinstance(model, Generating)
        self.takes.restore(model.generator, tensors)
