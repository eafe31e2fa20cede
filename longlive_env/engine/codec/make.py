"""Make a codec from its configuration."""

from __future__ import annotations

from longlive_env.engine.codec import Codec
from longlive_env.engine.codec.light_vae import LightVAE
from longlive_env.engine.codec.patch_vae import PatchVAE
from longlive_env.engine.codec.wan_vae import WanVAE
from longlive_env.engine.config import CodecConfig, LightVAEConfig, PatchVAEConfig


def make_codec(config: CodecConfig) -> Codec:
    """The codec that a configuration describes, with random weights."""
    if isinstance(config, PatchVAEConfig):
        return PatchVAE(config)
    return LightVAE(config) if isinstance(config, LightVAEConfig) else WanVAE(config)
