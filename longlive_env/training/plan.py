"""What a stage would train and cost, computed from sizes alone, without loading or training anything.

Shapes: B clips, F latent frames of a clip. Cost counts two operations per weight and token forward, four
backward, and the products of attention; memory counts weights, gradients, optimizer and average. For memory
on each of several GPUs, see `gpu_memory`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from longlive_env.engine.config import PRESETS, PatchVAEConfig, TransformerConfig, WorldConfig
from longlive_env.engine.config_values import from_dict
from longlive_env.engine.text_encoder import UMT5Encoder
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.engine.weights import on_meta
from longlive_env.engine.world_files import read_config
from longlive_env.errors import ConfigError
from longlive_env.training.activations import FULL, Passes
from longlive_env.training.base_stage import BaseOptions
from longlive_env.training.causal_stage import CausalOptions
from longlive_env.training.clips import BLOCKS
from longlive_env.training.distill_stage import DistillOptions
from longlive_env.training.latents import POSITIONS
from longlive_env.training.lora import add_lora
from longlive_env.training.stream_stage import StreamOptions

WAN_14B = TransformerConfig(dim=5120, ffn_dim=13824, heads=40, layers=40)  # Wan2.1-T2V-14B


@dataclass(frozen=True)
class Network:
    """One network of a stage.

    Attributes:
        name: purpose of the network.
        parameters: number of all parameters.
        trained: number of parameters that get gradients.
        forward_tokens: latent tokens that pass forward in a step, on average over turns.
        backward_tokens: those among them that are also differentiated.
        operations_per_token: operations of a forward pass: two per weight of a block, and those of attention.
        block_parameters: number of parameters in blocks.
        largest_block: number of parameters of the largest block.
        averaged: whether the trainer holds its weights and their average, whole in float32, even if it is not
            trained; other networks are only run.
    """

    name: str
    parameters: int
    trained: int
    forward_tokens: float
    backward_tokens: float
    operations_per_token: float
    block_parameters: int = 0
    largest_block: int = 0
    averaged: bool = True

    @property
    def operations(self) -> float:
        """Floating-point operations of a step."""
        return self.operations_per_token * (self.forward_tokens + 2 * self.backward_tokens)

    @property
    def bytes(self) -> int:
        """Bytes of weights, of the average if there is one, and of gradients and two moments if trained."""
        return FULL * (self.parameters * (1 + self.averaged) + 3 * self.trained)


@dataclass(frozen=True)
class Plan:
    """What a stage would train.

    Attributes:
        stage: name of the stage.
        clip: shape of a batch of latents, [B, F, C, h, w].
        networks: see `Network`.
        config: the world's configuration.
        passes: groups of passes whose activations are alive together, one group at a time.
    """

    stage: str
    clip: tuple[int, ...]
    networks: tuple[Network, ...]
    config: WorldConfig
    passes: tuple[Passes, ...]

    def lines(self) -> Iterator[str]:
        """The plan as text."""
        yield f"stage {self.stage} of world {self.config.name}: latents {list(self.clip)}"
        for net in self.networks:
            yield (
                f"  {net.name:<13} {net.parameters / 1e6:10,.1f} M parameters, {net.trained / 1e6:10,.1f} M "
                f"trained, {net.bytes / 1e9:8.2f} GB, {net.operations / 1e12:10.3f} TFLOP a step"
            )
        total_gb = sum(net.bytes for net in self.networks) / 1e9
        total = sum(net.operations for net in self.networks) / 1e12
        yield f"  together      {total_gb:.2f} GB in float32 without activations, {total:.3f} TFLOP a step"


def plan(stage: str, options: dict[str, Any]) -> Plan:
    """Plan a stage for the preset or folder that its options start from, or for the tiny world.

    Args:
        stage: "base", "causal", "distill" or "stream"; the others are only for the tiny world.
        options: options of the stage.

    Raises:
        ConfigError: the stage has no plan, an option is unknown, or there is no world to start from.
        WeightsError: the folder to start from holds no world.
    """
    planners = {"base": _base, "causal": _causal, "distill": _distill, "stream": _distill}
    if stage not in planners:
        raise ConfigError(f"stage {stage!r} has no plan; stages with one: {', '.join(planners)}")
    start = str(options.get("start") or "tiny")
    return planners[stage](stage, options, PRESETS.get(start) or read_config(start))


def _base(stage: str, options: dict[str, Any], config: WorldConfig) -> Plan:
    chosen = from_dict(BaseOptions, options, stage)
    frames = POSITIONS * config.frames_per_block
    tokens = chosen.clips * frames * config.frame_tokens
    seen = frames * config.frame_tokens
    networks = (
        _network("transformer", config.transformer, tokens, tokens, seen),
        _text_encoder(config, trained=not chosen.start),
    )
    passes = (Passes(1, chosen.clips, seen, seen, cached=False),)
    return Plan(stage, (chosen.clips, frames, *config.latent_shape), networks, config, passes)


def _causal(stage: str, options: dict[str, Any], config: WorldConfig) -> Plan:
    chosen = from_dict(CausalOptions, options, stage)
    blocks = (
        chosen.openings * chosen.opening_copies
        + chosen.beginnings * (2 * BLOCKS - 1)
        + (chosen.later + chosen.switches) * (BLOCKS - 1 + chosen.copies)
    )
    tokens = blocks * config.frames_per_block * config.frame_tokens
    restored = chosen.restored_share * (chosen.later + chosen.switches) * (2 * BLOCKS - 3)
    extra = restored * config.frames_per_block * config.frame_tokens
    seen = config.context_frames * config.frame_tokens
    clips = chosen.openings + chosen.beginnings + chosen.later + chosen.switches
    networks = (
        _network("transformer", config.transformer, tokens + extra, tokens, seen),
        _text_encoder(config),
    )
    clip_tokens = tokens // clips  # kinds of clips differ; they take turns, but all are kept
    passes = (Passes(1, clips, clip_tokens, seen, cached=False),)
    shape = (clips, BLOCKS * config.frames_per_block, *config.latent_shape)
    return Plan(stage, shape, networks, config, passes)


def _distill(stage: str, options: dict[str, Any], config: WorldConfig) -> Plan:
    kind = StreamOptions if stage == "stream" else DistillOptions
    chosen = from_dict(kind, options, stage)
    config = config.with_steps(chosen.sampler_steps or None)
    new = chosen.blocks - (chosen.overlap if isinstance(chosen, StreamOptions) else 0)
    block = config.frames_per_block * config.frame_tokens
    block_tokens = chosen.clips * block
    turn = 1 / (chosen.critic_updates + 1)  # share of steps that update the generator
    rounds = (len(config.sampler.steps) + 1) / 2 + 1  # denoising ends at random; then the cache pass
    context = config.context_frames * config.frame_tokens
    clip_tokens, clip_seen = block_tokens * chosen.blocks, block * chosen.blocks
    # The base stage makes a teacher for worlds with a codec of ours; for others it is a published model.
    teacher = config.transformer if isinstance(config.codec, PatchVAEConfig) else WAN_14B
    networks = (
        _network(
            "generator",
            config.transformer,
            new * block_tokens * rounds,
            new * block_tokens * turn,
            context,
            lora_rank=chosen.lora_rank,
        ),
        _network(
            "critic",
            config.transformer,
            clip_tokens,
            clip_tokens * (1 - turn),
            clip_seen,
            lora_rank=chosen.critic_lora_rank,
        ),
        _network("teacher", teacher, 2 * clip_tokens * turn, 0, clip_seen, asked=True),
        _text_encoder(config, trained=False, asked=True),
    )
    passes = (
        Passes(new, chosen.clips, block, context, True, chosen.lora_rank),  # of the generator
        Passes(1, chosen.clips, clip_seen, clip_seen, False, chosen.critic_lora_rank),
    )
    shape = (chosen.clips, chosen.blocks * config.frames_per_block, *config.latent_shape)
    return Plan(stage, shape, networks, config, passes)


def _network(
    name: str,
    config: TransformerConfig,
    forward_tokens: float,
    backward_tokens: float,
    seen: int,
    *,
    lora_rank: int = 0,
    asked: bool = False,
) -> Network:
    def build() -> CausalWanTransformer:
        model = CausalWanTransformer(config)
        if lora_rank:
            add_lora(model, lora_rank)
        return model

    model = on_meta(build)
    own = sum(p.numel() for p in model.parameters())
    gradients = sum(p.numel() for p in model.parameters() if p.requires_grad)
    blocks = [sum(p.numel() for p in block.parameters()) for block in model.blocks]
    attention = 4 * config.dim * config.layers * (seen + config.text_len)
    operations = 2 * sum(blocks) + attention
    tokens = (forward_tokens, backward_tokens)
    trained = 0 if asked else gradients
    return Network(name, own, trained, *tokens, operations, sum(blocks), max(blocks), averaged=not asked)


def _text_encoder(config: WorldConfig, *, trained: bool = True, asked: bool = False) -> Network:
    model = on_meta(lambda: UMT5Encoder(config.text_encoder))
    count = sum(p.numel() for p in model.parameters())
    blocks = [sum(p.numel() for p in block.parameters()) for block in model.blocks]
    tokens, sizes = (0, 0), (sum(blocks), max(blocks))
    gradients = count if trained else 0
    return Network("text encoder", count, gradients, *tokens, 2 * count, *sizes, averaged=not asked)
