"""The base of stages that learn from the generator's own rollouts.

The generator rolls out as at inference, block by block with its cache (self-forcing: Huang and others, 2025),
and denoising ends at a random step. Each stage defines how the result is judged.

Shapes: B clips, F latent frames of a clip, C latent channels, h x w latent size, L text tokens.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from longlive_env.engine.config_values import from_dict, to_dict
from longlive_env.engine.devices import without_autocast
from longlive_env.engine.noise import WorldNoise
from longlive_env.engine.rollout import Rollout
from longlive_env.engine.state import RolloutState
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.engine.world import World
from longlive_env.errors import ConfigError
from longlive_env.training import parallel
from longlive_env.training.fingerprints import start_fingerprint
from longlive_env.training.prompts import Prompts
from longlive_env.training.sheets import full_precision, rollout_sheet
from longlive_env.training.stages import Batch, Stage, check_least, check_split
from longlive_env.training.world_model import light_codec


@dataclass(frozen=True)
class RolloutOptions:
    """The world that rolls out, and how long.

    Attributes:
        start: name or folder of the world that holds the generator, the text encoder and the codec.
        clips: number of worlds in a step, over all processes.
        blocks: number of blocks in a clip, or in a chunk of running takes.
        sampler_steps: number of denoising steps, evenly spread, that the generator is to need for a block; 0
            leaves those of `start`.
        lora_rank: rank of adapters to train instead of the generator's weights; 0 trains the weights.
    """

    start: str = "tiny"
    clips: int = 4
    blocks: int = 7
    sampler_steps: int = 0
    lora_rank: int = 0

    def __post_init__(self) -> None:
        check_least(self, clips=1, blocks=1, sampler_steps=0, lora_rank=0)


@dataclass(frozen=True)
class Generated:
    """Clips that the generator made.

    Attributes:
        latents: ``[B, F, C, h, w]``, with gradients if the generator is to learn from them.
        text: embeddings of the prompts that they should show ``[B, L, text_dim]``.
        weights: 1 for frames that are new and were made under that prompt, else 0 ``[B, F]``.
    """

    latents: Tensor
    text: Tensor
    weights: Tensor


class Generating(nn.Module):
    """The networks to train: a generator, and in subclasses others that a stage needs."""

    def __init__(self, generator: CausalWanTransformer) -> None:
        super().__init__()
        self.generator = generator


class RolloutStage(Stage):
    """A stage whose data are rollouts of the model that it trains.

    Attributes:
        world: world with the codec and the text encoder; the generator starts from its transformer.
        prompts: source of the prompts of rollouts.
    """

    counted = "clips"
    options_type: type[RolloutOptions] = RolloutOptions
    prompts: Prompts

    def __init__(self, seed: int = 0, **options: Any) -> None:
        self.seed, self.options = seed, from_dict(self.options_type, options, self.name)
        self.check()
        start, steps = self.options.start, self.options.sampler_steps or None
        self.world = World.load(start, steps=steps, codec=light_codec(start))
        self.config = self.world.config
        self.start_fingerprint = start_fingerprint(self.options.start)

    def check(self) -> None:
        """Check the options, before a large world is read.

        Raises:
            ConfigError: something is missing, or does not split over processes.
        """
        check_split({"clips": self.options.clips}, parallel.processes())

    @abstractmethod
    def build(self) -> nn.Module:
        """The networks to train from the start world: mostly a `Generating`."""

    def frozen(self) -> list[nn.Module]:
        """The codec and the text encoder, except that one of the published size stays on the host.

        That encoder is larger than everything else, and runs once per prompt.
        """
        encoder = self.world.text_encoding.model if self._encoder_goes_along else None
        return [self.world.codec] if encoder is None else [self.world.codec, encoder]

    def batch(self, step: int) -> Batch:
        """Seeds of the worlds, and the number of denoising steps after which a block counts as clean.

        Ending early at random gives every denoising step its share of gradients.
        """
        rng = np.random.default_rng((self.seed, 8, step))
        return {
            "seeds": torch.from_numpy(rng.integers(2**31, size=self.options.clips)),
            "steps": torch.tensor(int(rng.integers(1, len(self.config.sampler.steps) + 1))),
        }

    def start(self, generator: CausalWanTransformer, prompts: list[str], noise: WorldNoise) -> Rollout:
        """Begin a rollout of the generator; the world's own `start` would forbid gradients."""
        state = RolloutState(self.config, generator, noise, len(prompts))
        rollout = Rollout(self.world.replaced(transformer=generator), state)
        rollout.switch_prompt(prompts, "none", text=self.encode(prompts))
        return rollout

    def roll_out(
        self, generator: CausalWanTransformer, prompts: list[str], seeds: list[int], steps: int, blocks: int
    ) -> Generated:
        """New takes of `blocks` blocks, denoised in `steps` steps; gradients flow if they are enabled."""
        rollout = self.start(generator, prompts, WorldNoise(seeds))
        latents = torch.cat([rollout.step_latents(steps=steps) for _ in range(blocks)], dim=1)
        return Generated(latents, rollout.state.text.clone(), latents.new_ones(latents.shape[:2]))

    def encode(self, prompts: list[str]) -> Tensor:
        """Embeddings ``[B, L, text_dim]`` in full precision; prompts that are too long are truncated.

        A published world keeps them on disk.

        Raises:
            ConfigError: the world has no text encoder.
        """
        encoding, tokenizer = self.world.text_encoding, self.world.tokenizer
        if not encoding.present or tokenizer is None:
            raise ConfigError(
                f"the world {self.options.start!r} has no text encoder; start from one that has"
            )
        length = self.config.transformer.text_len
        if not self._encoder_goes_along:
            with parallel.host_threads():
                return encoding.embed(tokenizer, prompts, length, torch.device("cpu"))
        assert encoding.model is not None
        ids, mask = tokenizer(prompts, length)
        device = next(encoding.model.parameters()).device
        with torch.no_grad(), without_autocast(device):
            text: Tensor = encoding.model(ids.to(device), mask)
        return text

    @torch.no_grad()
    def sheet(self, model: nn.Module) -> Tensor:
        """Rollouts of the averaged generator; see `rollout_sheet`."""
        assert isinstance(model, Generating)
        with full_precision(model):
            batch = max(1, self.options.clips // parallel.processes())
            world = self.world.replaced(transformer=model.generator)
            return rollout_sheet(world, self.prompts, self.seed, batch, self.encode)

    def describe(self) -> dict[str, Any]:
        """What the export needs: the configuration, the start world, and the adapters."""
        return {
            "config": to_dict(self.config),
            "start": self.options.start,
            "start_fingerprint": self.start_fingerprint,
            "lora_rank": self.options.lora_rank,
        }

    @property
    def _encoder_goes_along(self) -> bool:
        """Whether the text encoder is on the device with the rest, being the smaller part of a world."""
        text, generator = self.config.text_encoder, self.config.transformer
        return text.dim**2 * text.layers <= generator.dim**2 * generator.layers
