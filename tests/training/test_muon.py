"""Muon: orthogonal updates for matrices, AdamW's for the rest."""

import pytest
import torch

from longlive_env.training import muon
from longlive_env.training.muon import Muon, orthogonalise


@pytest.mark.parametrize("in_bfloat16", [True, False])
@pytest.mark.parametrize("shape", [(8, 8), (6, 20), (20, 6)])
def test_singular_values_are_near_one(
    shape: tuple[int, int], in_bfloat16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(muon, "multiplies_bfloat16", lambda device: in_bfloat16)
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
    assert values.min() > 0.5
    assert values.max() < 1.35


def test_vectors_follow_adamw() -> None:
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 7)) for _ in range(2))
    mine = Muon([{"params": [ours], "weight_decay": 0.1}], lr=0.01, betas=(0.9, 0.99))
    reference = torch.optim.AdamW([theirs], lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)
    for _ in range(5):
        gradient = torch.randn(7)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        mine.step()
        reference.step()
    torch.testing.assert_close(ours, theirs)


def test_matrices_follow_nesterovs_momentum() -> None:
    torch.manual_seed(0)
    weight, gradients = torch.nn.Parameter(torch.zeros(4, 6)), torch.randn(2, 4, 6)
    optimizer = Muon([{"params": [weight], "matrix": True}], lr=1.0)
    for gradient in gradients:
        before = weight.detach().clone()
        weight.grad = gradient.clone()
        optimizer.step()
    momentum = (0.05 * gradients[0]).lerp(gradients[1], 0.05)
    change = orthogonalise(gradients[1].lerp(momentum, 0.95)) * 0.2 * 6**0.5
    torch.testing.assert_close(before - weight, change)


def test_matrix_update_has_the_root_mean_square_of_adamw() -> None:
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(32, 4, 3, 3))
    weight.grad = torch.randn_like(weight)
    Muon([{"params": [weight], "matrix": True}], lr=1.0).step()
    assert weight.square().mean().sqrt().item() == pytest.approx(0.2, rel=0.15)
