"""A very small world for the engine's tests, with any of its settings changed."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from longlive_env.engine.config import PatchVAEConfig, TextEncoderConfig, TransformerConfig, WorldConfig
from longlive_env.engine.rollout import World

sys.path.insert(0, str(Path(__file__).parent))  # for the helpers beside this file

SMALL = WorldConfig(
    name="small",
    height=32,
    width=48,
    transformer=TransformerConfig(
        dim=32, ffn_dim=48, heads=2, layers=2, in_channels=4, out_channels=4, text_dim=8, text_len=32
    ),
    text_encoder=TextEncoderConfig(vocab_size=64, dim=8, ffn_dim=16, heads=2, head_dim=4, layers=1),
    codec=PatchVAEConfig(
        encoder_widths=(16, 8), encoder_blocks=(1, 1), decoder_widths=(16, 8), decoder_blocks=(1, 1),
        latent_channels=4,
    ),
)  # fmt: skip


@pytest.fixture(scope="session")
def make_config() -> Callable[..., WorldConfig]:
    return lambda **changes: replace(SMALL, **changes)


@pytest.fixture(scope="session")
def make_world() -> Callable[..., World]:
    def make(seed: int = 0, **changes: Any) -> World:
        return World.from_config(replace(SMALL, **changes), seed)

    return make
