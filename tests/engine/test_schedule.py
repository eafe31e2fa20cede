from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from longlive_env.engine.config import SamplerConfig
from longlive_env.engine.schedule import (
    add_noise,
    denoising_sigmas,
    flow_to_x0,
    training_sigmas,
    warp,
)

CASE = Path(__file__).parents[1] / "data" / "parity" / "cases" / "scheduler.safetensors"


def test_recorded_schedule() -> None:
    case, config = load_file(CASE), SamplerConfig()
    sigmas = denoising_sigmas(config)
    torch.testing.assert_close(training_sigmas(config), case["sigmas"], rtol=0, atol=2e-7)
    torch.testing.assert_close(torch.tensor(sigmas) * 1000, case["warped_steps"])
    levels = torch.tensor(sigmas)[:, None, None, None]
    torch.testing.assert_close(add_noise(case["x0"], case["noise"], levels), case["noised"])


@given(st.floats(0, 1), st.floats(1, 20))
def test_warp_keeps_the_ends_and_spends_more_steps_at_high_noise(fraction: float, shift: float) -> None:
    assert warp(0.0, shift) == 0.0
    assert warp(1.0, shift) == pytest.approx(1.0)
    assert fraction - 1e-12 <= warp(fraction, shift) <= 1.0 + 1e-12


@given(st.floats(0.01, 1))
def test_the_flow_between_two_points_leads_back_to_clean_latents(sigma: float) -> None:
    x0, noise = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    x_t = add_noise(x0, noise, sigma)
    torch.testing.assert_close(flow_to_x0(x_t, noise - x0, sigma), x0, rtol=1e-4, atol=1e-5)
