"""The model of the diffusion stages: a causal transformer and the text encoder that conditions it."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from longlive_env.engine.completion import Completion
from longlive_env.engine.config import PRESETS, CodecKind, PatchVAEConfig, WorldConfig
from longlive_env.engine.text_encoder import UMT5Encoder
from longlive_env.engine.tokenizer import Tokenizer, whole_word_tokenizer
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.engine.world_files import read_config
from longlive_env.errors import ConfigError
from longlive_env.tiny.captions import (
    NEEDLESS,
    PHRASES,
    SHORT_PHRASES,
    TEMPLATES,
    TURN_AROUND,
    WALKS,
    WEAK,
    linking_words,
    vocabulary,
)
from longlive_env.tiny.scene import HEIGHT, USUAL, USUAL_COLOURS, WIDTH


class WorldModel(nn.Module):
    """A transformer and its text encoder, with random weights."""

    def __init__(self, config: WorldConfig) -> None:
        super().__init__()
        self.transformer = CausalWanTransformer(config.transformer)
        self.text_encoder = UMT5Encoder(config.text_encoder)
        nn.init.normal_(self.text_encoder.token_embedding.weight, std=0.5)
        nn.init.zeros_(self.transformer.head.head.weight)


def world_config(config: WorldConfig | None, start: str) -> WorldConfig:
    """The configuration of the world that a stage trains.

    Args:
        config: configuration to use, if given.
        start: name or folder of the world to start from, whose configuration is used otherwise; empty for the
            tiny world's.

    Returns:
        The configuration without the codec's detail, as training takes have none, and with the vocabulary of
        rendered takes.

    Raises:
        ConfigError: there is no such world, or rendered takes cannot be its videos.
        WeightsError: the folder holds no world.
    """
    found = config or read_config(start or "tiny")
    own = found.codec
    light = found.with_codec(own.light) if isinstance(own, PatchVAEConfig) else found
    if not isinstance(own, PatchVAEConfig) or (light.height, light.width) != (HEIGHT, WIDTH):
        raise ConfigError(
            f"world {found.name!r} has {found.width}x{found.height} pixels and a {own.kind} codec; rendered "
            f"takes are for worlds of {WIDTH}x{HEIGHT} with a patch_vae, or of twice that size with detail: "
            "start from one of these"
        )
    return replace(light, vocabulary=PRESETS["tiny"].vocabulary)


def light_codec(start: str) -> CodecKind | None:
    """The `codec` argument of `World.load` for training: rendered takes are encoded without detail.

    Args:
        start: name or folder of the world.

    Raises:
        ConfigError: there is no such world.
        WeightsError: the folder holds no world.
    """
    return "light" if read_config(start).draws_detail else None


def tiny_tokenizer() -> Tokenizer:
    """The tokenizer of the captions' vocabulary."""
    words = vocabulary()
    return Tokenizer(
        whole_word_tokenizer([w for w in words if w.isalnum()], [w for w in words if not w.isalnum()])
    )


def tiny_completion() -> Completion:
    """How to complete prompts of a few words to captions of the tiny world."""
    return Completion(
        sentence=TEMPLATES[0],
        phrases=PHRASES,
        usual={**USUAL, "colour": USUAL_COLOURS[USUAL["subject"]]},
        short_phrases=SHORT_PHRASES,
        either={"action": dict.fromkeys(WALKS, ("right", "left"))},
        relative={"action": {phrase: {"right": "left", "left": "right"} for phrase in TURN_AROUND}},
        weak=WEAK,
        needless=NEEDLESS,
        linking=tuple(linking_words()),
        describes={"colour": "subject"},
        goes_with={"subject": {subject: {"colour": colour} for subject, colour in USUAL_COLOURS.items()}},
    )
