"""Decoders that grow."""

from __future__ import annotations

import torch
from toy_stages import CODEC, CONFIG, same

from longlive_env.engine.codec import CodecState
from longlive_env.engine.codec.patch_vae import PatchVAE
from longlive_env.training.growing import grown


def test_a_decoder_grows_and_changes_nothing_yet() -> None:
    torch.manual_seed(0)
    codec = PatchVAE(CODEC).eval()
    deeper, detailed = grown(codec, 2, ()), grown(codec, 1, (8, 2))
    assert len(deeper.decoder.fine) == len(codec.decoder.fine) + 2
    latents = torch.randn(1, 3, *CONFIG.latent_shape)
    before, after = (one.decode(latents, CodecState.fresh(1)).pixels for one in (codec, deeper))
    torch.testing.assert_close(before, after)
    torch.testing.assert_close(detailed.light().decode(latents, CodecState.fresh(1)).pixels, before)
    enlarged = torch.nn.functional.interpolate(before[0], scale_factor=2, mode="bilinear")[None]
    torch.testing.assert_close(detailed.decode(latents, CodecState.fresh(1)).pixels, enlarged)
    assert same(grown(codec, 0, ()), codec)
