"""The training loop that all stages share: resumable, limited by steps or by the clock, killed without loss.

A run of `steps` steps gives the same weights, bit for bit, however often it is interrupted: batches and noise
depend on seed and step alone, and a checkpoint holds the rest. A run limited by `minutes` schedules the
learning rate by the clock, so it is resumable but not repeatable. Several processes share each batch as
threads do (see `parallel`): the same parts with the same noise, so that their number changes the speed alone;
the first one writes.
"""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from longlive_env.errors import CheckpointError, ConfigError, TrainingError
from longlive_env.training import parallel
from longlive_env.training.checkpoint import (
    copy_state,
    load_tensors,
    optimizer_tensors,
    restore_optimizer,
    save_tensors,
)
from longlive_env.training.stages import Batch, Stage

logger = logging.getLogger(__name__)

_AUTOCAST = {"bf16": torch.bfloat16}


@dataclass(frozen=True)
class TrainConfig:
    """Where, how long and on what a stage trains.

    Attributes:
        out: folder of checkpoint, weights, log and sample sheets.
        minutes: wall-clock limit, over all resumed runs together.
        steps: limit of steps; at least one of the two limits is given.
        seed: of the noise.
        device: a torch device.
        autocast: None, or "bf16" for mixed precision (master weights stay float32).
        checkpoint_s: seconds between checkpoints, which is the most that a kill loses.
        evaluate_s: seconds between evaluations and sample sheets.
        log_every: steps between lines of the log.
        bar: whether to show a progress bar (needs tqdm).
        threads: parts of a batch that run side by side, each on one core; a small model on a CPU spends much
            of its time in operations that one core does alone. Only for stages that can split a batch.
    """

    out: Path
    minutes: float | None = None
    steps: int | None = None
    seed: int = 0
    device: str = "cpu"
    autocast: str | None = None
    checkpoint_s: float = 60.0
    evaluate_s: float = 120.0
    log_every: int = 20
    bar: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
        if self.minutes is None and self.steps is None:
            raise ConfigError("a training run needs an end; give minutes or steps")
        for name in ("minutes", "steps"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise ConfigError(f"{name} is {limit}; a limit of zero or less never comes, give more than 0")
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; expected 0 or more")
        if self.threads < 1 or (self.threads > 1 and self.device != "cpu"):
            raise ConfigError(
                f"threads is {self.threads} on {self.device}; expected at least 1, and 1 unless on the cpu"
            )
        if self.autocast is not None and self.autocast not in _AUTOCAST:
            raise ConfigError(
                f"autocast is {self.autocast!r}; expected one of {', '.join(_AUTOCAST)} or None"
            )


class Trainer:
    """State and loop of one training run."""

    def __init__(self, stage: Stage, config: TrainConfig) -> None:
        self.stage, self.config = stage, config
        self.model = stage.build().to(config.device).train()
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimizer = stage.optimizer(self.model)
        self.step = 0
        self.elapsed_s = 0.0
        self.metrics: dict[str, float] = {}
        config.out.mkdir(parents=True, exist_ok=True)
        self.checkpoint = config.out / "checkpoint.safetensors"
        self.log = config.out / "log.jsonl"
        self._workers = ThreadPoolExecutor(config.threads)
        if self.checkpoint.exists():
            self._resume()

    @property
    def progress(self) -> float:
        """Share of the run that is done, by the limit that comes first."""
        steps, minutes = self.config.steps, self.config.minutes
        by_step = self.step / steps if steps else 0.0
        by_time = self.elapsed_s / (60 * minutes) if minutes else 0.0
        return min(1.0, max(by_step, by_time))

    def run(self) -> nn.Module:
        """Train to the limit.

        Returns:
            The averaged model, settled, in eval mode.

        Raises:
            TrainingError: the loss is no longer finite.
        """
        mark = time.monotonic()
        saved_s = evaluated_s = self.elapsed_s
        sums: dict[str, Tensor] = {}
        counted = 0  # steps in the sums; a resumed run begins anywhere between two lines of the log
        with self._bar() as bar, self._one_core_a_part():
            while self.progress < 1:
                for name, value in self._train_step().items():
                    sums[name] = sums.get(name, torch.zeros((), device=value.device)) + value
                counted += 1
                now = time.monotonic()
                self.elapsed_s, mark = parallel.agree(self.elapsed_s + now - mark), now
                if self.step % self.config.log_every == 0:
                    bar(self._log_losses(sums, counted))
                    sums, counted = {}, 0
                if self.elapsed_s - evaluated_s >= self.config.evaluate_s:
                    evaluated_s = self.elapsed_s
                    bar(self._evaluate())
                if self.elapsed_s - saved_s >= self.config.checkpoint_s:
                    saved_s = self.elapsed_s
                    self.save()
        self._evaluate()
        self.save()
        return self.average

    def save(self) -> None:
        """Write the checkpoint, and the averaged weights by themselves."""
        self.stage.settle(self.average)
        if parallel.rank():
            parallel.wait_for_all()
            return
        info = {
            "stage": self.stage.name,
            "describe": self.stage.describe(),
            "step": self.step,
            "elapsed_s": round(self.elapsed_s, 3),
            "metrics": self.metrics,
        }
        average = self.average.state_dict()
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in average.items()}
        tensors |= {f"optimizer.{name}": value for name, value in optimizer_tensors(self.optimizer).items()}
        tensors |= {f"stage.{name}": value for name, value in self.stage.state().items()}
        save_tensors(self.checkpoint, tensors, info)
        save_tensors(self.config.out / "weights.safetensors", average, info)
        parallel.wait_for_all()

    def _resume(self) -> None:
        tensors, info = load_tensors(self.checkpoint)
        if info["stage"] != self.stage.name:
            raise CheckpointError(
                f"{self.checkpoint} belongs to stage {info['stage']!r}, not {self.stage.name!r}; "
                "choose another folder"
            )
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimizer": {}, "stage": {}}
        for key, value in tensors.items():
            part, name = key.split(".", 1)
            parts[part][name] = value
        copy_state(self.model, parts["model"], str(self.checkpoint))
        copy_state(self.average, parts["average"], str(self.checkpoint))
        restore_optimizer(self.optimizer, parts["optimizer"])
        self.stage.restore(self.model, parts["stage"])
        self.step, self.elapsed_s, self.metrics = info["step"], info["elapsed_s"], info["metrics"]
        if (
            self.log.exists() and not parallel.rank()
        ):  # drop what was logged after the checkpoint; it will be logged again
            rows = [
                line for line in self.log.read_text().splitlines() if json.loads(line)["step"] <= self.step
            ]
            self.log.write_text("".join(line + "\n" for line in rows))
        logger.info("resumed %s at step %d", self.checkpoint, self.step)

    def _train_step(self) -> dict[str, Tensor]:
        self._schedule()
        batch: Batch = {
            name: value.to(self.config.device, non_blocking=True)
            for name, value in self.stage.batch(self.step, self.progress).items()
        }
        losses = self._backward(batch)
        trained = [p for p in self.model.parameters() if p.grad is not None]
        norm = nn.utils.clip_grad_norm_(trained, self.stage.optimisation.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._average_weights({id(p) for p in trained})
        return {**losses, "grad_norm": norm.detach()}

    def _backward(self, batch: Batch) -> dict[str, Tensor]:
        """Leave the gradients of a batch in the parameters; returns its losses."""
        threads = self.config.threads
        count, first = threads * parallel.processes(), threads * parallel.rank()
        parameters = [p for p in self.model.parameters() if p.requires_grad]

        def part(number: int, share: Batch) -> tuple[dict[str, Tensor], tuple[Tensor | None, ...]]:
            # The CPU generator keeps 32 bits of a seed, so seed, step and part are hashed into them.
            entropy = (self.config.seed, self.step, number)
            noise_seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
            generator = torch.Generator().manual_seed(noise_seed)
            with self._autocast():
                losses = self.stage.losses(self.model, share, generator)
            total = torch.stack([value.float() for value in losses.values()]).sum() / threads
            gradients = torch.autograd.grad(total, parameters, allow_unused=True)
            return {name: value.detach().float() / threads for name, value in losses.items()}, gradients

        shares = [batch] if count == 1 else self.stage.split(batch, count)
        own = range(first, first + threads)
        results = list(self._workers.map(part, own, shares[first : first + threads]))
        for parameter, *gradients in zip(parameters, *(gradient for _, gradient in results), strict=True):
            found = [gradient for gradient in gradients if gradient is not None]
            parameter.grad = sum(found[1:], found[0]) if found else None
        parallel.average_gradients(parameters)
        names = dict.fromkeys(name for losses, _ in results for name in losses)
        return parallel.average_values(
            {name: torch.stack([losses[name] for losses, _ in results]).sum() for name in names}
        )

    def _schedule(self) -> None:
        """Linear warm-up in steps, then a cosine over the progress."""
        plan = self.stage.optimisation
        warmup = min(1.0, (self.step + 1) / max(1, plan.warmup_steps))
        cosine = plan.final + (1 - plan.final) * 0.5 * (1 + math.cos(math.pi * self.progress))
        for group in self.optimizer.param_groups:
            group["lr"] = plan.lr * group.get("lr_scale", 1.0) * warmup * cosine

    @torch.no_grad()
    def _average_weights(self, trained: set[int]) -> None:
        """Move the averages of parameters that the step has trained (by identity); others wait their turn."""
        decay = min(self.stage.optimisation.ema, self.step / (self.step + 10))
        pairs = zip(self.average.parameters(), self.model.parameters(), strict=True)
        moved = [(mine, theirs) for mine, theirs in pairs if id(theirs) in trained]
        averaged: list[Tensor] = [mine for mine, _ in moved]
        current: list[Tensor] = [theirs for _, theirs in moved]
        torch._foreach_lerp_(averaged, current, 1 - decay)
        for mine, theirs in zip(self.average.buffers(), self.model.buffers(), strict=True):
            mine.copy_(theirs)

    @torch.no_grad()
    def _evaluate(self) -> dict[str, float]:
        self.stage.settle(self.average)
        with self._autocast():
            self.metrics = self.stage.evaluate(self.average)
            sheet = None if parallel.rank() else self.stage.sheet(self.average)
        if sheet is not None:
            _write_png(self.config.out / "sheets" / f"{self.step:07d}.png", sheet)
        self._write_log(self.metrics)
        return self.metrics

    def _log_losses(self, sums: dict[str, Tensor], steps: int) -> dict[str, float]:
        means = {name: value.item() / steps for name, value in sums.items()}
        if not all(math.isfinite(value) for value in means.values()):
            raise TrainingError(
                f"loss is not finite at step {self.step}: {means}; lower the learning rate, training resumes "
                "from the last checkpoint"
            )
        self._write_log({**means, "lr": self.optimizer.param_groups[0]["lr"]})
        return means

    def _write_log(self, values: dict[str, float]) -> None:
        if parallel.rank():
            return
        row = {"step": self.step, "elapsed_s": round(self.elapsed_s, 1)}
        row |= {name: round(value, 6) for name, value in values.items()}
        with open(self.log, "a") as file:
            file.write(json.dumps(row) + "\n")

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.config.autocast is None:
            return contextlib.nullcontext()
        return torch.autocast(torch.device(self.config.device).type, _AUTOCAST[self.config.autocast])

    @contextlib.contextmanager
    def _one_core_a_part(self) -> Iterator[None]:
        """Keep operations on one core each while parts of a batch spread; torch has one number for all."""
        before = torch.get_num_threads()
        if self.config.threads > 1:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    @contextlib.contextmanager
    def _bar(self) -> Iterator[Any]:
        """Yield a function that shows values, on a progress bar if there is one."""
        if not self.config.bar:
            yield lambda values: None
            return
        try:
            from tqdm import tqdm
        except ImportError as error:
            raise TrainingError(
                "a progress bar needs tqdm: pip install tqdm, or train without a bar"
            ) from error
        layout = "{l_bar}{bar}|{elapsed}<{remaining}{postfix}"
        with tqdm(total=100, desc=self.stage.name, bar_format=layout) as bar:

            def show(values: dict[str, float]) -> None:
                bar.n = round(100 * self.progress, 1)
                bar.set_postfix(
                    {"step": self.step} | {name: f"{value:.4g}" for name, value in values.items()}
                )

            yield show


def _write_png(path: Path, picture: Tensor) -> None:
    try:
        from PIL import Image
    except ImportError:
        logger.info("no sample sheet: Pillow is not installed")
        return
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(picture.cpu().numpy()).save(path)


def train(stage: Stage, config: TrainConfig) -> nn.Module:
    """Train a stage, or go on with what its folder holds; returns the averaged model.

    The folder then holds `weights.safetensors` (the average), `checkpoint.safetensors`, `log.jsonl`, sheets.
    """
    return Trainer(stage, config).run()
