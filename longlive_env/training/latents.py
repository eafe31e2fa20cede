"""A bank of encoded takes on disk: what the diffusion stages learn from.

Most entries are seven blocks of one take: the first seven, or the first four and three from much later, so
that a model sees a window far from its sink. In a bank of switches, they are the four blocks before a change
of prompt and the three after it; in a bank of clips, seven consecutive blocks under one prompt. A bank of
openings has only first blocks, and a bank of places has the first block of a scene at several places of the
camera. Prompts change at block boundaries.

Shapes: N takes, P positions (7 blocks of a take, or as said above), F = 3 latent frames of a block, C latent
channels, h x w latent size.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from longlive_env.engine.codec import Codec, CodecState
from longlive_env.engine.devices import without_autocast
from longlive_env.errors import CheckpointError
from longlive_env.tiny.probe import to_pixels
from longlive_env.tiny.render import render_take
from longlive_env.tiny.scene import (
    BLOCK_FRAMES,
    CAMERA_STEP,
    FRAMES_PER_LATENT,
    SCENERY_WIDTH,
    Take,
    block_start,
    change_one,
    in_split,
    sample_camera,
    sample_scene,
    sample_take,
)
from longlive_env.training import parallel
from longlive_env.training.checkpoint import load_tensors, read_info, save_tensors
from longlive_env.training.fingerprints import codec_fingerprint

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

logger = logging.getLogger(__name__)

Rows = TypeVar("Rows", bound="DataclassInstance")
Encode = Callable[[np.random.Generator, str, Codec], dict[str, Tensor]]  # see `BankPlan` before renaming one

POSITIONS = 7
HEAD = 4  # blocks from the start of a take that has a gap
FRAMES = BLOCK_FRAMES // FRAMES_PER_LATENT  # latent frames per block
LONGEST_GAP = 40  # blocks
GAPPED_SHARE = 0.5
SWITCH_SHARE = 0.75
SWITCH_AT = 4  # position of the first block under the new prompt in an entry of a bank of switches
CHANGES = {"subject": 0.25, "colour": 0.25, "action": 0.25, "setting": 0.125, "weather": 0.125}
ONE_CHANGE_SHARE = 0.7  # share of switches that change one attribute, drawn by the odds above
OPENING_SHARE = 0.4  # share of clips under one prompt that begin a take
FIRST_PLACES = tuple(range(0, SCENERY_WIDTH, 4 * CAMERA_STEP))  # a quarter of the camera's places, in pixels
SHARD = 50  # takes in a file by default


@dataclass(frozen=True)
class Bank:
    """Encoded takes.

    Attributes:
        latents: standardised latents, float16 [N, P, F, C, h, w].
        blocks: block of its take that each position holds, int64 [N, P].
        labels: what each block's prompt asks for, int64 [N, P, attributes].
    """

    latents: Tensor
    blocks: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return self.latents.shape[0]


@dataclass(frozen=True)
class BankPlan:
    """What a bank holds, and where; a bank is a folder of files with entries of one kind.

    Attributes:
        below: the bank's folder below that of all banks.
        encode: function that makes an entry. Files note its name: if it is renamed, they are refused.
        takes: number of takes by split, rounded up to whole files.
        takes_a_file: number of takes in each file.
    """

    below: str
    encode: Encode
    takes: Mapping[str, int]
    takes_a_file: int = SHARD

    def numbers(self, split: str) -> range:
        """The numbers of a split's files."""
        return range(-(-self.takes[split] // self.takes_a_file))

    def file(self, folder: Path, split: str, number: int) -> Path:
        """A file of the bank, given the folder of all banks."""
        return folder / self.below / f"{split}-{number:04d}.safetensors"


def sample_blocks(rng: np.random.Generator, split: str) -> tuple[Take, list[int]]:
    """A random take and the seven blocks of it that are kept."""
    gapped = rng.random() < GAPPED_SHARE
    switches = int(rng.random() < SWITCH_SHARE)
    shown = HEAD if gapped else POSITIONS
    take = sample_take(rng, shown * BLOCK_FRAMES, switches, split)
    if not gapped:
        return take, list(range(POSITIONS))
    later = int(rng.integers(HEAD, LONGEST_GAP))
    return take, [*range(HEAD), *range(later, later + POSITIONS - HEAD)]


def sample_switch(rng: np.random.Generator, split: str) -> tuple[Take, list[int]]:
    """A random take with one change of prompt, and the seven blocks around it.

    A change affects one attribute, or less often redraws setting, weather and action, or everything.
    """
    scene = sample_scene(rng, split)
    changed = scene
    while changed == scene:
        if rng.random() < ONE_CHANGE_SHARE:
            changed = change_one(scene, str(rng.choice(list(CHANGES), p=list(CHANGES.values()))), rng, split)
            continue
        other = sample_scene(rng, split)
        kept = replace(other, subject=scene.subject, colour=scene.colour)
        changed = kept if rng.random() < 0.6 and in_split(kept, split) else other
    first = int(rng.integers(LONGEST_GAP - POSITIONS))
    segments = ((0, scene), (block_start(first + SWITCH_AT), changed))
    return Take(segments, sample_camera(rng)), list(range(first, first + POSITIONS))


@torch.no_grad()
def encode_blocks(take: Take, first: int, count: int, codec: Codec) -> Tensor:
    """Latents of consecutive blocks of a take, encoded as part of a running stream.

    Args:
        take: take to show.
        first: first block.
        count: number of blocks.
        codec: the encoder; its device is used for rendering too.

    Returns:
        float32 [count, F, C, h, w].
    """
    device = next(codec.parameters()).device
    lead = min(first, 1)  # one block of warm-up, dropped afterwards
    begin = BLOCK_FRAMES * (first - lead)  # the last frame of a latent frame, alone like the first of a video
    frames = render_take(take, begin, block_start(first + count) - begin, device)
    latents = codec.encode(to_pixels(frames)[None], CodecState.fresh(1)).latents[0]
    blocks: Tensor = latents.unflatten(0, (lead + count, FRAMES))
    return blocks[lead:]


@torch.no_grad()
def encode_each(takes: Sequence[Take], block: int, codec: Codec) -> Tensor:
    """Latents of the same block of several takes, rendered on the codec's device.

    They equal those of `encode_blocks` without a block of warm-up, because a tiny world's codec encodes each
    latent frame alone.

    Args:
        takes: B takes to show.
        block: index of the block.
        codec: the encoder.

    Returns:
        float32 [B, F, C, h, w].
    """
    device = next(codec.parameters()).device
    pixels = draw_each(takes, block, device)
    with without_autocast(device):
        latents: Tensor = codec.encode(pixels, CodecState((block,) * len(takes))).latents
    return latents


def draw_each(
    takes: Sequence[Take], block: int, device: torch.device | str = "cpu", scale: int = 1
) -> Tensor:
    """The same block of several takes, as the renderer draws it.

    Args:
        takes: B takes to show.
        block: index of the block; the first one has fewer frames.
        device: device to render on.
        scale: pixels of the picture per pixel of the scene, see `render_take`.

    Returns:
        float32 [B, T, 3, H, W] in [-1, 1].
    """
    begin = block_start(block)
    frames = block_start(block + 1) - begin
    return to_pixels(torch.stack([render_take(take, begin, frames, device, scale) for take in takes]))


def encode_take(rng: np.random.Generator, split: str, codec: Codec) -> dict[str, Tensor]:
    """One random entry of the bank: `latents`, `blocks`, `labels`, as in `Bank` without N."""
    return _encode(*sample_blocks(rng, split), codec)


def encode_switch(rng: np.random.Generator, split: str, codec: Codec) -> dict[str, Tensor]:
    """One random entry of a bank of switches, laid out like those of `encode_take`."""
    return _encode(*sample_switch(rng, split), codec)


def encode_clip(rng: np.random.Generator, split: str, codec: Codec) -> dict[str, Tensor]:
    """Seven consecutive blocks under one prompt, from the start of a take or later; laid out likewise."""
    first = 0 if rng.random() < OPENING_SHARE else int(rng.integers(1, LONGEST_GAP))
    take = Take(((0, sample_scene(rng, split)),), sample_camera(rng))
    return _encode(take, list(range(first, first + POSITIONS)), codec)


def _encode(take: Take, blocks: list[int], codec: Codec) -> dict[str, Tensor]:
    """An entry of some blocks of a take; those in a row are encoded together."""
    pieces, at = [], 0
    while at < len(blocks):
        end = at + 1
        while end < len(blocks) and blocks[end] == blocks[end - 1] + 1:
            end += 1
        pieces.append(encode_blocks(take, blocks[at], end - at, codec))
        at = end
    labels = [take.scene_at(block_start(block)).labels() for block in blocks]
    return {
        "latents": torch.cat(pieces).half().cpu(),
        "blocks": torch.tensor(blocks),
        "labels": torch.tensor(labels),
    }


def encode_opening(rng: np.random.Generator, split: str, codec: Codec) -> dict[str, Tensor]:
    """The first block of a random take, as an entry of a bank with one position."""
    return _encode(sample_take(rng, BLOCK_FRAMES, split=split), [0], codec)


def encode_places(rng: np.random.Generator, split: str, codec: Codec) -> dict[str, Tensor]:
    """The first block of a random scene at each of `FIRST_PLACES`, as an entry with one position each."""
    scene = sample_scene(rng, split)
    takes = [Take(((0, scene),), place) for place in FIRST_PLACES]
    return {
        "latents": encode_each(takes, 0, codec).half().cpu(),
        "blocks": torch.zeros(len(FIRST_PLACES), dtype=torch.long),
        "labels": torch.tensor([scene.labels()] * len(FIRST_PLACES)),
    }


def write_shard(folder: Path, plan: BankPlan, split: str, number: int, codec: Codec, seed: int) -> Path:
    """Render and encode one file of a bank, unless it exists; see `open_bank`."""
    path = plan.file(folder, split, number)
    about = {
        "codec": codec_fingerprint(codec),
        "seed": seed,
        "split": split,
        "number": number,
        "entry": plan.encode.__name__,
        "takes": plan.takes_a_file,
    }
    if path.exists():
        check_shard(path, about)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = [
        plan.encode(np.random.default_rng((seed, split == "held_out", number, index)), split, codec)
        for index in range(plan.takes_a_file)
    ]
    tensors = {name: torch.stack([entry[name] for entry in entries]) for name in entries[0]}
    save_tensors(path, tensors, about)
    logger.info("encoded %s", path)
    return path


def check_shard(path: Path, about: Mapping[str, Any]) -> None:
    """Check that a file holds what would be written there.

    Raises:
        CheckpointError: the file is damaged, or holds something else.
    """
    found, remedy = read_info(path), "choose another folder as bank="
    for name, wanted in about.items():
        if found.get(name) != wanted:
            raise CheckpointError(
                f"{path} was encoded with another {name}, {found.get(name)} instead of {wanted}; {remedy}"
            )


def with_bar(files: Sequence[int], what: str) -> Iterable[int]:
    """The numbers of a bank's files, with a progress bar in a terminal: filling may take most of an hour."""
    try:
        from tqdm import tqdm
    except ImportError:
        return files
    hidden = True if parallel.rank() else None  # None: shown in a terminal
    bar: Iterable[int] = tqdm(files, desc=what, unit="file", disable=hidden, delay=1)
    return bar


def open_bank(folder: Path, plan: BankPlan, split: str, codec: Codec, seed: int) -> Bank:
    """Read a bank, rendering and encoding what it lacks.

    Args:
        folder: folder of the banks; an interrupted run continues with the first missing file.
        plan: what the bank holds.
        split: `"train"` or `"held_out"`.
        codec: codec in eval mode.
        seed: seed of the takes.

    Raises:
        CheckpointError: a file is damaged, or was made by another codec or function, with another seed or for
            another number of takes.
    """
    files = with_bar(plan.numbers(split), f"bank of {split} takes")
    return joined(
        [Bank(**load_tensors(write_shard(folder, plan, split, number, codec, seed))[0]) for number in files]
    )


def joined(parts: Sequence[Rows]) -> Rows:
    """One of several records of tensors, whose rows follow each other."""
    kind = type(parts[0])
    names = [field.name for field in fields(kind)]
    return kind(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})
