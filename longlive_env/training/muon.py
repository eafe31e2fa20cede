"""Muon for matrices and kernels, AdamW for everything else, as one optimizer.

Muon (Keller Jordan and others, 2024) replaces a matrix's momentum by the nearest orthogonal matrix, found
with five Newton-Schulz steps. Updates are scaled to AdamW's root mean square (Liu and others, 2025, "Muon is
scalable for LLM training"), so both kinds of parameters share one learning rate. `torch.optim.Muon` takes
only two-dimensional parameters.

For a sharded matrix, every process gathers the momentum, computes the same orthogonal matrix, and keeps its
slice: the matrix has to be whole, and products of one matrix are cheap relative to a step.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from longlive_env.engine.devices import multiplies_bfloat16
from longlive_env.training.parallel import sliced_like, whole
from longlive_env.training.stages import Optimisation

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the Newton-Schulz polynomial
_STEPS = 5
_MOMENTUM = 0.95  # Nesterov's
_RMS = 0.2  # typical root mean square of an AdamW update


class Muon(torch.optim.Optimizer):
    """Muon with AdamW beside it.

    Args:
        groups: parameter groups; a group with `"matrix": True` is updated by Muon and holds parameters of two
            or more dimensions (a kernel is the matrix of its output channels), other groups by AdamW.
        lr: learning rate of groups that set none.
        betas: coefficients of AdamW.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.99),
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "weight_decay": 0.0,
            "matrix": False,
            "eps": 1e-8,
        }
        super().__init__(list(groups), defaults)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            update = self._muon if group["matrix"] else self._adam
            for parameter in group["params"]:
                if parameter.grad is not None:
                    change = update(parameter.grad, self.state[parameter], group)
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(change, alpha=-group["lr"])

    @staticmethod
    def _muon(grad: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> Tensor:
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(grad)
        momentum = state["momentum"].lerp_(grad, 1 - _MOMENTUM)
        matrix = whole(grad.lerp(momentum, _MOMENTUM)).flatten(1)
        change = orthogonalise(matrix) * (_RMS * max(matrix.shape) ** 0.5)
        return sliced_like(change.view(grad.shape), grad)

    @staticmethod
    def _adam(grad: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> Tensor:
        if "step" not in state:
            state["step"] = torch.zeros(())
            state["mean"], state["square"] = torch.zeros_like(grad), torch.zeros_like(grad)
        beta1, beta2 = group["betas"]
        state["step"] += 1
        mean = state["mean"].lerp_(grad, 1 - beta1) / (1 - beta1 ** state["step"].item())
        square = state["square"].lerp_(grad.square(), 1 - beta2) / (1 - beta2 ** state["step"].item())
        change: Tensor = mean / (square.sqrt() + group["eps"])
        return change


def orthogonalise(matrix: Tensor) -> Tensor:
    """Approximate the orthogonal matrix nearest to `matrix` [m, n]: singular values of about 0.7 .. 1.2.

    Computed in bfloat16, or in float32 where a processor lacks fast bfloat16 products, and returned in the
    matrix's own dtype.
    """
    a, b, c = _COEFFICIENTS
    x = matrix.to(torch.bfloat16 if multiplies_bfloat16(matrix.device) else torch.float32)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(_STEPS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).to(matrix.dtype)


def kernels_and_vectors(
    parameters: Iterable[nn.Parameter], weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """Groups for `Muon`: Muon updates the kernels of a convolutional network, AdamW the vectors.

    Args:
        parameters: parameters to train.
        weight_decay: decay of kernels.
    """
    trained = list(parameters)
    kernels = {"params": [p for p in trained if p.ndim > 1], "matrix": True, "weight_decay": weight_decay}
    return [kernels, {"params": [p for p in trained if p.ndim <= 1]}]


def matrices_and_vectors(model: nn.Module, plan: Optimisation) -> Muon:
    """Muon for the matrices of a transformer's blocks, AdamW at half the rate for the rest.

    The rest is embeddings, the head and vectors, whose rows or columns each stand for a single item.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    matrices = {name for name, p in named if "blocks." in name and p.ndim == 2 and "embedding" not in name}
    groups: list[dict[str, Any]] = [
        {
            "params": [p for name, p in named if name in matrices],
            "matrix": True,
            "weight_decay": plan.weight_decay,
        },
        {"params": [p for name, p in named if name not in matrices], "lr_scale": 0.5},
    ]
    return Muon([group for group in groups if group["params"]], lr=plan.lr, betas=plan.betas)
