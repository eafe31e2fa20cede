"""Load networks that score clips: from the base stage, from a distillation, or published ones."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from longlive_env.engine.published import load_wan_transformer
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.engine.world import World
from longlive_env.errors import CheckpointError
from longlive_env.training.checkpoint import copy_state, load_tensors, read_info
from longlive_env.training.fingerprints import codec_fingerprint
from longlive_env.training.lora import add_lora, merge_lora
from longlive_env.training.stages import CLIP_CRITICS
from longlive_env.training.start_world import known_fingerprints

_ROUNDING = 0.05  # share of a tensor's norm: more than the error of storing a world in 8 bits


def load_score(world: World, path: str, dtype: torch.dtype = torch.float32) -> CausalWanTransformer:
    """Load a bidirectional transformer, frozen.

    Args:
        world: world as returned by `World.load`, whose latents and prompts the network must understand.
        path: `weights.safetensors` of the base stage, or of a distillation (its critic), or the folder of a
            published Wan 2.1 model.
        dtype: type of a published model's blocks; all else is float32.

    Raises:
        CheckpointError: the file is unreadable, of another stage, or belongs to another world.
        WeightsError: the folder lacks files, or they are damaged.
    """
    if Path(path).is_dir():
        return load_wan_transformer(Path(path), world.device, dtype)
    info = read_info(Path(path))
    stage = info.get("stage")
    if stage != "base" and stage not in CLIP_CRITICS:
        raise CheckpointError(
            f"{path} comes from the {stage} stage, whose model scores no clips; give weights.safetensors of "
            f"the stages base, {' or '.join(CLIP_CRITICS)}, or the folder of a Wan 2.1 model"
        )
    about = info["describe"]
    if stage == "base":
        _check_base(world, path, about)
    elif about["start_fingerprint"] not in known_fingerprints(world.source):
        raise CheckpointError(
            f"{path} was distilled from another world than {world.source!r}: their codecs, text encoders or "
            f"tokenizers differ; start from {about['start']!r}, or export {world.source!r} again if it was "
            "distilled from that, or give another file"
        )
    tensors, _ = load_tensors(Path(path), "transformer." if stage == "base" else "critic.")
    teacher = copy.deepcopy(world.transformer)
    if stage != "base" and about["critic_lora_rank"]:
        add_lora(teacher, about["critic_lora_rank"])
    copy_state(teacher, tensors, path)
    merge_lora(teacher)
    return teacher.eval().requires_grad_(False)


def _check_base(world: World, path: str, about: Mapping[str, Any]) -> None:
    """Check that a base model was trained on the latents and the prompts of a world."""
    remedy = f"train the base with start={world.source} codec={world.source}"
    if about["codec_fingerprint"] != codec_fingerprint(world.codec):
        raise CheckpointError(
            f"{path} learned latents of another codec than that of {world.source!r}; {remedy}"
        )
    encoder = world.text_encoder
    mine = {} if encoder is None else encoder.state_dict()
    tensors, _ = load_tensors(Path(path), "text_encoder.")
    if mine.keys() != tensors.keys() or not all(_alike(tensors[name], mine[name]) for name in mine):
        raise CheckpointError(
            f"{path} learned prompts by another text encoder than that of {world.source!r}; {remedy}"
        )


def _alike(one: Tensor, other: Tensor) -> bool:
    """Whether tensors are the same up to the error of storing a world."""
    same_shape, other = one.shape == other.shape, other.to(one)
    return same_shape and bool((one - other).norm() <= _ROUNDING * other.norm())
