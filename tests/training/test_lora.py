"""Low-rank adapters."""

import copy

import pytest
import torch
from torch import nn

from longlive_env.errors import ConfigError
from longlive_env.training.lora import add_lora, merge_lora


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.SiLU(), nn.Linear(5, 4))


def test_nothing_changes_until_they_are_trained() -> None:
    plain, x = model(), torch.randn(3, 6)
    adapted = copy.deepcopy(plain)
    assert add_lora(adapted, rank=2) == 2
    assert torch.equal(adapted(x), plain(x))
    trained = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert trained == {f"{i}.parametrizations.weight.0.{name}" for i in (0, 2) for name in ("up", "down")}


def test_merging_computes_the_same() -> None:
    adapted, x = model(), torch.randn(3, 6)
    plain = copy.deepcopy(adapted)
    add_lora(adapted, rank=2, alpha=4)
    up = adapted.get_parameter("0.parametrizations.weight.0.up")
    down = adapted.get_parameter("0.parametrizations.weight.0.down")
    with torch.no_grad():
        up.normal_()
    expected = adapted(x)
    by_hand = plain.get_parameter("0.weight") + 4 / 2 * up @ down
    merge_lora(adapted)
    torch.testing.assert_close(adapted(x), expected)
    torch.testing.assert_close(adapted.get_parameter("0.weight"), by_hand)
    assert adapted.state_dict().keys() == plain.state_dict().keys()


def test_clear_errors() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        add_lora(model(), rank=0)
    adapted = model()
    add_lora(adapted, rank=1)
    with pytest.raises(ConfigError, match="merge them first"):
        add_lora(adapted, rank=1)
