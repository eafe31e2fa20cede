"""The base of the stages that train a `WorldModel` on encoded takes: base and causal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from longlive_env.engine.config import WorldConfig
from longlive_env.engine.config_values import from_dict, to_dict
from longlive_env.engine.seeds import seeded
from longlive_env.engine.world import World
from longlive_env.errors import ConfigError
from longlive_env.training.checkpoint import copy_state
from longlive_env.training.codec_stage import frozen_codec
from longlive_env.training.fingerprints import codec_fingerprint, start_fingerprint
from longlive_env.training.latents import SHARD, BankPlan, open_bank
from longlive_env.training.muon import matrices_and_vectors
from longlive_env.training.stages import Optimisation, Stage, check_least
from longlive_env.training.world_model import WorldModel, light_codec, tiny_tokenizer, world_config


@dataclass(frozen=True)
class WorldModelOptions(ABC):
    """Where encoded takes come from, and what training begins with.

    Attributes:
        codec: weights of a trained codec, or the name or folder of a world that has one.
        bank: folder of encoded takes, filled on first use.
        start: name or folder of a world to go on from; none by default.
        takes: number of encoded takes to learn from.
        held_out: number of encoded takes to evaluate on.
        takes_a_file: number of encoded takes in a file of the bank.
    """

    codec: str = ""
    bank: str = ""
    start: str = ""
    takes: int = 2000
    held_out: int = 50
    takes_a_file: int = SHARD

    def __post_init__(self) -> None:
        check_least(self, takes=1, held_out=1, takes_a_file=1)

    @abstractmethod
    def banks(self) -> tuple[BankPlan, ...]:
        """The banks of encoded takes that the stage learns from."""


class WorldModelStage(Stage):
    """Trains a `WorldModel`.

    Args:
        seed: seed of weights, data and noise.
        config: the world's configuration; by default that of `start`, or the tiny world's.
        options: fields of the stage's options.

    Attributes:
        banks: by split, the banks of the options in their order.

    Raises:
        ConfigError: there is no codec or no bank, an option is unknown, or rendered takes cannot be videos of
            the world.
    """

    options_type: type[WorldModelOptions]
    options: WorldModelOptions
    optimisation = Optimisation(lr=2e-3, warmup_steps=60, ema=0.997, weight_decay=0.01)

    def __init__(self, seed: int = 0, config: WorldConfig | None = None, **options: Any) -> None:
        self.seed, self.options = seed, from_dict(self.options_type, options, self.name)
        if not self.options.codec or not self.options.bank:
            raise ConfigError(
                f"the {self.name} stage needs a codec and a folder; give --set codec=FILE bank=DIR"
            )
        self.config = world_config(config, self.options.start)
        self.start_fingerprint = start_fingerprint(self.options.start) if self.options.start else None
        self.tokenizer = tiny_tokenizer()
        self.codec = frozen_codec(self.options.codec)
        folder, plans = Path(self.options.bank), self.options.banks()
        self.banks = {
            split: tuple(open_bank(folder, plan, split, self.codec, seed) for plan in plans)
            for split in ("train", "held_out")
        }

    def build(self) -> WorldModel:
        """A model with weights from the seed, or of the start world."""
        with seeded(self.seed):
            model = WorldModel(self.config)
        if start := self.options.start:
            world = World.load(start, codec=light_codec(start))
            assert world.text_encoder is not None  # a saved world has one
            copy_state(model.transformer, world.transformer.state_dict(), start)
            copy_state(model.text_encoder, world.text_encoder.state_dict(), start)
        return model

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Muon for the matrices of the blocks, AdamW for embeddings, the head and vectors."""
        return matrices_and_vectors(model, self.optimisation)

    def describe(self) -> dict[str, Any]:
        """The world's configuration, the fingerprint of its latents, and the start world."""
        return {
            "config": to_dict(self.config),
            "codec_fingerprint": codec_fingerprint(self.codec),
            "start_fingerprint": self.start_fingerprint,
        }
