"""Telling decoded frames from rendered ones: what is learned, and which weights each loss reaches."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from longlive_env.training.discriminator import (
    FrameDiscriminator,
    balance,
    discriminator_loss,
    in_rendered_colours,
    realism_loss,
)


def pictures(seed: int) -> Tensor:
    """Clips of random 4x4 tiles, [2, 4, 3, 16, 24]."""
    tiles = torch.rand(2, 1, 3, 4, 6, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return tiles.repeat_interleave(4, 3).repeat_interleave(4, 4).expand(-1, 4, -1, -1, -1).contiguous()


def smeared(clips: Tensor) -> Tensor:
    return F.avg_pool2d(clips.flatten(0, 1), 3, stride=1, padding=1).view(clips.shape)


@pytest.fixture
def judge() -> FrameDiscriminator:
    torch.manual_seed(0)
    return FrameDiscriminator(width=8)


def test_it_sees_parts_of_a_picture(judge: FrameDiscriminator) -> None:
    clips = pictures(0)
    opinions = judge(clips)
    assert opinions.shape == (2, 1, 4, 6) and opinions.dtype == torch.float32
    clips[:, :, :, :, -1] += 1
    changed = (judge(clips) != opinions).any(dim=(0, 1, 2))
    assert changed[-1] and not changed[0]


def test_it_learns_what_is_smeared(judge: FrameDiscriminator) -> None:
    optimizer = torch.optim.AdamW(judge.parameters(), lr=3e-3)
    losses = []
    for step in range(40):
        loss = discriminator_loss(judge, smeared(pictures(step)), pictures(step), penalty=1e-3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 < losses[0]
    held_out = pictures(1000)
    sharp, soft = (realism_loss(judge, clips, held_out) for clips in (held_out, smeared(held_out)))
    assert sharp.item() == pytest.approx(0.6931, abs=1e-3) and soft > 2 * sharp


def test_colours_are_those_of_the_renderer() -> None:
    rendered, decoded = pictures(0), pictures(1).requires_grad_(True)
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    luma, chroma = ((lambda clips: (clips * weights).sum(2)), lambda clips: clips - clips[:, :, :1])
    seen = in_rendered_colours(decoded, rendered)
    torch.testing.assert_close(luma(seen), luma(decoded))
    torch.testing.assert_close(chroma(seen), chroma(rendered))
    torch.testing.assert_close(in_rendered_colours(rendered, rendered), rendered)
    seen.square().sum().backward()
    assert decoded.grad is not None
    torch.testing.assert_close(
        decoded.grad / weights, decoded.grad[:, :, :1].expand(-1, -1, 3, -1, -1) / 0.299
    )


def test_each_loss_reaches_one_side(judge: FrameDiscriminator) -> None:
    decoded = smeared(pictures(0)).requires_grad_(True)
    realism_loss(judge, decoded, pictures(0)).backward()
    assert decoded.grad is not None and decoded.grad.abs().sum() > 0
    assert all(p.grad is None for p in judge.parameters())
    decoded.grad = None
    discriminator_loss(judge, decoded, pictures(0), penalty=1.0).backward()
    assert decoded.grad is None
    assert all(p.grad is not None for p in judge.parameters())


def test_the_penalty_is_the_mean_square_of_both_gradients(judge: FrameDiscriminator) -> None:
    decoded, rendered = smeared(pictures(0)), pictures(0)
    extra = discriminator_loss(judge, decoded, rendered, 2.0) - discriminator_loss(judge, decoded, rendered)
    sizes = []
    for clips in (decoded, rendered):
        for clip in clips:
            seen = clip[None].clone().requires_grad_(True)
            (slope,) = torch.autograd.grad(judge(seen).sum(), seen)
            sizes.append(slope.square().sum().item())
    assert extra.item() == pytest.approx(
        2.0 * sum(sizes) / judge(torch.cat((decoded, rendered))).numel(), rel=1e-4
    )


def test_balanced_gradients_are_of_one_size() -> None:
    last = torch.tensor([1.0, 2.0], requires_grad=True)
    distance, realism = (3 * last).sum(), last.square().sum()
    weight = balance(distance, realism, last)
    first, second = (
        torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in (distance, realism)
    )
    torch.testing.assert_close(weight * second, first)
    assert balance(distance, 0 * realism, last) == 100
