"""Activation checkpointing changes memory alone: losses and gradients stay the same as the cache moves on."""

from __future__ import annotations

import copy

import pytest
import torch
from small_rollouts import CONFIG, rollout_loss, transformer
from torch import Tensor, nn
from toy_stages import LineStage

from longlive_env.engine.config import Backend
from longlive_env.engine.kv_cache import Pass
from longlive_env.errors import ConfigError
from longlive_env.training import TrainConfig, Trainer
from longlive_env.training.lora import add_lora
from longlive_env.training.recompute import recompute_activations
from longlive_env.training.world_model import WorldModel


def gradients(model: nn.Module, loss: Tensor) -> list[Tensor]:
    trained = [p for p in model.parameters() if p.requires_grad]
    found = torch.autograd.grad(loss, trained, allow_unused=True)
    return [gradient for gradient in found if gradient is not None]


@pytest.mark.parametrize("rank", [0, 2])
def test_rollouts_have_the_same_gradients(rank: int) -> None:
    plain = transformer()
    if rank:
        add_lora(plain, rank)
        for name, parameter in plain.named_parameters():
            if name.endswith(".up"):
                nn.init.normal_(parameter, std=0.1)
    again = copy.deepcopy(plain)
    assert recompute_activations(again) == CONFIG.transformer.layers
    assert again.state_dict().keys() == plain.state_dict().keys()
    one, other = rollout_loss(plain, seed=1), rollout_loss(again, seed=1)
    assert torch.equal(one, other)
    pairs = list(zip(gradients(plain, one), gradients(again, other), strict=True))
    assert pairs and all(torch.equal(a, b) for a, b in pairs)


def test_a_pass_that_reads_the_cache_anew_would_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """The frozen copy is what makes them equal: later blocks have overwritten the cache by then."""
    plain, again = transformer(), transformer()
    recompute_activations(again)
    expected = gradients(plain, rollout_loss(plain, seed=1))

    class Unfrozen:
        def __init__(self, memory: Pass, layer: int) -> None:
            self.memory, self.layer = memory, layer

        def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, backend: Backend) -> Tensor:
            return self.memory.attend(self.layer, q, k, v, backend)

    monkeypatch.setattr(Pass, "frozen", lambda memory, layer: Unfrozen(memory, layer))
    found = gradients(again, rollout_loss(again, seed=1))
    assert not all(torch.allclose(a, b, rtol=1e-3) for a, b in zip(expected, found, strict=True))


def test_the_text_encoder_is_recomputed_too() -> None:
    torch.manual_seed(0)
    plain = WorldModel(CONFIG)
    again = copy.deepcopy(plain)
    assert recompute_activations(again) == CONFIG.transformer.layers + CONFIG.text_encoder.layers
    ids, mask = torch.randint(256, (2, 48)), torch.ones(2, 48)
    results = [gradients(one, one.text_encoder(ids, mask).square().mean()) for one in (plain, again)]
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_a_stage_without_blocks_says_so(tmp_path: object) -> None:
    with pytest.raises(ConfigError, match="'line' has no transformer blocks"):
        Trainer(LineStage(), TrainConfig(out=tmp_path, steps=1, recompute=True))  # type: ignore[arg-type]
