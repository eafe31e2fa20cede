"""Grow a decoder into a larger one: what is added changes nothing until it is trained."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from longlive_env.engine.codec.patch_vae import PatchVAE, ResidualBlock
from longlive_env.engine.config import PatchVAEConfig


def grown(codec: PatchVAE, more_blocks: int, detail: tuple[int, ...]) -> PatchVAE:
    """Copy a codec with a larger decoder, which at first changes only the size of frames.

    Args:
        codec: codec to copy.
        more_blocks: number of blocks to add to the fine part of its decoder.
        detail: as in `PatchVAEConfig`; the codec's own, or a new one if it has none.
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
