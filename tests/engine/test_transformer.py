import json
from pathlib import Path

import pytest
import torch
from masked_clip import masked_flow

from longlive_env.engine.config import PRESETS, TransformerConfig
from longlive_env.engine.transformer import CausalWanTransformer

MANIFEST = Path(__file__).parents[1] / "data" / "parity" / "manifests" / "wan2.1-t2v-1.3b.transformer.json"
CONFIG = TransformerConfig(
    dim=32, ffn_dim=48, heads=2, layers=2, in_channels=4, out_channels=4, text_dim=8, text_len=6
)
FRAMES = 6
CAUSAL = torch.arange(FRAMES)[:, None] // 2 >= torch.arange(FRAMES) // 2  # blocks of two frames


@pytest.fixture
def model() -> CausalWanTransformer:
    torch.manual_seed(0)
    return CausalWanTransformer(CONFIG)


def clip(batch: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(batch, FRAMES, 4, 4, 6), torch.rand(batch, FRAMES) * 1000, torch.randn(batch, 6, 8)


def test_published_size_has_the_published_names_and_shapes() -> None:
    with torch.device("meta"):
        model = CausalWanTransformer(PRESETS["1.3b"].transformer)
    got = {name: list(value.shape) for name, value in model.state_dict().items()}
    assert got == json.loads(MANIFEST.read_text())


@torch.no_grad()
def test_autocast_leaves_time_and_the_residual_stream_in_full_precision(model: CausalWanTransformer) -> None:
    latents, timesteps, _ = clip()
    plain = model._embed(latents, timesteps)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        tokens, *time = model._embed(latents, timesteps)
    assert tokens.dtype == torch.float32
    torch.testing.assert_close(time, [*plain[1:]])


def test_frames_see_only_what_the_mask_allows(model: CausalWanTransformer) -> None:
    latents, timesteps, text = clip()
    changed = latents.clone()
    changed[:, 4:] += 1
    before, after = (masked_flow(model, x, timesteps, text, CAUSAL) for x in (latents, changed))
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert (before[:, 4:] - after[:, 4:]).abs().max() > 1e-3
    everything = model.forward_clip(changed, timesteps, text)
    assert (everything[:, :4] - model.forward_clip(latents, timesteps, text)[:, :4]).abs().max() > 1e-5


def test_a_clip_is_a_masked_clip_whose_frames_all_see_each_other(model: CausalWanTransformer) -> None:
    latents, timesteps, text = clip()
    everything = torch.ones(FRAMES, FRAMES, dtype=torch.bool)
    masked = masked_flow(model, latents, timesteps, text, everything)
    torch.testing.assert_close(model.forward_clip(latents, timesteps, text), masked, rtol=1e-4, atol=1e-5)


def test_only_distances_in_time_matter(model: CausalWanTransformer) -> None:
    latents, timesteps, text = clip()
    positions = ([at * step + start for at in range(FRAMES)] for start, step in ((0, 1), (500, 1), (0, 2)))
    flows = [masked_flow(model, latents, timesteps, text, CAUSAL, where) for where in positions]
    torch.testing.assert_close(flows[0], flows[1], rtol=1e-4, atol=1e-5)
    assert (flows[0] - flows[2]).abs().max() > 1e-5


def test_clips_of_a_batch_do_not_touch_each_other(model: CausalWanTransformer) -> None:
    latents, timesteps, text = clip()
    both = model.forward_clip(latents, timesteps, text)
    alone = model.forward_clip(latents[1:], timesteps[1:], text[1:])
    torch.testing.assert_close(both[1:], alone, rtol=1e-4, atol=1e-5)


def test_each_frame_follows_its_own_timestep(model: CausalWanTransformer) -> None:
    latents, timesteps, text = clip()
    alone = torch.eye(FRAMES) > 0  # no frame sees another, so only its own timestep counts
    later = timesteps.clone()
    later[:, 3] = 10
    before, after = (masked_flow(model, latents, t, text, alone) for t in (timesteps, later))
    same = [frame for frame in range(FRAMES) if frame != 3]
    torch.testing.assert_close(before[:, same], after[:, same])
    assert (before[:, 3] - after[:, 3]).abs().max() > 1e-5


def test_training_pass_runs_in_bfloat16_with_float32_weights(model: CausalWanTransformer) -> None:
    latents, timesteps, text = clip()
    exact = model.forward_clip(latents, timesteps, text)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model.forward_clip(latents, timesteps, text)
    rough.float().square().mean().backward()
    assert (rough - exact).norm() / exact.norm() < 2e-2
    missing = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert missing == []


def test_bfloat16_weights_stay_close(model: CausalWanTransformer) -> None:
    latents, timesteps, text = clip()
    with torch.no_grad():
        exact = model.forward_clip(latents, timesteps, text)
        half = model.to(torch.bfloat16).forward_clip(latents, timesteps, text)
    assert half.dtype == torch.bfloat16
    assert (half - exact).norm() / exact.norm() < 3e-2
