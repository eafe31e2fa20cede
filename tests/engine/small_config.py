"""The configuration of a very small world."""

from longlive_env.engine.config import PatchVAEConfig, TextEncoderConfig, TransformerConfig, WorldConfig

SMALL = WorldConfig(
    name="small",
    height=32,
    width=48,
    transformer=TransformerConfig(
        dim=32, ffn_dim=48, heads=2, layers=2, in_channels=4, out_channels=4, text_dim=8, text_len=32
    ),
    text_encoder=TextEncoderConfig(vocab_size=64, dim=8, ffn_dim=16, heads=2, head_dim=4, layers=1),
    codec=PatchVAEConfig(
        encoder_widths=(16, 8), encoder_blocks=(1, 1), decoder_widths=(16, 8), decoder_blocks=(1, 1),
        latent_channels=4,
    ),
)  # fmt: skip
