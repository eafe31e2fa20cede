"""Small stages and pictures for the tests of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from longlive_env.engine.codec.patch_vae import PatchVAE
from longlive_env.engine.config import (
    PatchVAEConfig,
    TextEncoderConfig,
    TransformerConfig,
    WorldConfig,
    to_dict,
)
from longlive_env.engine.world import World
from longlive_env.training import Optimisation, Stage
from longlive_env.training.checkpoint import save_tensors
from longlive_env.training.fingerprints import codec_fingerprint
from longlive_env.training.follow_stage import FollowStage
from longlive_env.training.stages import Batch
from longlive_env.training.world_model import WorldModel, tiny_tokenizer

CODEC = PatchVAEConfig(
    encoder_widths=(8, 8), encoder_blocks=(1, 1), decoder_widths=(8, 8), decoder_blocks=(1, 1)
)
CONFIG = WorldConfig(
    name="small",
    height=96,
    width=160,
    transformer=TransformerConfig(
        dim=32, ffn_dim=48, heads=2, layers=1, patch_size=(1, 6, 10), text_dim=16, text_len=48
    ),
    text_encoder=TextEncoderConfig(vocab_size=256, dim=16, ffn_dim=24, heads=2, head_dim=8, layers=1),
    codec=CODEC,
    keep_sink=False,
    rope="relative",
    vocabulary="tiny",
)


def save_student_and_teacher(folder: Path, config: WorldConfig) -> None:
    """A world of random weights, its codec, and a teacher with another transformer."""
    torch.manual_seed(0)
    codec, models = PatchVAE(CODEC).eval(), [WorldModel(config) for _ in range(2)]
    for model in models:  # a head of zeros would hide everything behind it
        torch.nn.init.normal_(model.transformer.head.head.weight, std=0.1)
    student, teacher = models
    teacher.text_encoder.load_state_dict(student.text_encoder.state_dict())
    World(config, student.transformer, codec, student.text_encoder, tiny_tokenizer()).save(folder / "world")
    save_codec(folder / "codec.safetensors", codec)
    about = {"stage": "base", "describe": {"codec_fingerprint": codec_fingerprint(codec)}}
    save_tensors(folder / "teacher.safetensors", teacher.state_dict(), about)


def save_codec(file: Path, codec: PatchVAE) -> None:
    """A codec, as its stage saves it."""
    about = {"stage": "codec", "describe": {"codec": to_dict(codec.config)}}
    save_tensors(file, codec.state_dict(), about)


RENDERED = {  # sizes of stages that learn from the renderer
    "scenes": 4,
    "held_out": 2,
    "scenes_a_file": 2,
    "clips": 2,
    "blocks": 3,
    "length": 5,
}


def follow(folder: Path, **options: Any) -> FollowStage:
    """A small stage that follows the renderer, from the student of the folder."""
    files = {"start": str(folder / "world"), "bank": str(folder / "bank")}
    return FollowStage(**{**files, **RENDERED, "openings": 3, **options})


def moving_gradient(rng: np.random.Generator, frames: int, split: str) -> Tensor:
    """A colour gradient that moves: uint8 [frames, 16, 24, 3]."""
    time = torch.arange(frames).reshape(-1, 1, 1, 1)
    rows, columns = torch.arange(16).reshape(1, -1, 1, 1), torch.arange(24).reshape(1, 1, -1, 1)
    speed, phase = rng.uniform(0.1, 0.5), torch.tensor(rng.uniform(0, 6, size=3))
    shift = 0.0 if split == "train" else 0.5
    return ((torch.sin(speed * (rows + columns + time) + phase + shift) + 1) * 127).to(torch.uint8)


class LineStage(Stage):
    """Fits a small network with a batch-norm buffer to noisy samples of a line."""

    name = "line"
    optimisation = Optimisation(lr=1e-2, warmup_steps=3)

    def __init__(self, seed: int = 0, stop_at: int | None = None) -> None:
        self.seed, self.stop_at = seed, stop_at

    def build(self) -> nn.Module:
        torch.manual_seed(self.seed)
        return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.SiLU(), nn.Linear(8, 1))

    def batch(self, step: int) -> Batch:
        if step == self.stop_at:
            raise KeyboardInterrupt
        points = np.random.default_rng((self.seed, step)).normal(size=(16, 3)).astype(np.float32)
        return {"x": torch.from_numpy(points), "y": torch.from_numpy(points.sum(1, keepdims=True))}

    def losses(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        noise = 0.1 * torch.randn(batch["x"].shape, generator=generator)
        return {"fit": (model(batch["x"] + noise) - batch["y"]).square().mean()}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        batch = self.batch(10_000)
        return {"error": (model(batch["x"]) - batch["y"]).square().mean().item()}


def same(a: nn.Module, b: nn.Module) -> bool:
    """Whether two models hold the same values, bit for bit."""
    mine, theirs = a.state_dict(), b.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
