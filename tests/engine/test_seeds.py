"""Draws by a seed."""

import pytest
import torch

from longlive_env.engine.seeds import seeded


def test_draws_follow_the_seed_and_leave_the_callers_generator_alone() -> None:
    def drawn(seed: int) -> torch.Tensor:
        with seeded(seed):
            return torch.randn(4)

    torch.manual_seed(5)
    expected = torch.randn(4)
    torch.manual_seed(5)
    assert torch.equal(drawn(1), drawn(1)) and not torch.equal(drawn(1), drawn(2))
    assert torch.equal(torch.randn(4), expected)


@pytest.mark.gpu
def test_a_gpu_that_is_named_follows_the_seed_too() -> None:
    device = torch.device("cuda", 0)

    def drawn(seed: int) -> torch.Tensor:
        with seeded(seed, device):
            return torch.randn(4, device=device)

    torch.manual_seed(5)
    expected = torch.randn(4, device=device)
    torch.manual_seed(5)
    assert torch.equal(drawn(1), drawn(1)) and not torch.equal(drawn(1), drawn(2))
    assert torch.equal(torch.randn(4, device=device), expected)


def test_gpus_are_not_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("it seeds the caller's"))
    for device in (None, torch.device("cpu"), torch.device("meta")):
        with seeded(1, device):
            torch.randn(1)
