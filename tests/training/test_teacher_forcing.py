"""The teacher-forced pass equals the masked pass over whole clips."""

import torch
from masked_clip import masked_flow

from longlive_env.engine.config import TransformerConfig
from longlive_env.engine.rope import Rope
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.training.teacher_forcing import ClipLayout, TeacherForcing

FRAMES, GRID = 3, (2, 3)
TOKENS = GRID[0] * GRID[1]


def small() -> CausalWanTransformer:
    torch.manual_seed(0)
    config = TransformerConfig(
        dim=24, ffn_dim=32, heads=2, layers=2, in_channels=4, out_channels=4, text_dim=8, text_len=4
    )
    return CausalWanTransformer(config)


def frame_mask(layout: ClipLayout) -> torch.Tensor:
    """The same rule, spelled out frame by frame."""
    blocks = len(layout.positions)
    seen = torch.zeros(blocks, blocks, dtype=torch.bool)
    for row in range(blocks):
        for column in range(blocks):
            if row < layout.context:
                seen[row, column] = column < layout.context and (column <= row or not layout.causal)
            else:
                past = column < layout.context and column < layout.positions[row]
                seen[row, column] = past or column == row
    return seen.repeat_interleave(FRAMES, 0).repeat_interleave(FRAMES, 1)


def flows(layout: ClipLayout) -> tuple[torch.Tensor, torch.Tensor]:
    model = small()
    frames = FRAMES * len(layout.positions)
    latents, text = torch.randn(2, frames, 4, 4, 6), torch.randn(2, 4, 8)
    times = torch.rand(2, frames) * 1000
    memory = TeacherForcing(layout, Rope(12, GRID), FRAMES, FRAMES * TOKENS)
    ours = model(latents, times, model.cross_keys_values(text), memory)
    positions = [at * FRAMES + i for at in layout.positions for i in range(FRAMES)]
    theirs = masked_flow(model, latents, times, text, frame_mask(layout), positions)
    return ours, theirs


def test_beginning_equals_masked_clip() -> None:
    torch.testing.assert_close(*flows(ClipLayout.beginning(4)), rtol=1e-5, atol=1e-5)


def test_steady_equals_masked_clip() -> None:
    for causal in (True, False):
        torch.testing.assert_close(*flows(ClipLayout.steady(3, 2, causal)), rtol=1e-5, atol=1e-5)


def test_copies_do_not_see_each_other() -> None:
    layout, model = ClipLayout.steady(1, 2, causal=True), small()
    latents, text = torch.randn(1, 9, 4, 4, 6), torch.randn(1, 4, 8)
    times = torch.full((1, 9), 500.0)

    def flow(x: torch.Tensor) -> torch.Tensor:
        memory = TeacherForcing(layout, Rope(12, GRID), FRAMES, FRAMES * TOKENS)
        out: torch.Tensor = model(x, times, model.cross_keys_values(text), memory)
        return out

    other = latents.clone()
    other[:, 6:] += 1
    torch.testing.assert_close(flow(latents)[:, 3:6], flow(other)[:, 3:6])
