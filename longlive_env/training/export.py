"""Turn the results of training into a world folder that `World.load` reads."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from longlive_env.engine.codec.patch_vae import PatchVAE
from longlive_env.engine.config import PatchVAEConfig, WorldConfig
from longlive_env.engine.world import World
from longlive_env.errors import CheckpointError, ConfigError
from longlive_env.terminal import OneLineParser, as_command
from longlive_env.training.checkpoint import copy_state, load_tensors, read_info
from longlive_env.training.codec_stage import load_codec, stored_config
from longlive_env.training.fingerprints import codec_fingerprint, start_fingerprint
from longlive_env.training.lora import add_lora, merge_lora
from longlive_env.training.stages import ROLLED_OUT
from longlive_env.training.start_world import known_fingerprints, note_origins
from longlive_env.training.world_model import WorldModel, tiny_completion, tiny_tokenizer


def export_world(model: Path, codec: str | Path, out: Path) -> World:
    """Assemble a world from trained weights and save it.

    Args:
        model: `weights.safetensors` of the causal stage.
        codec: the codec that the model was trained with: `weights.safetensors` of the codec stage, or the
            name or folder of a world.
        out: the world folder to write; other files in it are left alone.

    Returns:
        The world, with weights as trained.

    Raises:
        CheckpointError: a file is unreadable, of another stage, or does not fit its configuration; or the
            codec's latents are not those that the model was trained on.
    """
    tensors, info = load_tensors(model)
    if info.get("stage") in ROLLED_OUT:
        raise CheckpointError(f"{model} was distilled and has its world's codec; use export_distilled")
    if info.get("stage") != "causal":
        raise CheckpointError(
            f"{model} comes from the {info.get('stage')} stage and holds no world; give the weights that the "
            "causal stage wrote"
        )
    config = WorldConfig.of(info["describe"]["config"])
    decoder = _codec_of(codec, info["describe"]["codec_fingerprint"], model)
    config = config.with_codec(decoder.config)  # a decoder may have grown since the model was trained
    networks = WorldModel(config)
    copy_state(networks, tensors, str(model))
    world = World(
        config,
        networks.transformer.eval(),
        decoder,
        networks.text_encoder.eval(),
        tiny_tokenizer(),
        tiny_completion(),
    )
    return _saved(world, out)


def export_distilled(
    model: Path, out: Path, start: str | None = None, codec: str | Path | None = None
) -> World:
    """Put a distilled generator into the world that it started from, adapters merged, and save it.

    Args:
        model: `weights.safetensors` of a stage of `ROLLED_OUT`.
        out: the world folder to write; other files in it are left alone.
        start: name or folder of the world that it started from, if that has moved since.
        codec: source of a decoder that was trained further: `weights.safetensors` of the codec or the decoder
            stage, or the name or folder of a world.

    Returns:
        The world, with weights as trained.

    Raises:
        CheckpointError: a file is unreadable, of another stage, or does not fit the world; or the world's
            codec or text encoder has changed since the start; or `codec` has other latents.
    """
    tensors, info = load_tensors(model, "generator.")
    if info.get("stage") not in ROLLED_OUT:
        raise CheckpointError(
            f"{model} comes from the {info.get('stage')} stage; give the weights that "
            f"{', '.join(ROLLED_OUT[:-1])} or {ROLLED_OUT[-1]} wrote, or a codec beside it"
        )
    about = info["describe"]
    start, origins = _start_of(model, about, start)
    world = World.load(start)
    if about["lora_rank"]:
        add_lora(world.transformer, about["lora_rank"])
    copy_state(world.transformer, tensors, str(model))
    merge_lora(world.transformer)
    trained = WorldConfig.of(about["config"])
    config = replace(world.config, sampler=trained.sampler, viewpoints=trained.viewpoints)
    world = world.replaced(config=config)
    if codec is not None:
        world = _with_decoder(world, codec, model)
    return _saved(world, out, origins)


def export_decoder(model: Path, out: Path, start: str | None = None) -> World:
    """Put a decoder trained on what its world draws into that world, and save it.

    Args:
        model: `weights.safetensors` of the decoder stage.
        out: the world folder to write; other files in it are left alone.
        start: name or folder of the world that played, if that has moved since.

    Returns:
        The world, with weights as trained.

    Raises:
        CheckpointError: the file is unreadable, of another stage, or does not fit the world; or the world's
            codec or text encoder has changed since it played.
    """
    info = read_info(model)
    if info.get("stage") != "decoder":
        raise CheckpointError(
            f"{model} comes from the {info.get('stage')} stage; give the weights that the decoder stage wrote"
        )
    start, origins = _start_of(model, info["describe"], start)
    return _saved(_with_decoder(World.load(start), model, model), out, origins)


def _saved(world: World, out: Path, origins: Iterable[str] = ()) -> World:
    """Write a world's folder, with the fingerprints of the worlds that it comes from, if any."""
    world.save(out, torch.float16, packed=isinstance(world.config.codec, PatchVAEConfig))
    if origins:
        note_origins(out, origins)
    return world


def _with_decoder(world: World, source: str | Path, model: Path) -> World:
    """A world with a further trained decoder; for errors see `_codec_of`."""
    codec = _codec_of(source, codec_fingerprint(world.codec), model)
    return world.replaced(config=world.config.with_codec(codec.config), codec=codec)


def _start_of(model: Path, about: Mapping[str, Any], start: str | None) -> tuple[str, set[str]]:
    """The world that a run started from, and the fingerprints of it and of its ancestors.

    Raises:
        CheckpointError: that world has changed.
    """
    start = start or str(about["start"])
    if about["start_fingerprint"] != start_fingerprint(start):
        raise CheckpointError(
            f"{model} was trained from another world than {start!r} is now: their codecs, text encoders or "
            "tokenizers differ; give the folder of that world with --start"
        )
    return start, known_fingerprints(start)


def _codec_of(source: str | Path, meaning: str, model: Path) -> PatchVAE:
    """A trained codec for a world.

    Args:
        source: `weights.safetensors` of the codec or the decoder stage, or the name or folder of a world.
        meaning: fingerprint that the codec must have.
        model: file of the weights that were trained on its latents, for the message.

    Raises:
        CheckpointError: `source` is not a codec, damaged, or has other latents.
        ConfigError: there is no such file or world, or the world's codec is of another kind.
        WeightsError: files of the world are missing or damaged.
    """
    codec = PatchVAE(stored_config(source)).eval().requires_grad_(False)
    load_codec(codec, str(source))
    if codec_fingerprint(codec) != meaning:
        raise CheckpointError(
            f"{source} means other latents than those that {model} was trained on; give the codec of its "
            "run, or one that went on from it with --set decoder_only=true"
        )
    return codec


def parser() -> argparse.ArgumentParser:
    """The arguments of an export."""
    out = OneLineParser(
        prog="longlive export",
        description="Turn trained weights into the folder of a world, for --world DIR.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: longlive export --model runs/follow/weights.safetensors --out runs/world",
        allow_abbrev=False,
    )
    out.add_argument("--model", type=Path, required=True, help="weights.safetensors of a stage")
    out.add_argument(
        "--codec",
        help="weights.safetensors of the codec or decoder stage, or a world; the causal stage needs it, the "
        "later ones only where a decoder was trained on",
    )
    out.add_argument("--out", type=Path, required=True, help="world folder")
    out.add_argument("--start", help="the world that a distilled one started from, if it has moved")
    return out


def main(argv: Sequence[str]) -> int:
    """`longlive export`.

    Raises:
        LongLiveError: something is wrong with the arguments, or see the functions above.
        OSError: a file cannot be read or written.
    """
    args = parser().parse_args(argv)
    stage = read_info(args.model).get("stage")
    if stage == "decoder":
        if args.codec is not None:
            raise ConfigError("--codec has no part in the export of a decoder; leave it out")
        export_decoder(args.model, args.out, start=args.start)
    elif args.codec is None or stage in ROLLED_OUT:
        export_distilled(args.model, args.out, start=args.start, codec=args.codec)
    else:
        if args.start is not None:
            raise ConfigError(f"--start has no part in the export of the {stage} stage; leave it out")
        export_world(args.model, args.codec, args.out)
    print(f"{args.out}: {as_command(['longlive', 'play', '--world', str(args.out)])}")
    return 0
