import json

import torch
from parity import DATA
from safetensors.torch import load_file

from longlive_env.engine import published
from longlive_env.engine.codec import CodecState
from longlive_env.engine.codec.light_vae import LightVAE
from longlive_env.engine.config import LightVAEConfig
from longlive_env.engine.weights import shapes


@torch.no_grad()
def test_recorded_decode_and_encode_are_reproduced() -> None:
    case = load_file(DATA / "cases" / "taew2_1.safetensors")
    codec = published.load_codec(DATA / "mini", "light", "cpu", torch.float32)
    assert codec.config == LightVAEConfig(decoder_widths=(24, 16, 8, 8), encoder_width=12)
    decoded, _ = codec.decode(case["latents"], CodecState.fresh(1))
    pixels = (decoded / 2 + 0.5).clamp(0, 1)
    assert (pixels - case["pixels"]).norm() / case["pixels"].norm() < 1e-5
    # The recording starts with a whole group of four frames, like a world that remembers nothing.
    latents, _ = codec.encode(case["encode_pixels"] * 2 - 1, CodecState((1,)))
    assert (latents - case["encoded"]).norm() / case["encoded"].norm() < 1e-5


def test_names_and_shapes_at_published_size() -> None:
    manifest = json.loads((DATA / "manifests" / "taew2.1.json").read_text())
    with torch.device("meta"):
        codec = LightVAE(LightVAEConfig())
    assert shapes(codec) == {name: tuple(shape) for name, shape in manifest.items()}
