"""Larger decoders that begin where a smaller one was: what is added changes nothing until it has learned."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from longlive_env.engine.codec.patch_vae import PatchVAE, ResidualBlock
from longlive_env.engine.config import PatchVAEConfig


def grown(codec: PatchVAE, more_blocks: int, detail: tuple[int, ...]) -> PatchVAE:
    """A copy of a codec with a larger decoder, which changes nothing yet but the size of frames.

    Args:
        codec: to copy.
        more_blocks: to add to the fine part of its decoder.
        detail: as in `PatchVAEConfig`; what the codec has, or more where it has none.
    """
    assert isinstance(codec.config, PatchVAEConfig)
    coarse, fine = codec.config.decoder_blocks
    config = replace(codec.config, decoder_blocks=(coarse, fine + more_blocks), detail=detail)
    larger = PatchVAE(config).to(next(codec.parameters())).eval()
    for block in list(larger.decoder.fine)[fine:]:
        assert isinstance(block, ResidualBlock)
        _silence(block.conv2)
    if larger.decoder.detail is not None:
        _silence(larger.decoder.detail.conv_out)
    larger.load_state_dict(codec.state_dict(), strict=False)
    return larger


def _silence(layer: nn.Conv2d) -> None:
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
