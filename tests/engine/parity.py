"""Where the recorded outputs lie, and the configuration of the small models that made them."""

from pathlib import Path

from longlive_env.engine.config import PatchVAEConfig, TextEncoderConfig, TransformerConfig, WorldConfig

DATA = Path(__file__).parents[1] / "data" / "parity"
CONFIG = WorldConfig(
    name="mini",
    height=64,
    width=96,
    transformer=TransformerConfig(dim=64, ffn_dim=176, heads=2, layers=3, text_dim=40, text_len=512),
    text_encoder=TextEncoderConfig(vocab_size=64, dim=40, ffn_dim=16, heads=4, head_dim=8, layers=2),
    codec=PatchVAEConfig(),
)
