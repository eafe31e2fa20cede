"""Memory of sharded training: activations against those that autograd keeps, and what more GPUs take off."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from longlive_env.engine.attention import attention
from longlive_env.engine.config import PRESETS, TransformerConfig
from longlive_env.engine.transformer import Block
from longlive_env.training.activations import Passes, activation_bytes, block_bytes
from longlive_env.training.command import run_stage
from longlive_env.training.config_file import load_settings
from longlive_env.training.gpu_memory import gpu_memory
from longlive_env.training.plan import plan

SMALL = TransformerConfig(dim=64, ffn_dim=160, heads=2, layers=2, text_dim=16, text_len=8)
TOKENS, VISIBLE = 48, 120


class Cached:
    """A memory like the cache's: what a pass sees is a copy."""

    def __init__(self) -> None:
        self.keys, self.values = (torch.randn(2, VISIBLE, 2, 32).bfloat16() for _ in range(2))

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, backend: str) -> Tensor:
        keys, values = self.keys.clone(), self.values.clone()
        keys[:, :TOKENS], values[:, :TOKENS] = k, v
        return attention(q, keys, values, backend="sdpa")

    def store(self, layer: int, k: Tensor, v: Tensor) -> None:
        raise AssertionError("nothing is stored here")


def kept_by_autograd() -> int:
    block, found = Block(SMALL), {}
    block.cross_attn.backend = "sdpa"
    own = {p.data_ptr() for p in block.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    x = torch.randn(2, 1, TOKENS, SMALL.dim, requires_grad=True)
    conditioning = torch.randn(1, 1, 6, SMALL.dim, requires_grad=True)
    keys, values = (torch.randn(2, 8, 2, 32).bfloat16().requires_grad_() for _ in range(2))
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with torch.autocast("cpu", torch.bfloat16), hooks:
        block(x, conditioning, (keys, values), Cached(), 0)
    return sum(storage.nbytes() for storage in found.values())


def test_what_a_block_keeps_is_what_autograd_saves() -> None:
    per_clip, once = block_bytes(SMALL, TOKENS, VISIBLE, 0)
    assert 2 * per_clip + once == pytest.approx(kept_by_autograd(), rel=0.25)


def test_recomputed_blocks_keep_inputs_and_what_they_saw() -> None:
    passes = Passes(3, 1, TOKENS, VISIBLE, cached=True)
    per_clip, once = block_bytes(SMALL, TOKENS, VISIBLE, 0)
    kept = activation_bytes(SMALL, passes, recompute=False)
    again = activation_bytes(SMALL, passes, recompute=True)
    assert kept == 3 * SMALL.layers * (per_clip + once)
    by_hand = 3 * SMALL.layers * (4 * SMALL.dim * TOKENS + 2 * 2 * SMALL.dim * VISIBLE)
    assert again == by_hand + per_clip + once < kept


@pytest.mark.parametrize("stage", ["base", "causal", "distill", "stream"])
def test_more_gpus_take_less_each(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    settings = load_settings("1.3b", stage)
    assert settings.run.shard and settings.run.recompute
    made = plan(stage, settings.options)
    needs = [gpu_memory(made, gpus, recompute=True) for gpus in (2, 8, 64)]
    assert needs[0].total > needs[1].total > needs[2].total
    assert needs[0].slices == pytest.approx(4 * needs[1].slices, rel=1e-6)
    assert gpu_memory(made, 8, recompute=False).activations > 3 * needs[1].activations
    assert run_stage([stage, "--config", "1.3b", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "on each GPU, sharded, activations computed again" in printed
    assert f"{needs[1].total / 1e9:.1f}" in printed


def test_slices_are_those_of_weights_averages_gradients_and_moments() -> None:
    made = plan("distill", {"start": "1.3b", "clips": 8})
    generator, critic, teacher, _ = made.networks
    trained = sum(
        5 * 4 * net.parameters for net in (generator, critic)
    )  # weight, average, gradient, two moments
    frozen = 2 * teacher.block_parameters + 4 * (teacher.parameters - teacher.block_parameters)
    assert gpu_memory(made, 1, recompute=True).slices == trained + frozen
    assert PRESETS["1.3b"].transformer.layers * generator.largest_block == generator.block_parameters


def test_a_resting_text_encoder_is_held_with_its_average() -> None:
    """That of a base with a start does not train, but lies in the trained module, in float32."""
    made = plan("base", {"start": "1.3b"})
    transformer, encoder = made.networks
    assert encoder.trained == 0 and encoder.bytes == 2 * 4 * encoder.parameters
    assert gpu_memory(made, 1, recompute=True).slices == transformer.bytes + encoder.bytes
    ends = encoder.parameters - encoder.block_parameters
    assert gpu_memory(made, 64, recompute=True).gathered == 4 * (2 * encoder.largest_block + ends)
