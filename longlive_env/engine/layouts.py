"""Worlds on disk: a folder of our own layout, or one with the published checkpoints.

A world of our own has `config.json`, `tokenizer.json` and one safetensors file for each model; for the other
kind see `published`.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
from pathlib import Path
from typing import NamedTuple

import torch

from longlive_env.engine import published
from longlive_env.engine.codec import Codec
from longlive_env.engine.codec.light_vae import LightVAE
from longlive_env.engine.codec.patch_vae import PatchVAE
from longlive_env.engine.codec.wan_vae import WanVAE
from longlive_env.engine.config import PRESETS, CodecConfig, LightVAEConfig, PatchVAEConfig, WorldConfig
from longlive_env.engine.text_encoder import UMT5Encoder
from longlive_env.engine.tokenizer import Tokenizer
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.engine.weights import State, build, read_json, read_state, write_state
from longlive_env.errors import ConfigError, WeightsError

HOME_VARIABLE = "LONGLIVE_HOME"


class Parts(NamedTuple):
    """What a world is made of."""

    config: WorldConfig
    transformer: CausalWanTransformer
    codec: Codec
    text_encoder: UMT5Encoder
    tokenizer: Tokenizer


def worlds_home() -> Path:
    """Where downloaded worlds are kept: the folder that LONGLIVE_HOME names, else one in the user's cache."""
    return Path(os.environ.get(HOME_VARIABLE) or Path.home() / ".cache" / "longlive_env")


def find(name_or_path: str | os.PathLike[str]) -> Path:
    """The folder of a world.

    Args:
        name_or_path: "tiny" is the one that comes with the package, other presets are those downloaded;
            anything else is a path.

    Raises:
        ConfigError: there is no such preset or folder.
        WeightsError: the preset's folder is not there.
    """
    name = os.fspath(name_or_path)
    if name not in PRESETS:
        if Path(name).is_dir():
            return Path(name)
        near = difflib.get_close_matches(name, PRESETS, n=1)
        remedy = (
            f"did you mean {near[0]!r}?" if near else f"worlds are {', '.join(PRESETS)}, or a folder's path"
        )
        raise ConfigError(f"there is no world or folder {name!r}; {remedy}")
    shipped = Path(__file__).parent.parent / "assets" / name
    folder = shipped if name == "tiny" else worlds_home() / name
    if not folder.is_dir():
        remedy = (
            "install longlive_env again"
            if folder == shipped
            else f"download it with: longlive download {name}"
        )
        raise WeightsError(f"the world {name!r} is not in {folder}; {remedy}")
    return folder


def load(
    folder: Path,
    device: published.Device = "cpu",
    dtype: torch.dtype | None = None,
    codec: published.CodecKind = "wan",
) -> Parts:
    """Load a world from a folder of either layout.

    Args:
        folder: as `save` wrote it, or with the published repositories.
        device: where the models shall live.
        dtype: of the weights; None means float32 on the CPU and bfloat16 elsewhere.
        codec: which of the published codecs; a folder of our own has but one.

    Raises:
        WeightsError: files are missing, damaged or do not fit.
        ConfigError: the folder's config.json is not a valid configuration.
    """
    dtype = dtype or (torch.float32 if torch.device(device).type == "cpu" else torch.bfloat16)
    if (folder / published.WAN_FOLDER).is_dir():
        return _published_world(folder, device, dtype, codec)
    if (folder / "config.json").is_file():
        return _own_world(folder, device, dtype)
    raise WeightsError(
        f"{folder} holds neither config.json nor {published.WAN_FOLDER}; {published.DOWNLOAD_REMEDY}"
    )


def save(folder: Path, parts: Parts, dtype: torch.dtype | None = None) -> None:
    """Write a world in our own layout.

    Args:
        folder: made if need be; files of the same names are replaced.
        parts: the world.
        dtype: of floating-point weights on disk; None keeps theirs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_state(folder / "transformer.safetensors", parts.transformer, dtype)
    write_state(folder / "text_encoder.safetensors", parts.text_encoder, dtype)
    write_state(folder / "codec.safetensors", parts.codec, dtype)
    parts.tokenizer.save(folder / "tokenizer.json")
    config = json.dumps(parts.config.to_dict(), indent=2)
    (folder / "config.json").write_text(config + "\n", encoding="utf-8")


def make_codec(config: CodecConfig) -> Codec:
    """The codec that a configuration describes, with random weights."""
    if isinstance(config, PatchVAEConfig):
        return PatchVAE(config)
    return LightVAE(config) if isinstance(config, LightVAEConfig) else WanVAE(config)


def _own_world(folder: Path, device: published.Device, dtype: torch.dtype) -> Parts:
    config = WorldConfig.from_dict(read_json(folder / "config.json"))

    def weights(name: str) -> tuple[State, str]:
        file = folder / f"{name}.safetensors"
        return read_state(file), str(file)

    return Parts(
        config,
        build(lambda: CausalWanTransformer(config.transformer), *weights("transformer"), device, dtype),
        build(lambda: make_codec(config.codec), *weights("codec"), device, dtype),
        build(lambda: UMT5Encoder(config.text_encoder), *weights("text_encoder"), device, dtype),
        Tokenizer.load(folder / "tokenizer.json"),
    )


def _published_world(
    root: Path, device: published.Device, dtype: torch.dtype, kind: published.CodecKind
) -> Parts:
    transformer = published.load_transformer(root, device, dtype)
    text_encoder = published.load_text_encoder(root, device, dtype)
    codec = published.load_codec(root, kind, device, dtype)
    config = dataclasses.replace(
        PRESETS["1.3b"],
        transformer=transformer.config,
        text_encoder=text_encoder.config,
        codec=codec.config,
    )
    return Parts(config, transformer, codec, text_encoder, published.load_tokenizer(root))
