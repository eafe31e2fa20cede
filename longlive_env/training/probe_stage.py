"""The tiny world's probe, trained on rendered blocks made soft, tinted and noisy like generated ones.

Shapes: B blocks, T = 12 pixel frames, h x w half the pixels of a frame, A = 5 attributes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from longlive_env.engine.config_values import from_dict
from longlive_env.engine.seeds import seeded
from longlive_env.tiny.probe import Probe, rendered_block
from longlive_env.tiny.scene import ATTRIBUTES
from longlive_env.training.stages import Batch, Optimisation, Stage, check_least


@dataclass(frozen=True)
class ProbeOptions:
    """Data of the probe stage.

    Attributes:
        blocks: number of blocks in a batch.
        pool: number of rendered blocks to learn from; each is rendered when it is first drawn, then kept.
        held_out: number of blocks to evaluate on, of combinations that training never sees.
    """

    blocks: int = 32
    pool: int = 6000
    held_out: int = 1024

    def __post_init__(self) -> None:
        check_least(self, blocks=1, pool=1, held_out=1)


def half_block(rng: np.random.Generator, split: str) -> tuple[Tensor, Tensor]:
    """A rendered block at half its size, uint8 [T, 3, h, w], and the index of each attribute's value [A]."""
    frames, scene = rendered_block(rng, split)
    half = F.avg_pool2d(frames.permute(0, 3, 1, 2).float(), 2).round().to(torch.uint8)
    return half, torch.tensor(scene.labels())


class ProbeStage(Stage):
    """Trains a `Probe`: cross-entropy of each attribute."""

    name = "probe"
    options_type = ProbeOptions
    options: ProbeOptions
    counted = "blocks"
    optimisation = Optimisation(lr=2e-3, warmup_steps=100, weight_decay=0.02, ema=0.998)

    def __init__(self, seed: int = 0, **options: Any) -> None:
        self.seed, self.options = seed, from_dict(self.options_type, options, self.name)
        self._pool: dict[int, tuple[Tensor, Tensor]] = {}
        held_out = [
            half_block(np.random.default_rng((seed, 1, number)), "held_out")
            for number in range(self.options.held_out)
        ]
        self.held_out = torch.stack([frames for frames, _ in held_out])
        self.held_out_labels = torch.stack([labels for _, labels in held_out])

    def build(self) -> Probe:
        """A probe with weights from the seed."""
        with seeded(self.seed):
            return Probe()

    def batch(self, step: int) -> Batch:
        """Rendered blocks: `frames` uint8 [B, T, 3, h, w] and `labels` [B, A]."""
        rng = np.random.default_rng((self.seed, 2, step))
        drawn = [
            self._block(int(number)) for number in rng.integers(self.options.pool, size=self.options.blocks)
        ]
        return {
            "frames": torch.stack([frames for frames, _ in drawn]),
            "labels": torch.stack([labels for _, labels in drawn]),
        }

    def losses(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Cross-entropy of each attribute on disturbed blocks."""
        assert isinstance(model, Probe)
        half = disturb(batch["frames"].float() / 255, generator) * 2 - 1
        logits = model.classify(model.pooled_half(half))
        return {
            name: F.cross_entropy(logits[name].float(), batch["labels"][:, index], label_smoothing=0.02)
            for index, name in enumerate(ATTRIBUTES)
        }

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Accuracy on held-out combinations, as rendered (`subject`) and disturbed (`subject_disturbed`)."""
        assert isinstance(model, Probe)
        generator = torch.Generator().manual_seed(self.seed)
        right: dict[str, float] = {}
        for frames, labels in zip(self.held_out.split(64), self.held_out_labels.split(64), strict=True):
            clean = frames.float() / 255
            for suffix, half in (("", clean), ("_disturbed", disturb(clean, generator))):
                logits = model.classify(model.pooled_half(half.to(model.device) * 2 - 1))
                for index, name in enumerate(ATTRIBUTES):
                    hits = (logits[name].argmax(dim=1).cpu() == labels[:, index]).sum().item()
                    right[name + suffix] = right.get(name + suffix, 0.0) + hits
        return {name: hits / len(self.held_out) for name, hits in right.items()}

    def _block(self, number: int) -> tuple[Tensor, Tensor]:
        if number not in self._pool:
            self._pool[number] = half_block(np.random.default_rng((self.seed, 0, number)), "train")
        return self._pool[number]


def disturb(half: Tensor, generator: torch.Generator) -> Tensor:
    """Make rendered blocks look generated: soft, smeared over time, tinted, noisy.

    Colours shift by only a few hundredths, so that similar ones such as red and orange stay distinct.

    Args:
        half: [B, T, 3, h, w] in 0..1.
        generator: a CPU generator.

    Returns:
        The same shape, in 0..1.
    """
    blocks, frames, channels, height, width = half.shape

    def draw(low: float, high: float, *shape: int) -> Tensor:
        sizes = (blocks, *shape, *[1] * (4 - len(shape)))
        return (low + (high - low) * torch.rand(sizes, generator=generator)).to(half)

    def often(share: float) -> Tensor:
        return (torch.rand((blocks, 1, 1, 1, 1), generator=generator) < share).to(half)

    def noise(shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=generator).to(half)

    soft = half
    for dim in (-1, -2, -1, -2):
        soft = _smooth(soft, dim)
    coarse = F.avg_pool2d(half.flatten(0, 1), 2)
    coarse = F.interpolate(coarse, size=(height, width), mode="bilinear")
    x = torch.lerp(half, soft, often(0.6) * draw(0, 1))
    x = torch.lerp(x, coarse.view_as(half), often(0.4) * draw(0, 0.8))
    x = torch.lerp(x, _smooth(x, 1), often(0.4) * draw(0, 1))
    x = (x - 0.5) * draw(0.88, 1.1) + 0.5 + draw(-0.05, 0.05)
    x = x * draw(0.96, 1.04, 1, channels)
    low_noise = F.interpolate(
        noise((blocks, frames * channels, height // 4, width // 4)), size=(height, width)
    )
    x = x + often(0.5) * draw(0, 0.05) * low_noise.view_as(x)
    return (x + often(0.5) * draw(0, 0.06) * noise(tuple(x.shape))).clamp(0, 1)


def _smooth(x: Tensor, dim: int) -> Tensor:
    """Average each value with its neighbours along `dim`, with weights 1 2 1; the ends stay."""
    size = x.shape[dim]
    out = x.clone()
    sides = x.narrow(dim, 0, size - 2) + x.narrow(dim, 2, size - 2)
    out.narrow(dim, 1, size - 2).mul_(0.5).add_(sides, alpha=0.25)
    return out
