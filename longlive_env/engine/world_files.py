"""From a configuration to models: random ones, or those of a folder."""

from __future__ import annotations

import torch

from longlive_env.engine.codec import Codec
from longlive_env.engine.codec.light_vae import LightVAE
from longlive_env.engine.codec.patch_vae import PatchVAE
from longlive_env.engine.codec.wan_vae import WanVAE
from longlive_env.engine.config import CodecConfig, LightVAEConfig, PatchVAEConfig, WorldConfig
from longlive_env.engine.text_encoder import UMT5Encoder
from longlive_env.engine.transformer import CausalWanTransformer


def make_codec(config: CodecConfig) -> Codec:
    """The codec of a configuration, with random weights."""
    if isinstance(config, PatchVAEConfig):
        return PatchVAE(config)
    if isinstance(config, LightVAEConfig):
        return LightVAE(config)
    return WanVAE(config)


def initialise(
    config: WorldConfig, seed: int, device: torch.device, dtype: torch.dtype | None
) -> tuple[WorldConfig, CausalWanTransformer, Codec, UMT5Encoder]:
    """Models with random weights, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer = CausalWanTransformer(config.transformer)
        codec = make_codec(config.codec)
        text_encoder = UMT5Encoder(config.text_encoder)
    for model in (transformer, codec, text_encoder):
        model.to(device, dtype).eval().requires_grad_(False)
    return config, transformer, codec, text_encoder
