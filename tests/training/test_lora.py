"""Low-rank adapters."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from longlive_env.engine.config import TransformerConfig
from longlive_env.engine.linear import Linear
from longlive_env.engine.transformer import Block, CausalWanTransformer
from longlive_env.errors import ConfigError
from longlive_env.training.lora import AdaptedLinear, adapt, add_lora, merge_lora

SMALL = TransformerConfig(dim=12, ffn_dim=16, heads=2, layers=1, text_dim=8, text_len=4, freq_dim=8)
LAYERS = 10  # of a block: four of each attention, two of the feed-forward part


def model() -> Block:
    torch.manual_seed(0)
    return Block(SMALL)


def test_nothing_changes_until_they_are_trained() -> None:
    plain, x = model(), torch.randn(3, 12)
    adapted = copy.deepcopy(plain)
    add_lora(adapted, rank=2)
    torch.testing.assert_close(adapted.ffn(x), plain.ffn(x))  # frozen weights may take another library
    trained = {name for name, p in adapted.named_parameters() if p.requires_grad}
    layers = {name for name, layer in adapted.named_modules() if isinstance(layer, nn.Linear)}
    assert trained == {f"{layer}.{name}" for layer in layers for name in ("up", "down")}
    assert len(layers) == LAYERS


def test_a_seed_makes_the_same_adapters() -> None:
    made = [model() for _ in range(3)]
    for one, seed in zip(made, (5, 5, 6), strict=True):
        adapt([(one, 2)], seed)
    down = [one.get_parameter("ffn.0.down") for one in made]
    assert torch.equal(down[0], down[1]) and not torch.equal(down[0], down[2])


def test_only_blocks_are_adapted() -> None:
    transformer = CausalWanTransformer(SMALL)
    add_lora(transformer, rank=2)
    assert sum(isinstance(one, AdaptedLinear) for one in transformer.modules()) == LAYERS
    assert not any(p.requires_grad for name, p in transformer.named_parameters() if "blocks." not in name)


def test_merging_computes_the_same() -> None:
    adapted, x = model(), torch.randn(3, 12)
    plain = copy.deepcopy(adapted)
    add_lora(adapted, rank=2)
    layer = adapted.ffn[0]
    assert isinstance(layer, AdaptedLinear)
    with torch.no_grad():
        layer.up.normal_()
    expected = adapted.ffn(x)
    torch.testing.assert_close(layer(x, gelu=True), F.gelu(layer(x), approximate="tanh"))
    by_hand = plain.get_parameter("ffn.0.weight") + layer.up @ layer.down
    merge_lora(adapted)
    torch.testing.assert_close(adapted.ffn(x), expected)
    torch.testing.assert_close(adapted.get_parameter("ffn.0.weight"), by_hand)
    assert adapted.state_dict().keys() == plain.state_dict().keys()
    assert all(type(one) is Linear for one in adapted.modules() if isinstance(one, nn.Linear))


def test_an_update_that_is_small_beside_its_weight_counts_in_bfloat16() -> None:
    adapted, x = model(), torch.ones(1, 12)
    add_lora(adapted, rank=2)
    layer = adapted.ffn[0]
    assert isinstance(layer, AdaptedLinear)
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.bias.fill_(-12.0)  # what the weights add up to
        layer.down.fill_(0.01)
        layer.up.fill_(0.01)  # each weight grows by 2e-4; neighbours of 1 in bfloat16 are 4e-3 away
    grown = layer.bfloat16()(x.bfloat16()).float()
    torch.testing.assert_close(grown, torch.full_like(grown, 12 * 2e-4), rtol=0.02, atol=0)


def test_clear_errors() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        add_lora(model(), rank=0)
    adapted = model()
    add_lora(adapted, rank=1)
    with pytest.raises(ConfigError, match="merge them first"):
        add_lora(adapted, rank=1)
