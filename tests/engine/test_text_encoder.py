import json

import pytest
import torch
import torch.nn.functional as F
from parity import DATA
from safetensors.torch import load_file

from longlive_env.engine import published
from longlive_env.engine.config import PRESETS, TextEncoderConfig
from longlive_env.engine.text_encoder import UMT5Encoder, position_bucket
from longlive_env.engine.weights import shapes


@torch.no_grad()
@pytest.mark.parametrize("name", ["umt5", "tokenizer"])
def test_recorded_embeddings_are_reproduced(name: str) -> None:
    case = load_file(DATA / "cases" / f"{name}.safetensors")
    encoder = published.load_text_encoder(DATA / "mini", "cpu", torch.float32)
    got = encoder(case["ids"], case["mask"])
    assert (got - case["embeddings"]).norm() / case["embeddings"].norm() < 1e-5
    assert not got[case["mask"] == 0].any()


def test_names_and_shapes_at_published_size() -> None:
    manifest = json.loads((DATA / "manifests" / "umt5-xxl-encoder.json").read_text())
    with torch.device("meta"):
        encoder = UMT5Encoder(PRESETS["1.3b"].text_encoder)
    assert shapes(encoder) == {name: tuple(shape) for name, shape in manifest.items()}


@torch.no_grad()
def test_padding_and_neighbours_change_nothing() -> None:
    torch.manual_seed(0)
    config = TextEncoderConfig(vocab_size=50, dim=24, ffn_dim=32, heads=3, head_dim=8, layers=2)
    encoder = UMT5Encoder(config).eval()
    ids = torch.randint(4, 50, (2, 12))
    mask = torch.zeros(2, 12, dtype=torch.int64)
    mask[0, :5], mask[1, :9] = 1, 1
    both = encoder(ids, mask)
    alone = encoder(ids[:1, :5], mask[:1, :5])
    assert both.shape == (2, 12, 24) and not both[0, 5:].any()
    torch.testing.assert_close(both[:1, :5], alone, rtol=1e-5, atol=1e-6)
    other = ids.clone()
    other[:, 9:] = 7  # beyond every prompt
    assert torch.equal(encoder(other, mask), both)
    assert not encoder(ids, torch.zeros_like(mask)).any()


@torch.no_grad()
def test_tokens_attend_by_distance_in_every_layer() -> None:
    torch.manual_seed(0)
    config = TextEncoderConfig(vocab_size=50, dim=24, ffn_dim=32, heads=3, head_dim=8, layers=2)
    encoder = UMT5Encoder(config).eval()
    ids, mask = torch.randint(4, 50, (1, 6)), torch.ones(1, 6, dtype=torch.int64)
    before = encoder(ids, mask)
    for layer in range(config.layers):
        bias = encoder.get_parameter(f"blocks.{layer}.pos_embedding.embedding.weight")
        kept = bias.clone()
        bias.add_(torch.randn_like(bias))
        assert not torch.allclose(encoder(ids, mask), before, atol=1e-4)
        bias.copy_(kept)


@torch.no_grad()
def test_the_bias_lies_as_fused_kernels_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    strides, plain = list[tuple[int, ...]](), F.scaled_dot_product_attention

    def attend(*tensors: torch.Tensor, attn_mask: torch.Tensor, scale: float) -> torch.Tensor:
        strides.append(attn_mask.stride())
        return plain(*tensors, attn_mask=attn_mask, scale=scale)

    monkeypatch.setattr(F, "scaled_dot_product_attention", attend)
    config = TextEncoderConfig(vocab_size=50, dim=24, ffn_dim=32, heads=3, head_dim=8, layers=1)
    UMT5Encoder(config)(torch.zeros(1, 6, dtype=torch.int64), torch.ones(1, 6))
    assert strides == [(3 * 6 * 6, 6 * 6, 6, 1)]


def test_position_buckets() -> None:
    offsets = torch.tensor([0, -1, -7, -8, -15, -16, -127, -128, -1000, 1, 7, 8, 127, 128, 1000])
    want = [0, 1, 7, 8, 9, 10, 15, 15, 15, 17, 23, 24, 31, 31, 31]
    assert position_bucket(offsets, buckets=32, max_distance=128).tolist() == want
