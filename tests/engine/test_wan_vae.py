import json

import pytest
import torch
from parity import DATA
from safetensors.torch import load_file

from longlive_env.engine import published
from longlive_env.engine.codec import CodecState, put_channels_last
from longlive_env.engine.codec.wan_vae import WanVAE
from longlive_env.engine.config import PRESETS, WanVAEConfig
from longlive_env.engine.weights import shapes
from longlive_env.errors import ConfigError


@pytest.mark.parametrize("last", [False, True], ids=["", "channels last"])
@torch.no_grad()
def test_recorded_decode_and_encode_are_reproduced(last: bool) -> None:
    case = load_file(DATA / "cases" / "vae.safetensors")
    vae = published.load_codec(DATA / "mini", "wan", "cpu", torch.float32)
    assert vae.config == WanVAEConfig(dim=4)
    if last:
        put_channels_last(vae)
    pixels, _ = vae.decode(case["latents"], CodecState.fresh(1))
    latents, _ = vae.encode(case["encode_pixels"], CodecState.fresh(1))
    assert (pixels - case["pixels_raw"]).norm() / case["pixels_raw"].norm() < 1e-5
    assert (latents - case["encoded"]).norm() / case["encoded"].norm() < 1e-5
    assert torch.equal(vae.latent_mean, case["mean"]) and torch.equal(vae.latent_std, case["std"])


def test_names_and_shapes_at_published_size() -> None:
    manifest = json.loads((DATA / "manifests" / "wan2.1-vae.json").read_text())
    config = PRESETS["1.3b"].codec
    assert isinstance(config, WanVAEConfig)
    with torch.device("meta"):
        vae = WanVAE(config)
    assert shapes(vae) == {name: tuple(shape) for name, shape in manifest.items()}


def test_latents_without_known_statistics_are_refused() -> None:
    with pytest.raises(ConfigError, match="latent_channels is 8; the Wan VAE has 16"):
        WanVAE(WanVAEConfig(dim=4, latent_channels=8))
