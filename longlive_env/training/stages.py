"""The base class of training stages, and the table of all stages.

A stage owns the model, the data and the losses; the trainer owns the loop, the average of the weights,
checkpoints and logs. A batch is a pure function of the seed and the step, so resuming needs no data state.
"""

from __future__ import annotations

import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from longlive_env.errors import ConfigError, did_you_mean

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Optimisation:
    """How a stage's weights are updated.

    Attributes:
        lr: peak learning rate, of AdamW and of Muon.
        final: the last learning rate, as a share of the peak.
        warmup_steps: number of steps of linear warm-up.
        betas: coefficients of AdamW, also for what Muon leaves to it.
        weight_decay: decay of matrices and kernels; vectors do not decay.
        clip: largest norm of the gradient.
        ema: decay of the averaged weights for a step (less in the first steps).

    Raises:
        ConfigError: a value is out of its range.
    """

    lr: float = 1e-3
    final: float = 0.02
    warmup_steps: int = 100
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.999

    def __post_init__(self) -> None:
        fractions = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        for name, value, fits, expected in (
            ("lr", self.lr, 0 < self.lr < math.inf, "a number above 0"),
            ("final", self.final, 0 <= self.final <= 1, "0 to 1"),
            ("warmup_steps", self.warmup_steps, self.warmup_steps >= 0, "0 or more"),
            ("betas", self.betas, fractions, "two numbers from 0 to below 1"),
            ("weight_decay", self.weight_decay, 0 <= self.weight_decay < math.inf, "0 or more"),
            ("clip", self.clip, 0 < self.clip < math.inf, "a number above 0"),
            ("ema", self.ema, 0 <= self.ema < 1, "0 to below 1"),
        ):
            if not fits:
                raise ConfigError(f"{name} is {value}; expected {expected}")


def decay_groups(model: nn.Module, weight_decay: float, **settings: Any) -> list[dict[str, Any]]:
    """Parameter groups of a model's trainable weights: matrices and kernels decay, vectors do not.

    Args:
        model: model whose parameters with `requires_grad` are meant.
        weight_decay: decay of matrices and kernels.
        settings: settings of both groups.
    """
    groups: tuple[list[Tensor], list[Tensor]] = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            vectors = parameter.ndim <= 1 or name.endswith("modulation")  # which holds several
            groups[vectors].append(parameter)
    decays = (weight_decay, 0.0)
    return [
        {"params": parameters, "weight_decay": decay, **settings}
        for parameters, decay in zip(groups, decays, strict=True)
        if parameters
    ]


def check_least(options: Any, **least: int) -> None:
    """Check that fields of a stage's options are large enough.

    Args:
        options: a dataclass.
        least: least value of each field by name.

    Raises:
        ConfigError: a field is less.
    """
    for name, wanted in least.items():
        if not getattr(options, name) >= wanted:  # nan fails, too
            raise ConfigError(f"{name} is {getattr(options, name)}; expected at least {wanted}")


def check_shares(options: Any, *names: str) -> None:
    """Check that fields of a stage's options are shares.

    Args:
        options: a dataclass.
        names: names of the fields.

    Raises:
        ConfigError: a field is not from 0 to 1.
    """
    for name in names:
        if not 0 <= getattr(options, name) <= 1:
            raise ConfigError(f"{name} is {getattr(options, name)}; expected 0 to 1")


def check_split(counts: Mapping[str, int], parts: int) -> None:
    """Check that the contents of a step split evenly over the threads of all processes.

    Args:
        counts: number of items, by the option that sets it.
        parts: number of parts.

    Raises:
        ConfigError: a count does not split evenly.
    """
    uneven = [f"{name} is {count}" for name, count in counts.items() if count % parts]
    if uneven:
        raise ConfigError(
            f"{', '.join(uneven)}; expected multiples of {parts}, to split over the threads of all "
            "processes: choose such, or fewer threads or processes"
        )


class Stage(ABC):
    """One stage of training. Subclasses set `name` and take a seed and options of their own.

    Attributes:
        name: key in `STAGES`.
        options_type: dataclass of the stage's options.
        counted: option that sets the number of items in a step; empty if each tensor of a batch names its own
            option, as in `OPTION.tensor`.
        optimisation: how weights are updated.
    """

    name: str
    options_type: type[Any]
    counted: str = ""
    optimisation: Optimisation = Optimisation()

    @abstractmethod
    def build(self) -> nn.Module:
        """Make the model to train, on the CPU, with weights that depend only on the stage's seed."""

    @abstractmethod
    def batch(self, step: int) -> Batch:
        """Make the batch of a step, on the CPU; the same for the same step.

        Args:
            step: index of the step, from 0.
        """

    @abstractmethod
    def losses(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The weighted loss terms of a batch; their sum is minimised.

        A stage with several networks (say a generator and its critic) builds one module that holds them all.
        They take turns according to which of them the losses reach: parameters without a gradient are left
        alone.

        Args:
            model: what `build` returned, on the training device.
            batch: the batch, on the training device.
            generator: CPU generator for noise, which depends only on seed and step.
        """

    def split(self, batch: Batch, parts: int) -> list[Batch]:
        """Split a batch into equal parts, the mean of whose losses is the batch's loss.

        Single values go to every part. If elements have weights, each part is normalised by its own, as usual
        in data-parallel training.

        Raises:
            ConfigError: the batch does not split evenly.
        """
        sized = {name: len(value) for name, value in batch.items() if value.ndim}
        check_split({self.counted or name.partition(".")[0]: size for name, size in sized.items()}, parts)
        return [
            {name: value.chunk(parts)[part] if value.ndim else value for name, value in batch.items()}
            for part in range(parts)
        ]

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Make the optimizer, here AdamW; a parameter group may scale its rate by `lr_scale`."""
        plan = self.optimisation
        return torch.optim.AdamW(decay_groups(model, plan.weight_decay), lr=plan.lr, betas=plan.betas)

    def frozen(self) -> list[nn.Module]:
        """Networks that the losses use but that are not trained; the trainer moves them to its device."""
        return []

    def state(self) -> dict[str, Tensor]:
        """What a resumed run needs besides weights and optimizer; most stages have none.

        Each process returns what only it has, under names that no other process uses.
        """
        return {}

    def restore(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:  # noqa: B027 - as above
        """Restore what `state` returned.

        Args:
            model: what `build` returned, on the training device.
            tensors: tensors of all processes, on the CPU; each is read on access.
        """

    def settle(self, model: nn.Module) -> None:  # noqa: B027 - most stages have nothing to do here
        """Update the averaged model's statistics to its weights, before it is evaluated or saved."""

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Metrics of the averaged model on held-out data."""
        return {}

    def sheet(self, model: nn.Module) -> Tensor | None:
        """A picture to look at, uint8 [H, W, 3], or None."""
        return None

    def describe(self) -> dict[str, Any]:
        """JSON values to save with the weights, enough to build the model again.

        A run resumes from a checkpoint only if they agree on every value that both have.
        """
        return {}


# What each stage trains, for readers; its class is `<Name>Stage` in `<name>_stage.py`.
STAGES = {
    "probe": "the network that reads what frames show",
    "codec": "pixels to latents and back",
    "base": "a bidirectional teacher for distill and stream",
    "causal": "the causal transformer and its text encoder, by teacher forcing",
    "distill": "the causal transformer on its own rollouts, towards the base",
    "stream": "the same on long takes with prompt switches",
    "follow": "the causal transformer on its own takes, towards what the renderer draws next",
    "decoder": "the codec's decoder on what the world draws",
}
ROLLED_OUT = ("distill", "stream", "follow")  # train a `Generating`
CLIP_CRITICS = ("distill", "stream")  # have a critic that knows whole clips
CODED = ("codec", "decoder")  # train a `PatchVAE`, or its decoder


def make_stage(name: str, seed: int = 0, **options: Any) -> Stage:
    """Build a stage by name.

    Args:
        name: one of `STAGES`.
        seed: seed of its weights, data and noise.
        options: fields of the stage's options.

    Raises:
        ConfigError: the name is unknown.
    """
    make: Callable[..., Stage] = stage_class(name)
    return make(seed=seed, **options)


def stage_class(name: str) -> type[Stage]:
    """Import and return the class of a stage by name.

    Raises:
        ConfigError: there is no such stage.
    """
    if name not in STAGES:
        remedy = did_you_mean(name, STAGES, f"known stages: {', '.join(STAGES)}")
        raise ConfigError(f"no training stage {name!r}; {remedy}")
    module = importlib.import_module(f"longlive_env.training.{name}_stage")
    found: type[Stage] = getattr(module, f"{name.title()}Stage")
    return found
