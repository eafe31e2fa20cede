"""Load the published checkpoints of Wan 2.1, LongLive and the light codec in their original layout.

One folder holds them side by side: `Wan2.1-T2V-1.3B/`, `LongLive-1.3B/`, `taew2_1/`. A LongLive checkout,
with `wan_models/` and `longlive_models/`, also works as it is. Sizes are read from the checkpoints, so models
of any size load.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from longlive_env.engine.codec import Codec
from longlive_env.engine.codec.make import make_codec
from longlive_env.engine.config import (
    CodecKind,
    LightVAEConfig,
    TextEncoderConfig,
    TransformerConfig,
    WanVAEConfig,
)
from longlive_env.engine.text_encoder import UMT5Encoder
from longlive_env.engine.tokenizer import Tokenizer
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.engine.weights import (
    State,
    build,
    plain_names,
    read_json,
    read_state,
    read_tensors,
    state_of,
    with_lora,
)
from longlive_env.engine.world_places import DOWNLOAD_REMEDY
from longlive_env.errors import WeightsError

Device = torch.device | str

WAN_FOLDER = Path("Wan2.1-T2V-1.3B")
TEXT_ENCODER_FILE = WAN_FOLDER / "models_t5_umt5-xxl-enc-bf16.pth"
TOKENIZER_FILE = WAN_FOLDER / "google" / "umt5-xxl" / "tokenizer.json"
WAN_VAE_FILE = WAN_FOLDER / "Wan2.1_VAE.pth"
WAN_TRANSFORMER = "diffusion_pytorch_model.safetensors"  # if not sharded
TRANSFORMER_CONFIG_FILE = WAN_FOLDER / "config.json"
GENERATOR_FILE = Path("LongLive-1.3B") / "models" / "longlive_base.pt"
LORA_FILE = Path("LongLive-1.3B") / "models" / "lora.pt"
LIGHT_VAE_FILE = Path("taew2_1") / "taew2_1.pth"
WEIGHT_FILES = (
    TEXT_ENCODER_FILE,
    TOKENIZER_FILE,
    WAN_VAE_FILE,
    TRANSFORMER_CONFIG_FILE,
    GENERATOR_FILE,
    LORA_FILE,
    LIGHT_VAE_FILE,
)

# Where the files of each repository may be: in our layout, then under other projects' names.
_PLACES: dict[Path, tuple[Path, ...]] = {
    WAN_FOLDER: (WAN_FOLDER, Path("wan_models") / WAN_FOLDER),
    GENERATOR_FILE.parents[1]: (GENERATOR_FILE.parents[1], Path("longlive_models")),
    LIGHT_VAE_FILE.parent: (LIGHT_VAE_FILE.parent, Path()),
}
_GENERATOR_ENTRIES = ("generator", "generator_ema", "model")
_LORA_ENTRIES = ("generator_lora",)  # in the published file; other adapters may be at the top level


def locate(root: Path, file: Path) -> Path | None:
    """Find a published file below `root`, in our layout or another known one; None if it is absent.

    Args:
        root: folder with the published repositories.
        file: one of the constants above.
    """
    folder, rest = Path(file.parts[0]), Path(*file.parts[1:])
    return next((path for place in _PLACES[folder] if (path := root / place / rest).is_file()), None)


def is_published(root: Path) -> bool:
    """Whether a folder holds the published repositories, complete or not."""
    return any((root / place).is_dir() for place in _PLACES[WAN_FOLDER])


def transformer_files(root: Path) -> list[Path]:
    """The files that the tuned generator is made from.

    Raises:
        WeightsError: one is missing.
    """
    return [_published(root, file) for file in (GENERATOR_FILE, LORA_FILE, TRANSFORMER_CONFIG_FILE)]


def text_files(root: Path) -> list[Path]:
    """The files that embeddings of prompts depend on.

    Raises:
        WeightsError: one is missing.
    """
    return [_published(root, file) for file in (TEXT_ENCODER_FILE, TOKENIZER_FILE)]


def codec_file(root: Path, kind: CodecKind) -> Path:
    """The file of a codec.

    Raises:
        WeightsError: it is missing.
    """
    return _published(root, WAN_VAE_FILE if kind == "wan" else LIGHT_VAE_FILE)


def load_transformer(
    root: Path, device: Device, dtype: torch.dtype, lora: bool = True
) -> CausalWanTransformer:
    """The tuned generator of LongLive.

    Args:
        root: folder with the published repositories.
        device: device of the model.
        dtype: type of its weights.
        lora: whether to merge the LoRA into it.

    Raises:
        WeightsError: files are missing, damaged or do not fit.
    """
    file = _published(root, GENERATOR_FILE)
    state = plain_names(state_of(read_tensors(file), file, _GENERATOR_ENTRIES), "model.")
    if lora:
        lora_file = _published(root, LORA_FILE)
        content = read_tensors(lora_file)
        bare = any(name.startswith("base_model.") for name in content)
        adapters = state_of(content, lora_file, () if bare else _LORA_ENTRIES)
        state = with_lora(state, plain_names(adapters, ""), str(lora_file))
    config = transformer_config(root, _shape(state, "text_embedding.0.weight", file)[1])
    return build(lambda: CausalWanTransformer(config), state, str(file), device, dtype)


def load_wan_transformer(folder: Path, device: Device, dtype: torch.dtype) -> CausalWanTransformer:
    """The transformer of a Wan 2.1 text-to-video repository of any size, in one file or in shards.

    Args:
        folder: folder with `config.json` and the weights.
        device: device of the model.
        dtype: type of its blocks' weights; those before and after them are float32.

    Raises:
        WeightsError: files are missing, damaged or do not fit.
    """
    index = folder / f"{WAN_TRANSFORMER}.index.json"
    names = [WAN_TRANSFORMER]
    if index.is_file():
        table = read_json(index).get("weight_map")
        if not isinstance(table, dict) or not table:
            raise WeightsError(f"{index} has no weight_map; get it again")
        names = sorted(set(table.values()))
    state: State = {}
    for name in names:
        state |= read_state(folder / name)
    text_dim = _shape(state, "text_embedding.0.weight", folder)[1]
    config = _transformer_config(folder / TRANSFORMER_CONFIG_FILE.name, text_dim)

    def dtype_of(name: str) -> torch.dtype:
        return dtype if name.startswith("blocks.") else torch.float32

    return build(lambda: CausalWanTransformer(config), state, str(folder), device, dtype_of)


def load_text_encoder(root: Path, device: Device, dtype: torch.dtype) -> UMT5Encoder:
    """The umT5 encoder of Wan 2.1."""
    file = _published(root, TEXT_ENCODER_FILE)
    state = read_state(file)
    config = _text_encoder_config(state, file)
    return build(lambda: UMT5Encoder(config), state, str(file), device, dtype)


def text_encoder_config(root: Path) -> TextEncoderConfig:
    """The sizes of the umT5 encoder, without reading its weights."""
    file = _published(root, TEXT_ENCODER_FILE)
    return _text_encoder_config(read_state(file), file)


def _text_encoder_config(state: State, file: Path) -> TextEncoderConfig:
    buckets, heads = _shape(state, "blocks.0.pos_embedding.embedding.weight", file)
    vocab_size, dim = _shape(state, "token_embedding.weight", file)
    return TextEncoderConfig(
        vocab_size=vocab_size,
        dim=dim,
        ffn_dim=_shape(state, "blocks.0.ffn.fc1.weight", file)[0],
        heads=heads,
        head_dim=_shape(state, "blocks.0.attn.q.weight", file)[0] // heads,
        layers=_count(state, "blocks."),
        position_buckets=buckets,
    )


def load_tokenizer(root: Path) -> Tokenizer:
    """The umT5 tokenizer."""
    return Tokenizer.load(_published(root, TOKENIZER_FILE))


def load_codec(root: Path, kind: CodecKind, device: Device, dtype: torch.dtype) -> Codec:
    """The Wan VAE, or the light codec that stands in for it."""
    file = codec_file(root, kind)
    state = read_state(file)
    config = _codec_config(state, file, kind)
    return build(lambda: make_codec(config), state, str(file), device, dtype)


def codec_config(root: Path, kind: CodecKind) -> WanVAEConfig | LightVAEConfig:
    """The sizes of a codec, without reading its weights."""
    file = codec_file(root, kind)
    return _codec_config(read_state(file), file, kind)


def _codec_config(state: State, file: Path, kind: CodecKind) -> WanVAEConfig | LightVAEConfig:
    if kind == "wan":
        return _wan_vae_config(state, file)
    return LightVAEConfig(
        decoder_widths=tuple(_shape(state, f"decoder.{layer}.weight", file)[0] for layer in (1, 8, 14, 20)),
        encoder_width=_shape(state, "encoder.0.weight", file)[0],
        latent_channels=_shape(state, "decoder.1.weight", file)[1],
    )


def _published(root: Path, file: Path) -> Path:
    found = locate(root, file)
    if found is None:
        raise WeightsError(f"{root / file} is missing; {DOWNLOAD_REMEDY}")
    return found


def transformer_config(root: Path, text_dim: int) -> TransformerConfig:
    """The sizes of the generator; its file does not record the width of the text embeddings."""
    return _transformer_config(_published(root, TRANSFORMER_CONFIG_FILE), text_dim)


def _transformer_config(file: Path, text_dim: int) -> TransformerConfig:
    values: dict[str, Any] = read_json(file)
    names = {"heads": "num_heads", "layers": "num_layers", "in_channels": "in_dim", "out_channels": "out_dim"}
    same = ("dim", "ffn_dim", "text_len", "freq_dim", "eps")
    wanted = {**names, **{name: name for name in same}}
    missing = [theirs for theirs in wanted.values() if theirs not in values]
    if missing:
        raise WeightsError(f"{file} lacks {', '.join(missing)}; {DOWNLOAD_REMEDY}")
    return TransformerConfig(**{ours: values[theirs] for ours, theirs in wanted.items()}, text_dim=text_dim)


def _wan_vae_config(state: State, file: Path) -> WanVAEConfig:
    """Sizes from the encoder's layers: each stage but the last ends with a downsampling."""
    dim = _shape(state, "encoder.conv1.weight", file)[0]
    widths: list[int] = []
    blocks = [0]
    for layer in range(_count(state, "encoder.downsamples.")):
        name = f"encoder.downsamples.{layer}."
        if name + "resample.1.weight" in state:
            blocks.append(0)
            continue
        blocks[-1] += 1
        width = _shape(state, name + "residual.6.weight", file)[0]
        if blocks[-1] == 1:
            widths.append(width)
    return WanVAEConfig(
        dim=dim,
        multipliers=tuple(width // dim for width in widths),
        residual_blocks=blocks[0],
        latent_channels=_shape(state, "conv2.weight", file)[0],
    )


def _shape(state: Mapping[str, Tensor], name: str, source: object) -> tuple[int, ...]:
    if name not in state:
        raise WeightsError(f"{source} lacks {name}, which tells the model's size; {DOWNLOAD_REMEDY}")
    return tuple(state[name].shape)


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    """Number of numbered layers below a prefix."""
    numbers = {int(name.removeprefix(prefix).split(".")[0]) for name in state if name.startswith(prefix)}
    return max(numbers, default=-1) + 1
