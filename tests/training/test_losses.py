from __future__ import annotations

import math

import pytest
import torch

from longlive_env.training.losses import (
    distribution_matching_loss,
    edge_loss,
    flicker_loss,
    flow_matching_loss,
    grain,
    psnr,
    reconstruction_losses,
    unit_scale_loss,
)


def test_edge_loss_counts_each_step_of_the_error() -> None:
    target = torch.zeros(1, 4, 5)
    output = target + torch.arange(5.0)  # rises by one along each row, not along columns
    assert edge_loss(output, target).item() == pytest.approx(1.0)
    assert edge_loss(target + 0.7, target).item() == pytest.approx(0.0, abs=1e-6)


def test_reconstruction_losses_of_a_constant_error() -> None:
    target = torch.rand(2, 3, 4, 4)
    terms = reconstruction_losses(target + 0.5, target, mse=4.0)
    assert terms["l1"].item() == pytest.approx(0.5)
    assert terms["mse"].item() == pytest.approx(4 * 0.25)
    assert terms["edge"].item() == pytest.approx(0.0, abs=1e-6)


def test_the_weight_of_edges() -> None:
    target = torch.rand(2, 3, 4, 4)
    found = [reconstruction_losses(target.square(), target, edge=weight) for weight in (1.0, 4.0)]
    assert found[1]["edge"].item() == pytest.approx(4 * found[0]["edge"].item())
    assert found[1]["l1"] == found[0]["l1"]


def test_flicker_loss_sees_change_that_is_not_there() -> None:
    target = torch.rand(2, 5, 3, 4, 4)
    blinking = torch.tensor([0.0, 0.3]).repeat(3)[:5].view(1, 5, 1, 1, 1)
    assert flicker_loss(target + blinking, target).item() == pytest.approx(0.3, abs=1e-6)
    assert flicker_loss(target + 0.5, target).item() == pytest.approx(0.0, abs=1e-6)
    terms = reconstruction_losses(target + blinking, target, flicker=2.0)
    assert terms["flicker"].item() == pytest.approx(0.6, abs=1e-5)


def test_unit_scale_loss_is_the_kl_divergence_from_a_standard_normal() -> None:
    values, others = torch.randn(8, 8, 5, 10, 10, dtype=torch.float64), (0, 1, 3, 4)
    values = (values - values.mean(others, keepdim=True)) / values.std(others, keepdim=True, correction=0)
    assert unit_scale_loss(values).item() == pytest.approx(0.0, abs=1e-5)
    expected = 0.5 * (9 + 4 - 1 - math.log(4))
    assert unit_scale_loss(2 * values + 3).item() == pytest.approx(expected, rel=1e-4)


def test_psnr_of_a_known_error_and_of_values_a_display_clamps() -> None:
    target = torch.zeros(3, 8, 8)
    assert psnr(target + 0.02, target) == pytest.approx(40.0, abs=1e-3)
    assert psnr(torch.full((4,), 3.0), torch.ones(4)) == pytest.approx(126.0, abs=0.1)


def test_grain_is_what_roughens_smooth_parts() -> None:
    noise = torch.randn(2, 4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) / 127.5
    flat = torch.zeros_like(noise)
    assert grain(flat + 0.3, flat) == 0
    assert grain(flat + noise, flat) == pytest.approx(math.sqrt(2), rel=0.02)  # one level in each pixel
    edged = flat.clone()
    edged[..., 32:] = 0.5
    assert grain(edged, edged) == 0
    assert grain(edged + noise, edged) == pytest.approx(math.sqrt(2), rel=0.02)
    blurred = edged.clone()
    blurred[..., 31], blurred[..., 32] = 0.2, 0.3
    assert grain(blurred, edged) == 0  # next to an edge
    assert grain(flat, torch.rand(flat.shape)) == 0  # nothing is smooth


def test_flow_matching_is_the_squared_error_against_noise_minus_clean() -> None:
    clean, noise = torch.full((1, 2, 3), 2.0), torch.full((1, 2, 3), 5.0)
    flow = torch.tensor([[[3.0, 3.0, 3.0], [1.0, 3.0, 4.0]]])  # exact, and wrong by -2, 0 and 1
    assert flow_matching_loss(flow, clean, noise, torch.ones(1, 2)).item() == pytest.approx(5 / 6)
    assert flow_matching_loss(flow, clean, noise, torch.tensor([[1.0, 0.0]])).item() == 0
    assert flow_matching_loss(flow, clean, noise, torch.tensor([[1.0, 3.0]])).item() == pytest.approx(5 / 4)


def test_gradient_of_distribution_matching_is_the_normalised_difference() -> None:
    torch.manual_seed(0)
    x0, real, fake = (torch.randn(2, 3, 1, 2, 2) for _ in range(3))
    x0.requires_grad_(True)
    weights = torch.tensor([[1.0, 1, 1], [0, 0, 1]])
    distribution_matching_loss(x0, real, fake, weights).backward()
    first = (x0.detach() - real)[0].abs().mean()
    second = (x0.detach() - real)[1, 2].abs().mean()  # of the one frame that counts
    scale = torch.stack([first, second]).view(2, 1, 1, 1, 1)
    expected = (fake - real) / scale * weights[..., None, None, None] / 4 / weights.sum()
    torch.testing.assert_close(x0.grad, expected)


def test_distribution_matching_rests_where_critic_and_teacher_agree() -> None:
    x0 = torch.randn(1, 2, 1, 2, 2, requires_grad=True)
    guess = torch.randn(1, 2, 1, 2, 2)
    distribution_matching_loss(x0, guess, guess, torch.ones(1, 2)).backward()
    assert x0.grad is not None and not x0.grad.any()
    guess = x0.detach()  # nor does a teacher divide by zero who would change nothing
    assert distribution_matching_loss(x0, guess, guess + 1, torch.ones(1, 2)).isfinite()
