"""Turns the results of training into a world folder that `World.load` reads."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from longlive_env.engine.codec.patch_vae import PatchVAE
from longlive_env.engine.config import PatchVAEConfig, WorldConfig
from longlive_env.engine.config_values import from_dict
from longlive_env.engine.world import World
from longlive_env.errors import CheckpointError, LongLiveError
from longlive_env.training.checkpoint import copy_state, load_tensors, read_info
from longlive_env.training.latents import codec_fingerprint
from longlive_env.training.lora import add_lora, merge_lora
from longlive_env.training.stages import DISTILLED
from longlive_env.training.start_world import known_fingerprints, note_origins, start_fingerprint
from longlive_env.training.world_model import WorldModel, tiny_tokenizer

logger = logging.getLogger(__name__)


def export_world(model: Path, codec: Path, out: Path, dtype: torch.dtype = torch.float16) -> World:
    """Join trained weights to a world and save it.

    Args:
        model: `weights.safetensors` of the causal stage.
        codec: `weights.safetensors` of the codec stage that the model was trained with.
        out: the world folder to write; other files in it are left alone.
        dtype: of the saved weights.

    Returns:
        The world, with weights as trained.

    Raises:
        CheckpointError: a file is unreadable, of another stage, or does not fit its configuration; or the
            codec means other latents than those that the model was trained on.
    """
    tensors, info = load_tensors(model)
    if info.get("stage") in DISTILLED:
        raise CheckpointError(f"{model} was distilled and has its world's codec; use export_distilled")
    if info.get("stage") != "causal":
        raise CheckpointError(
            f"{model} comes from the {info.get('stage')} stage and holds no world; give the weights that the "
            "causal stage wrote"
        )
    config = from_dict(WorldConfig, info["describe"]["config"])
    if not isinstance(config.codec, PatchVAEConfig):
        raise CheckpointError(f"{model} belongs to a world with a {config.codec.kind} codec, not a patch_vae")
    coded = config.codec
    weights, coding = load_tensors(codec)
    if "codec" in coding.get("describe", {}):  # a decoder may have grown since the model was trained
        coded = from_dict(PatchVAEConfig, coding["describe"]["codec"])
    config = replace(config, codec=coded)
    networks, decoder = WorldModel(config), PatchVAE(coded)
    copy_state(networks, tensors, str(model))
    copy_state(decoder, weights, str(codec))
    if info["describe"].get("codec_fingerprint") not in (None, codec_fingerprint(decoder)):
        raise CheckpointError(
            f"{codec} means other latents than those that {model} was trained on; give the codec of its run"
        )
    world = World(
        config, networks.transformer.eval(), decoder.eval(), networks.text_encoder.eval(), tiny_tokenizer()
    )
    world.save(out, dtype, packed=True)
    logger.info("wrote %s", out)
    return world


def export_distilled(
    model: Path,
    out: Path,
    dtype: torch.dtype = torch.float16,
    start: str | None = None,
    codec: Path | None = None,
) -> World:
    """Put a distilled generator into the world that it started from, adapters merged, and save it.

    Args:
        model: `weights.safetensors` of the distill or the stream stage.
        out: the world folder to write; other files in it are left alone.
        dtype: of the saved weights.
        start: name or folder of the world that it started from, if that has moved since.
        codec: `weights.safetensors` of the codec stage where the world's decoder has been trained on, alone.

    Returns:
        The world, with weights as trained.

    Raises:
        CheckpointError: a file is unreadable, of another stage, or does not fit the world; or the world has
            another codec or text encoder than the one that it started from; or `codec` means other latents.
    """
    tensors, info = load_tensors(model, "generator.")
    if info.get("stage") not in DISTILLED:
        raise CheckpointError(
            f"{model} comes from the {info.get('stage')} stage; give the weights that distill or stream "
            "wrote, or a codec beside it"
        )
    about = info["describe"]
    start = start or about["start"]
    origins = known_fingerprints(start)
    if start_fingerprint(start) != about["start_fingerprint"]:
        raise CheckpointError(
            f"{model} was distilled from another world than {start!r} is now: their codecs, text encoders or "
            "tokenizers differ; give the folder of that world with --start"
        )
    world = World.load(start)
    if about["lora_rank"]:
        add_lora(world.transformer, about["lora_rank"])
    copy_state(world.transformer, tensors, str(model))
    merge_lora(world.transformer)
    if codec is not None:
        _replace_decoder(world.codec, codec)
    world.save(out, dtype, packed=isinstance(world.config.codec, PatchVAEConfig))
    note_origins(out, origins)
    logger.info("wrote %s", out)
    return world


def _replace_decoder(codec: nn.Module, path: Path) -> None:
    """Fill a codec with weights that mean the same latents.

    Raises:
        CheckpointError: they mean others, since their encoder was trained too.
    """
    found, info = load_tensors(path)
    if info.get("stage") != "codec":
        raise CheckpointError(f"{path} comes from the {info.get('stage')} stage; give a codec")
    meant = {name: own for name, own in codec.state_dict().items() if not name.startswith("decoder.")}
    changed = [name for name, own in meant.items() if name not in found or not torch.equal(found[name], own)]
    if changed:
        raise CheckpointError(
            f"{path} means other latents than the distilled world: {changed[0]} differs; train the decoder "
            "alone (--set decoder_only=true), or distil anew"
        )
    copy_state(codec, found, str(path))


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m longlive_env.training.export --model FILE [--codec FILE] [--start WORLD] --out DIR`."""
    parser = argparse.ArgumentParser(description="Turn trained weights into a world folder.")
    parser.add_argument("--model", type=Path, required=True, help="weights.safetensors of a stage")
    parser.add_argument(
        "--codec",
        type=Path,
        help="weights.safetensors of the codec stage; if distilled, only a decoder that was trained on",
    )
    parser.add_argument("--out", type=Path, required=True, help="world folder")
    parser.add_argument("--start", help="the world that a distilled one started from, if it has moved")
    args = parser.parse_args(argv)
    try:
        if args.codec is None or read_info(args.model).get("stage") in DISTILLED:
            export_distilled(args.model, args.out, start=args.start, codec=args.codec)
        else:
            export_world(args.model, args.codec, args.out)
    except LongLiveError as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
