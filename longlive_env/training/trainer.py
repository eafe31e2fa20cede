"""The training loop of all stages: resumable, limited by steps or by the clock, safe to kill.

A run of `steps` steps gives the same weights, bit for bit, however often it is interrupted: batches and noise
depend only on seed and step, and a checkpoint holds the rest. A run limited by `minutes` schedules the
learning rate by the clock, so it is resumable but not repeatable. Several processes share each batch as
threads do (see `parallel`): the same parts with the same noise, so that their number changes only the speed.
"""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.errors import CheckpointError, ConfigError, TrainingError
from longlive_env.training import parallel, saved_run
from longlive_env.training.checkpoint import check_fit, save_tensors
from longlive_env.training.recompute import recompute_activations
from longlive_env.training.run_log import RunLog, progress_bar
from longlive_env.training.saved_run import SavedRun, optimizer_tensors, restore_optimizer
from longlive_env.training.stages import Batch, Stage
from longlive_env.training.train_config import TrainConfig

logger = logging.getLogger(__name__)

WEIGHTS = "weights.safetensors"  # the average, in a run's folder

Losses = dict[str, tuple[Tensor, int]]  # since the last line of the log: sums, and numbers of steps

# Values of `describe` that may differ: places on disk, and decoder sizes, which do not affect latents.
_MAY_DIFFER = ("start", "decoder_widths", "decoder_blocks", "place")
_EVALUATION_SHARE = 0.1  # largest share of a run's time, for stages whose sample sheets take minutes on a CPU


class Trainer:
    """State and loop of one training run."""

    def __init__(self, stage: Stage, config: TrainConfig) -> None:
        self.stage, self.config = stage, config
        if self._parts > 1:
            stage.split(stage.batch(0), self._parts)  # fails on bad splits before models are built
        self.model = stage.build().train()
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self._place()
        self.optimizer = stage.optimizer(self.model)
        self.step = 0
        self.elapsed_s = 0.0
        self.metrics: dict[str, float] = {}
        config.out.mkdir(parents=True, exist_ok=True)
        self.log = RunLog(config.out)
        self._workers = ThreadPoolExecutor(config.threads)
        saved = saved_run.newest(config.out)
        if saved is None:
            self.log.back_to(0)  # a run that was killed before its first checkpoint
        else:
            self._resume(saved)

    @property
    def progress(self) -> float:
        """Share of the run that is done, by the limit that comes first."""
        steps, minutes = self.config.steps, self.config.minutes
        by_step = self.step / steps if steps else 0.0
        by_time = self.elapsed_s / (60 * minutes) if minutes else 0.0
        return min(1.0, max(by_step, by_time))

    def run(self) -> nn.Module:
        """Train to the limit, or to the end of the session.

        Returns:
            The averaged model, settled, in eval mode.

        Raises:
            TrainingError: the loss is no longer finite.
        """
        mark = time.monotonic()
        begun_s = saved_s = evaluated_s = self.elapsed_s
        pause_s = self.config.evaluate_s
        session_s = math.inf if self.config.session_minutes is None else 60 * self.config.session_minutes
        recent: Losses = {}
        with progress_bar(self.stage.name, self.config.bar) as show:
            while self.progress < 1 and self.elapsed_s - begun_s < session_s:
                with self._one_core_a_part():
                    losses = self._train_step()
                for name, value in losses.items():
                    total, count = recent.get(name, (torch.zeros((), device=value.device), 0))
                    recent[name] = total + value, count + 1
                now = time.monotonic()
                self.elapsed_s, mark = parallel.agree(self.elapsed_s + now - mark), now
                if self.step % self.config.log_every == 0:
                    show(self.progress, self.step, self._log_losses(recent))
                    recent = {}
                if self.elapsed_s - evaluated_s >= pause_s:
                    evaluated_s = self.elapsed_s
                    show(self.progress, self.step, self._evaluate())
                    spent_s = parallel.agree(time.monotonic() - now)
                    pause_s = max(self.config.evaluate_s, spent_s / _EVALUATION_SHARE)
                if self.elapsed_s - saved_s >= self.config.checkpoint_s:
                    saved_s = self.elapsed_s
                    self._means(recent)  # raises, so that non-finite weights do not replace good ones
                    self.save()
            show(self.progress, self.step, self._means(recent))
            self.save()
            if self.progress >= 1:
                show(self.progress, self.step, self._evaluate())  # may need more memory than training
                self.save()
        return self.average

    def save(self) -> None:
        """Write the checkpoint, and the averaged weights separately."""
        self.stage.settle(self.average)
        info = {
            "stage": self.stage.name,
            "seed": self.config.seed,
            "describe": self.stage.describe(),
            "step": self.step,
            "elapsed_s": round(self.elapsed_s, 3),
            "metrics": self.metrics,
        }
        tensors = self._weights()
        tensors |= {f"optimizer.{name}": value for name, value in optimizer_tensors(self.optimizer).items()}
        tensors |= {f"stage.{name}": value for name, value in self.stage.state().items()}
        saved_run.save(self.config.out, self.step, tensors, info)
        average = {}
        for name, value in self.average.state_dict().items():
            full = parallel.whole(value)
            if not parallel.rank():
                average[name] = full.cpu()
        if not parallel.rank():
            save_tensors(self.config.out / WEIGHTS, average, info)
        parallel.wait_for_all()

    def _place(self) -> None:
        """Move the networks to the device, sharded if requested and there are several processes."""
        config, networks = self.config, (self.model, self.average, *self.stage.frozen())
        if config.recompute and not recompute_activations(self.model):
            raise ConfigError(
                f"stage {self.stage.name!r} has no transformer blocks to compute again; leave recompute out"
            )
        shards, trained = config.shard and parallel.processes() > 1, list(self.model.modules())
        if shards:  # sheets are then drawn under autocast, too
            trained += self.average.modules()
        for module in trained:
            if isinstance(module, CausalWanTransformer):
                module.kv_dtype = config.dtype  # store what autocast computes without a cast
        if shards:
            from longlive_env.training.sharding import shard

            shard(self.model, config.device, config.dtype)
            shard(self.average, config.device, config.dtype)
            for network in self.stage.frozen():
                if isinstance(network, CausalWanTransformer):
                    shard(network, config.device, config.dtype, frozen=True)
        elif config.shard:
            logger.warning("there is one process only: its weights are whole; start several with torchrun")
        for network in networks:
            if not parallel.is_sharded(network):
                network.to(config.device)

    def _weights(self) -> dict[str, Tensor]:
        """The tensors of model and average, in place."""
        both = (("model", self.model), ("average", self.average))
        return {f"{part}.{name}": value for part, one in both for name, value in one.state_dict().items()}

    def _resume(self, saved: SavedRun) -> None:
        info = saved.info
        if info["stage"] != self.stage.name:
            raise CheckpointError(
                f"{saved.path} belongs to stage {info['stage']!r}, not {self.stage.name!r}; "
                "choose another folder"
            )
        if info["seed"] != self.config.seed:
            raise CheckpointError(
                f"{saved.path} was begun with --seed {info['seed']}; give the same, or choose another folder"
            )
        now = json.loads(json.dumps(self.stage.describe()))
        changed = list(_changes(info["describe"], now))
        if changed:
            raise CheckpointError(
                f"{saved.path} is of a run with other settings: {'; '.join(changed)}; choose another folder, "
                "or the settings that it began with"
            )
        weights = self._weights()
        shapes = saved.shapes.items()
        found = {name: shape for name, shape in shapes if name.startswith(("model.", "average."))}
        check_fit(weights, found, str(saved.path))
        saved.fill(weights)
        restore_optimizer(self.optimizer, saved, "optimizer.")
        with self.config.mixed_precision():  # sharded weights may be sent in another type
            self.stage.restore(self.model, saved.under("stage."))
        self.step, self.elapsed_s, self.metrics = info["step"], info["elapsed_s"], info["metrics"]
        self.log.back_to(self.step)
        logger.info("resumed %s at step %d", saved.path, self.step)

    def _train_step(self) -> dict[str, Tensor]:
        self._schedule()
        batch: Batch = {
            name: value.to(self.config.device, non_blocking=True)
            for name, value in self.stage.batch(self.step).items()
        }
        losses = self._sharded_backward(batch) if parallel.is_sharded(self.model) else self._backward(batch)
        trained = [p for p in self.model.parameters() if p.grad is not None]
        norm = nn.utils.clip_grad_norm_(trained, self.stage.optimisation.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._average_weights({id(p) for p in trained})
        return {**losses, "grad_norm": parallel.whole(norm.detach())}

    def _backward(self, batch: Batch) -> dict[str, Tensor]:
        """Leave the gradients of a batch in the parameters, and return its losses."""
        threads = self.config.threads
        shares, first = self._shares(batch), threads * parallel.rank()
        parameters = [p for p in self.model.parameters() if p.requires_grad]

        def part(number: int) -> tuple[dict[str, Tensor], tuple[Tensor | None, ...]]:
            losses = self._losses(shares[number], number)
            total = _total(losses) / threads
            gradients = torch.autograd.grad(total, parameters, allow_unused=True)
            return {name: value.detach().float() / threads for name, value in losses.items()}, gradients

        results = list(self._workers.map(part, range(first, first + threads)))
        for parameter, *gradients in zip(parameters, *(gradient for _, gradient in results), strict=True):
            found = [gradient for gradient in gradients if gradient is not None]
            parameter.grad = sum(found[1:], found[0]) if found else None
        parallel.average_gradients(parameters)
        names = dict.fromkeys(name for losses, _ in results for name in losses)
        return parallel.average_values(
            {name: torch.stack([losses[name] for losses, _ in results]).sum() for name in names}
        )

    def _sharded_backward(self, batch: Batch) -> dict[str, Tensor]:
        """Like `_backward` for sharded weights, whose gradients are averaged as they are computed."""
        number = parallel.rank()
        losses = self._losses(self._shares(batch)[number], number)
        _total(losses).backward()
        return parallel.average_values({name: value.detach().float() for name, value in losses.items()})

    def _shares(self, batch: Batch) -> Sequence[Batch]:
        return [batch] if self._parts == 1 else self.stage.split(batch, self._parts)

    @property
    def _parts(self) -> int:
        """Number of parts of a batch, over all threads of all processes."""
        return self.config.threads * parallel.processes()

    def _losses(self, share: Batch, number: int) -> dict[str, Tensor]:
        """Losses of a part of a batch."""
        # The CPU generator keeps 32 bits of a seed, so seed, step and part are hashed into them.
        entropy = (self.config.seed, self.step, number)
        noise_seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        generator = torch.Generator().manual_seed(noise_seed)
        with self.config.mixed_precision():
            return self.stage.losses(self.model, share, generator)

    def _schedule(self) -> None:
        """Set the learning rate: linear warm-up in steps, then a cosine over the progress."""
        plan = self.stage.optimisation
        warmup = min(1.0, (self.step + 1) / max(1, plan.warmup_steps))
        cosine = plan.final + (1 - plan.final) * 0.5 * (1 + math.cos(math.pi * self.progress))
        for group in self.optimizer.param_groups:
            group["lr"] = plan.lr * group.get("lr_scale", 1.0) * warmup * cosine

    @torch.no_grad()
    def _average_weights(self, trained: set[int]) -> None:
        """Update the averages of the parameters that the step has trained (by identity), and no others."""
        decay = min(self.stage.optimisation.ema, self.step / (self.step + 10))
        pairs = zip(self.average.parameters(), self.model.parameters(), strict=True)
        moved = [(mine, theirs) for mine, theirs in pairs if id(theirs) in trained]
        averaged = [parallel.local(mine) for mine, _ in moved]
        current = [parallel.local(theirs) for _, theirs in moved]
        torch._foreach_lerp_(averaged, current, 1 - decay)
        for mine, theirs in zip(self.average.buffers(), self.model.buffers(), strict=True):
            mine.copy_(theirs)

    @torch.no_grad()
    def _evaluate(self) -> dict[str, float]:
        self.stage.settle(self.average)
        alone = not parallel.is_sharded(self.average)  # whether the first process can draw by itself
        with self.config.mixed_precision(), parallel.gathered(self.average):
            self.metrics = self.stage.evaluate(self.average)
            sheet = None if alone and parallel.rank() else self.stage.sheet(self.average)
        if sheet is not None:
            self.log.picture(self.step, sheet)
        self.log.write(self.step, self.elapsed_s, self.metrics)
        return self.metrics

    def _log_losses(self, recent: Losses) -> dict[str, float]:
        means = self._means(recent)
        self.log.write(self.step, self.elapsed_s, {**means, "lr": self.optimizer.param_groups[0]["lr"]})
        return means

    def _means(self, recent: Losses) -> dict[str, float]:
        """Each loss over the steps that had it.

        Raises:
            TrainingError: a loss is not finite.
        """
        means = {name: total.item() / count for name, (total, count) in recent.items()}
        if not all(math.isfinite(value) for value in means.values()):
            raise TrainingError(
                f"loss is not finite at step {self.step}: {means}; lower the learning rate, training resumes "
                "from the last checkpoint"
            )
        return means

    @contextlib.contextmanager
    def _one_core_a_part(self) -> Iterator[None]:
        """Keep each operation on one core while parts run in threads; torch has one setting for all."""
        before = torch.get_num_threads()
        if self.config.threads > 1:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _changes(saved: Mapping[str, Any], now: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Differences between two descriptions of a stage; names that only one of them has do not count."""
    for name in [name for name in now if name in saved and name not in _MAY_DIFFER]:
        if isinstance(saved[name], dict) and isinstance(now[name], dict):
            yield from _changes(saved[name], now[name], f"{above}{name}.")
        elif saved[name] != now[name]:
            yield f"{above}{name} is {now[name]!r}, and was {saved[name]!r}"


def _total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack([value.float() for value in losses.values()]).sum()


def train(stage: Stage, config: TrainConfig) -> nn.Module:
    """Train a stage, or resume what its folder holds; returns the averaged model.

    The folder then holds `weights.safetensors` (the average), a checkpoint (see `saved_run`), `log.jsonl` and
    sample sheets.
    """
    return Trainer(stage, config).run()
