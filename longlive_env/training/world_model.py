"""What the diffusion stages train: a causal transformer and the text encoder that conditions it."""

from __future__ import annotations

from torch import nn

from longlive_env.engine.config import WorldConfig
from longlive_env.engine.text_encoder import UMT5Encoder
from longlive_env.engine.tokenizer import Tokenizer, whole_word_tokenizer
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.tiny.captions import vocabulary


class WorldModel(nn.Module):
    """A transformer and its text encoder, with random weights."""

    def __init__(self, config: WorldConfig) -> None:
        super().__init__()
        self.transformer = CausalWanTransformer(config.transformer)
        self.text_encoder = UMT5Encoder(config.text_encoder)
        nn.init.normal_(self.text_encoder.token_embedding.weight, std=0.5)
        nn.init.zeros_(self.transformer.head.head.weight)


def tiny_tokenizer() -> Tokenizer:
    """The tokenizer of the captions' vocabulary."""
    words = vocabulary()
    return Tokenizer(
        whole_word_tokenizer([w for w in words if w.isalnum()], [w for w in words if not w.isalnum()])
    )
