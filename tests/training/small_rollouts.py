"""A small transformer and a loss on its rollout, for tests of how gradients are computed."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from toy_stages import CONFIG as ONE_LAYER

from longlive_env.engine.noise import WorldNoise
from longlive_env.engine.rollout import Rollout
from longlive_env.engine.state import RolloutState
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.engine.world import World
from longlive_env.engine.world_files import make_codec

CONFIG = replace(ONE_LAYER, transformer=replace(ONE_LAYER.transformer, layers=2))


def transformer(seed: int = 0) -> CausalWanTransformer:
    """Random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return CausalWanTransformer(CONFIG.transformer)


def rollout_loss(model: CausalWanTransformer, seed: int, blocks: int = 6) -> Tensor:
    """A loss on six blocks, so that the ring of the cache turns; worlds of odd seeds change their prompt."""
    world = World(CONFIG, model, make_codec(CONFIG.codec))
    rollout = Rollout(world, RolloutState(CONFIG, model, WorldNoise([seed]), 1))
    shape = (1, CONFIG.transformer.text_len, CONFIG.transformer.text_dim)
    text = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    rollout.switch_prompt(["one"], "none", text=text)
    made = []
    for block in range(blocks):
        if block == 2 and seed % 2:
            rollout.switch_prompt(["another"], "full", text=-text)
        made.append(rollout.step_latents(steps=2))
    return torch.cat(made, dim=1).square().mean()
