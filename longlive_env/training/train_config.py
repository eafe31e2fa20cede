"""Where, for how long and on what device a stage trains."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from longlive_env.errors import ConfigError


@dataclass(frozen=True)
class TrainConfig:
    """Where, for how long and on what device a stage trains.

    Attributes:
        out: folder for checkpoint, weights, log and sample sheets.
        minutes: wall-clock limit, over all resumed runs together.
        steps: largest number of steps; at least one of the two limits is given.
        session_minutes: minutes after which this process stops with a checkpoint, so that the same command
            can continue later; None for the end of the run. For machines lent for a while.
        seed: seed of the noise.
        device: a torch device.
        autocast: None, or "bf16" for mixed precision (master weights stay float32).
        checkpoint_s: seconds between checkpoints, which is the most that a kill loses.
        evaluate_s: seconds between evaluations and sample sheets; more where they would take over a tenth of
            the time.
        log_every: number of steps between lines of the log.
        bar: whether to show a progress bar (needs tqdm).
        threads: number of parts of a batch that this process runs side by side, each on one core; a small
            model on a CPU spends much of its time in operations that one core does alone. Not for the stages
            stream, follow and decoder.
        shard: whether to spread weights, gradients and optimizer over the processes, see `sharding`; one
            process alone has them whole.
        recompute: whether to recompute activations of transformer blocks in backward instead of keeping them.
    """

    out: Path
    minutes: float | None = None
    steps: int | None = None
    session_minutes: float | None = None
    seed: int = 0
    device: str = "cpu"
    autocast: str | None = None
    checkpoint_s: float = 60.0
    evaluate_s: float = 120.0
    log_every: int = 20
    bar: bool = False
    threads: int = 1
    shard: bool = False
    recompute: bool = False

    def __post_init__(self) -> None:
        if self.minutes is None and self.steps is None:
            raise ConfigError("a training run needs an end; give minutes or steps (--minutes, --steps)")
        for name in ("minutes", "steps", "session_minutes"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise ConfigError(f"{name} is {limit}; a limit of zero or less never comes, give more than 0")
        for name, option in (("checkpoint_s", "checkpoint-seconds"), ("evaluate_s", "evaluate-seconds")):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 0 seconds or more (--{option})")
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; expected 0 or more")
        if self.threads < 1 or (self.threads > 1 and self.device != "cpu"):
            raise ConfigError(
                f"threads is {self.threads} on {self.device}; expected at least 1, and 1 unless on the cpu"
            )
        if self.threads > 1 and self.shard:
            raise ConfigError(f"threads is {self.threads} with shard; processes share the work then, give 1")
        if self.autocast not in (None, "bf16"):
            raise ConfigError(f"autocast is {self.autocast!r}; expected one of bf16 or None")

    @property
    def dtype(self) -> torch.dtype | None:
        """Type that autocast computes in, or None."""
        return None if self.autocast is None else torch.bfloat16

    def mixed_precision(self) -> contextlib.AbstractContextManager[Any]:
        """Context of autocast, if requested."""
        if self.dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(torch.device(self.device).type, self.dtype)
