"""Load the models of a world from a folder, make them from a configuration, and save them to a folder.

Our own layout has `config.json`, `tokenizer.json` and one safetensors file per model, and may have
`completion.json`; for the other layout see `published`.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from longlive_env.engine import prepared, published
from longlive_env.engine.codec import Codec
from longlive_env.engine.codec.make import make_codec
from longlive_env.engine.codec.patch_vae import PatchVAE
from longlive_env.engine.completion import COMPLETION_FILE, Completion
from longlive_env.engine.config import (
    PRESETS,
    PUBLISHED_CODECS,
    CodecKind,
    PatchVAEConfig,
    TextEncoderConfig,
    TransformerConfig,
    WorldConfig,
    from_dict,
    to_dict,
)
from longlive_env.engine.devices import multiplies_bfloat16, usable
from longlive_env.engine.offload import offload
from longlive_env.engine.quantize import weight_bytes
from longlive_env.engine.seeds import seeded
from longlive_env.engine.text_encoder import UMT5Encoder
from longlive_env.engine.text_encoding import EmbeddingStore, Placement, TextEncoding, store_folder
from longlive_env.engine.tokenizer import Tokenizer, spelling_tokenizer
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.engine.weights import State, build, on_meta, read_json, read_state, write_state
from longlive_env.engine.whole_files import write_whole
from longlive_env.engine.world_places import DOWNLOAD_REMEDY, find, worlds_home
from longlive_env.errors import ConfigError, WeightsError

if TYPE_CHECKING:
    from longlive_env.engine.world import World

CONFIG_FILE = "config.json"
TOKENIZER_FILE = "tokenizer.json"
TRANSFORMER_FILE = "transformer.safetensors"
TEXT_ENCODER_FILE = "text_encoder.safetensors"
CODEC_FILE = "codec.safetensors"
OWN_FILES = (
    CONFIG_FILE,
    TOKENIZER_FILE,
    TRANSFORMER_FILE,
    TEXT_ENCODER_FILE,
    CODEC_FILE,
    COMPLETION_FILE,
)

logger = logging.getLogger(__name__)


class Parts(NamedTuple):
    """What a world is made of."""

    config: WorldConfig
    transformer: CausalWanTransformer
    codec: Codec
    text_encoder: UMT5Encoder | TextEncoding | None
    tokenizer: Tokenizer | None
    completion: Completion | None = None


def load(
    name_or_path: str | os.PathLike[str],
    device: published.Device = "cpu",
    dtype: torch.dtype | None = None,
    codec: CodecKind | None = None,
    text_placement: Placement = "resident",
    offloaded: bool = False,
) -> Parts:
    """Load a world from a folder of either layout; `World.load` has checked the options.

    Args:
        name_or_path: see `find`; the folder was written by `save`, or holds the published repositories.
        device: device of the models.
        dtype: type of the weights; None means float32 on the CPU and bfloat16 elsewhere.
        codec: published codec to use, "wan" by default; for a folder in our own layout, "light" leaves out
            the codec's detail.
        text_placement: where the text encoder is, see `TextEncoding`.
        offloaded: whether to keep the transformer's linear layers on the host, see `offload`.

    Raises:
        WeightsError: files are missing, damaged or do not fit.
        ConfigError: the folder's config.json is not a valid configuration, or it has another codec.
        BackendError: the device cannot be used here.
    """
    folder, device = find(name_or_path), usable(device)
    dtype = dtype or default_dtype(device)
    place = "cpu" if offloaded else device
    if published.is_published(folder):
        parts = _published_world(folder, device, place, dtype, codec or "wan", text_placement)
    elif (folder / CONFIG_FILE).is_file():
        parts = _own_world(folder, device, place, dtype, codec, text_placement)
    else:
        raise WeightsError(_nothing_in(folder))
    if offloaded:
        offload(parts.transformer, device)
    return parts


def default_dtype(device: published.Device) -> torch.dtype:
    """The type of weights that a device runs best: float32 on a CPU, bfloat16 elsewhere."""
    return torch.float32 if usable(device).type == "cpu" else torch.bfloat16


def read_config(name_or_path: str | os.PathLike[str], codec: CodecKind | None = None) -> WorldConfig:
    """The configuration of a world, without reading its weights; see `load` for arguments and errors."""
    folder = find(name_or_path)
    if published.is_published(folder):
        return _published_config(folder, codec or "wan")
    if (folder / CONFIG_FILE).is_file():
        return with_codec(_own_config(folder), codec)
    raise WeightsError(_nothing_in(folder))


def with_codec(config: WorldConfig, codec: CodecKind | None) -> WorldConfig:
    """Configuration of a world in our own layout, with the requested codec, if any.

    Raises:
        ConfigError: the world has no such codec.
    """
    own = config.codec
    if codec is None or own.kind == f"{codec}_vae":
        return config
    if codec == "light" and isinstance(own, PatchVAEConfig) and own.detail:
        return config.with_codec(own.light)
    told = f"the world {config.name!r} has the codec {own.kind}, not {codec!r}"
    if not isinstance(own, PatchVAEConfig):
        raise ConfigError(f"{told}; expected {own.kind.removesuffix('_vae')!r} or None")
    if own.detail:
        raise ConfigError(f"{told}; expected 'light' or None")
    raise ConfigError(f"{told}; leave codec out, as it draws no detail that 'light' could leave out")


def _own_config(folder: Path) -> WorldConfig:
    """The configuration in our own layout."""
    file = folder / CONFIG_FILE
    try:
        return WorldConfig.of(read_json(file))
    except ConfigError as error:
        raise ConfigError(f"{file} is not a world's configuration: {error}") from error


def read_completion(folder: Path) -> Completion | None:
    """How to complete prompts, if a world's folder says so.

    Raises:
        WeightsError: its file makes no sense.
    """
    file = folder / COMPLETION_FILE
    if not file.is_file():
        return None
    try:
        return Completion.of(read_json(file))
    except ConfigError as error:
        raise WeightsError(f"{file} does not say how to complete prompts: {error}") from error


def _nothing_in(folder: Path) -> str:
    return f"{folder} holds neither {CONFIG_FILE} nor {published.WAN_FOLDER}; {DOWNLOAD_REMEDY}"


def save(
    world: World,
    folder: str | os.PathLike[str],
    dtype: torch.dtype | None = None,
    packed: bool = False,
) -> None:
    """Write a world in our own layout.

    Args:
        world: world with text encoder and tokenizer.
        folder: folder to write, made if need be; files of the same names are replaced, and one that says how
            to complete prompts is deleted if `world` does not complete them.
        dtype: type of floating-point weights on disk; None keeps theirs.
        packed: whether to store the matrices of transformer and text encoder as 8-bit integers, see
            `packing`.

    Raises:
        ConfigError: the world has no text encoder or tokenizer.
    """
    encoder = world.text_encoder
    if encoder is None or world.tokenizer is None:
        raise ConfigError("a world without text encoder and tokenizer cannot be saved; give it both")
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    write_state(target / TRANSFORMER_FILE, world.transformer, dtype, packed)
    write_state(target / TEXT_ENCODER_FILE, encoder, dtype, packed)
    write_state(target / CODEC_FILE, world.codec, dtype)
    world.tokenizer.save(target / TOKENIZER_FILE)
    if world.completion is not None:
        completion = json.dumps(to_dict(world.completion), indent=1)
        write_whole(target / COMPLETION_FILE, completion + "\n")
    else:
        (target / COMPLETION_FILE).unlink(missing_ok=True)
    config = json.dumps(to_dict(world.config), indent=2)
    write_whole(target / CONFIG_FILE, config + "\n")


def initialise(
    config: WorldConfig,
    seed: int = 0,
    device: published.Device = "cpu",
    dtype: torch.dtype | None = None,
    text_encoder: bool = True,
) -> Parts:
    """Make models with random weights, determined by the seed, and a tokenizer that spells prompts out.

    Args:
        config: the world's configuration.
        seed: seed of the weights.
        device: device of the models.
        dtype: type of the weights; None means float32.
        text_encoder: whether to make one.
    """
    device = usable(device)
    with seeded(seed, device):  # the caller may have made it the default, on which weights are drawn
        transformer = CausalWanTransformer(config.transformer)
        codec = make_codec(config.codec)
        encoder = UMT5Encoder(config.text_encoder) if text_encoder else None
    for model in (transformer, codec, encoder):
        if model is not None:
            model.to(device, dtype).eval().requires_grad_(False)
    tokenizer = Tokenizer(spelling_tokenizer(config.text_encoder.vocab_size))
    return Parts(config, transformer, codec, encoder, tokenizer)


def _own_world(
    folder: Path,
    device: published.Device,
    place: published.Device,
    dtype: torch.dtype,
    codec: CodecKind | None,
    text: Placement,
) -> Parts:
    """A world in our own layout, with its transformer on `place` and the rest on `device`."""
    stored = _own_config(folder)
    config = with_codec(stored, codec)

    def weights(name: str) -> tuple[State, str]:
        file = folder / name
        return read_state(file), str(file)

    text_place = _text_place(config.text_encoder, device, dtype, text)

    def text_encoder() -> UMT5Encoder:
        return build(lambda: UMT5Encoder(config.text_encoder), *weights(TEXT_ENCODER_FILE), *text_place)

    own: Codec = build(lambda: make_codec(stored.codec), *weights(CODEC_FILE), device, dtype)
    if config.codec != stored.codec:
        assert isinstance(own, PatchVAE)
        own = own.light()
    return Parts(
        config,
        build(lambda: CausalWanTransformer(config.transformer), *weights(TRANSFORMER_FILE), place, dtype),
        own,
        TextEncoding(text_encoder, freed=True) if text == "freed" else text_encoder(),
        Tokenizer.load(folder / TOKENIZER_FILE),
        read_completion(folder),
    )


def _published_world(
    root: Path,
    device: published.Device,
    place: published.Device,
    dtype: torch.dtype,
    kind: CodecKind,
    text_placement: Placement,
) -> Parts:
    """The published world, with its transformer on `place` and the rest on `device`."""
    cache = worlds_home() / "prepared" / prepared.folder_key(root)
    suffix = f"{str(dtype).removeprefix('torch.')}.safetensors"

    transformer = prepared.model(
        cache / f"transformer-{suffix}",
        published.transformer_files(root),
        lambda: published.load_transformer(root, "cpu", dtype),
        lambda config: CausalWanTransformer(from_dict(TransformerConfig, config)),
        place,
    )
    codec = prepared.model(
        cache / f"{kind}-codec-{suffix}",
        [published.codec_file(root, kind)],
        lambda: published.load_codec(root, kind, "cpu", dtype),
        lambda config: make_codec(from_dict(PUBLISHED_CODECS[kind], config)),
        device,
    )
    config = _published_config(root, kind)
    text_place = _text_place(config.text_encoder, device, dtype, text_placement)
    text = _published_text(root, *text_place, freed=text_placement == "freed")
    return Parts(config, transformer, codec, text, published.load_tokenizer(root))


def _published_config(root: Path, kind: CodecKind) -> WorldConfig:
    text_encoder = published.text_encoder_config(root)
    return dataclasses.replace(
        PRESETS["1.3b"],
        transformer=published.transformer_config(root, text_encoder.dim),
        text_encoder=text_encoder,
        codec=published.codec_config(root, kind),
    )


def _published_text(root: Path, place: torch.device, dtype: torch.dtype, *, freed: bool) -> TextEncoding:
    """The text encoder, not loaded yet, and the embeddings that it has computed in earlier processes."""
    sources = prepared.identity(published.text_files(root))
    store = EmbeddingStore(store_folder(worlds_home() / "prompts", sources, dtype, place))
    return TextEncoding(lambda: published.load_text_encoder(root, place, dtype), store, freed=freed)


def _text_place(
    config: TextEncoderConfig, device: published.Device, dtype: torch.dtype, placement: Placement
) -> tuple[torch.device, torch.dtype]:
    """Device and type of a text encoder; on the host, a type whose products are fast."""
    if placement != "cpu":
        return torch.device(device), dtype
    host = torch.device("cpu")
    if not (dtype is torch.bfloat16 and multiplies_bfloat16(host)):
        dtype = torch.float32
    size = weight_bytes(on_meta(lambda: UMT5Encoder(config)).to(dtype))
    logger.info("the text encoder is on the host in %s, in %.1f GB of its memory", dtype, size / 1e9)
    return host, dtype
