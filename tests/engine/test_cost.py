"""The cost model counts what the engine does: checked against operations counted while it runs."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from longlive_env.engine.config import PRESETS, LightVAEConfig, PatchVAEConfig, WorldConfig
from longlive_env.engine.cost import block_cost, decode_operations, recache_operations
from longlive_env.engine.rollout import Rollout
from longlive_env.engine.world import World


@pytest.fixture(scope="module")
def config(make_config: Callable[..., WorldConfig]) -> WorldConfig:
    return make_config(context_frames=9, frames_per_block=3, sink_frames=3, keep_sink=True)


@pytest.fixture(scope="module")
def rollout(config: WorldConfig) -> Rollout:
    """One whose context is full, with attention by matrix products, which the counter sees."""
    world = World.from_config(config)
    world.transformer.attend_by("matmul")
    rollout = world.start("a red cat")
    for _ in range(4):
        rollout.step()
    return rollout


def _onednn_linear(x: torch.Size, weight: torch.Size, *rest: object, **named: object) -> int:
    return 2 * x.numel() * weight[0]


def counted(run: Callable[[], object]) -> int:
    known = {torch.ops.mkldnn._linear_pointwise: _onednn_linear}
    with torch.inference_mode(), FlopCounterMode(display=False, custom_mapping=known) as counter:
        run()
    return counter.get_total_flops()


def test_a_block_is_its_steps_and_the_pass_that_remembers(config: WorldConfig, rollout: Rollout) -> None:
    cost = block_cost(config, torch.float32)
    two = counted(lambda: rollout.step_latents(steps=2))
    three = counted(lambda: rollout.step_latents(steps=3))
    assert three - two == cost.denoise.total
    assert two - 2 * cost.denoise.total == cost.remember.total
    assert counted(rollout.step_latents) == cost.transformer


@pytest.mark.parametrize("keep_sink", [True, False])
def test_a_prompt_switch_is_its_text_and_a_recache(
    make_config: Callable[..., WorldConfig], keep_sink: bool
) -> None:
    config = make_config(keep_sink=keep_sink)
    world = World.from_config(config)
    world.transformer.attend_by("matmul")
    rollout = world.start("a red cat")
    for _ in range(6):
        rollout.step()
    text = world.encode_prompt(["a blue dog"])
    prompt = counted(lambda: world.transformer.cross_keys_values(text))
    switch = counted(lambda: rollout.switch_prompt("a blue dog", text=text))
    assert switch == recache_operations(config).total + prompt > prompt > 0


def test_decoding_counts_the_same_with_and_without_data(config: WorldConfig, rollout: Rollout) -> None:
    latents = rollout.step_latents()
    assert counted(lambda: rollout.decode(latents)) == block_cost(config).decode > 0


def test_bytes_are_weights_and_keys_and_values(config: WorldConfig, rollout: Rollout) -> None:
    cache = rollout.state.cache
    names = ("text_embedding.", ".cross_attn.k.", ".cross_attn.v.", ".cross_attn.norm_k.")
    parameters = rollout.world.transformer.named_parameters()
    weights = sum(p.nbytes for name, p in parameters if not any(part in f".{name}" for part in names))
    read = cache.keys.nbytes + cache.values.nbytes
    prompt = rollout.state.cross.rows(slice(0, 1))
    cost, half = block_cost(config, torch.float32), block_cost(config, torch.float32, torch.float8_e4m3fn)
    text = sum(keys.nbytes + values.nbytes for keys, values in prompt)
    assert cost.weight_bytes == half.weight_bytes == weights
    assert cost.cache_bytes == read + read * 3 // 9 + text
    assert half.cache_bytes == (read + read * 3 // 9) // 4 + text


def test_the_published_world() -> None:
    cost = block_cost(PRESETS["1.3b"])
    assert cost.denoise.total == pytest.approx(28.3e12, rel=0.01)
    assert cost.transformer == pytest.approx(141e12, rel=0.01)
    light = decode_operations(LightVAEConfig(), PRESETS["1.3b"].latent_shape, 3)
    assert light < cost.decode / 5
    codec = PatchVAEConfig()
    wider = replace(codec, decoder_widths=tuple(2 * width for width in codec.decoder_widths))
    one, other = (replace(PRESETS["tiny"], codec=chosen) for chosen in (codec, wider))
    assert block_cost(other).decode > 3 * block_cost(one).decode
