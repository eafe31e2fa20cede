import torch

from longlive_env.engine import sampler
from longlive_env.engine.schedule import add_noise

SIGMAS = (1.0, 0.75, 0.5)


class Oracle(torch.nn.Module):
    """Stands in for a transformer that knows the clean latents."""

    def __init__(self, x0: torch.Tensor, scale: float = 1.0) -> None:
        super().__init__()
        self.x0, self.calls, self.train_steps = x0, [], 1000
        self.scale = torch.nn.Parameter(torch.tensor(scale))

    def forward(self, x, timesteps, cross, memory):
        sigma = timesteps.item() / self.train_steps
        self.calls.append((sigma, x, torch.is_grad_enabled()))
        return self.scale * (x - self.x0) / sigma


def test_levels_inputs_and_draws() -> None:
    x0, noise = torch.randn(2, 3, 4, 2, 2), torch.randn(2, 3, 4, 2, 2)
    fresh = [torch.randn_like(noise) for _ in SIGMAS[1:]]
    draws = list(fresh)
    oracle = Oracle(x0)
    got = sampler.denoise(oracle, noise, SIGMAS, [], None, lambda: draws.pop(0))
    torch.testing.assert_close(got, x0)
    assert draws == []
    assert [sigma for sigma, _, _ in oracle.calls] == list(SIGMAS)
    inputs = [noise, add_noise(x0, fresh[0], 0.75), add_noise(x0, fresh[1], 0.5)]
    for (_, seen, _), want in zip(oracle.calls, inputs, strict=True):
        torch.testing.assert_close(seen, want)
    oracle.train_steps = 500
    again = sampler.denoise(oracle, noise, SIGMAS, [], None, iter(fresh).__next__, 500)
    torch.testing.assert_close(again, x0)


def test_gradients_flow_through_the_last_step_alone() -> None:
    x0, noise = torch.randn(1, 3, 4, 2, 2), torch.randn(1, 3, 4, 2, 2)
    oracle = Oracle(x0, 0.9)
    got = sampler.denoise(oracle, noise, SIGMAS, [], None, lambda: torch.zeros_like(noise))
    assert [grad for _, _, grad in oracle.calls] == [False, False, True]
    got.sum().backward()
    torch.testing.assert_close(oracle.scale.grad, -(oracle.calls[-1][1] - x0).sum())


def test_remember_never_carries_gradients() -> None:
    seen = []

    class Recorder:
        def remember(self, latents, timesteps, cross, memory):
            seen.append((latents.requires_grad, torch.is_grad_enabled(), timesteps.item()))

    sampler.remember(Recorder(), torch.ones(1, 3, 4, 2, 2, requires_grad=True), [], None)
    assert seen == [(False, False, 0.0)]
