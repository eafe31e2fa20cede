"""Start a world from given frames, which are encoded and written to the cache as in a recache.

A picture or a clip of any length is brought to whole blocks, because a model has only ever seen those: the
oldest frames of a clip are left out, and a clip shorter than the first block is preceded by repeats of its
first frame. At most a full context is kept, as nothing attends to older frames.

Shapes: B worlds, F latent frames, T pixel frames, H x W pixels, C latent channels, h x w latents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from longlive_env.engine.codec import Codec, CodecState
from longlive_env.engine.compile import plain_tensors
from longlive_env.engine.config import WorldConfig
from longlive_env.engine.recache import recache
from longlive_env.engine.state import RolloutState
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.errors import ConfigError

Clip = npt.NDArray[np.uint8] | Tensor  # uint8 [T, H, W, 3] or [H, W, 3]


def given_clips(frames: Clip | Sequence[Clip | None] | None, batch: int, config: WorldConfig) -> list[Any]:
    """The clip that each world of a batch starts from, checked and in whole blocks.

    Args:
        frames: a picture ``[H, W, 3]`` or a clip ``[T, H, W, 3]`` for all worlds, clips ``[B, T, H, W, 3]``,
            or a sequence with a picture, a clip or None for each world; uint8.
        batch: B.
        config: the world's configuration.

    Returns:
        For each world a uint8 tensor ``[T, H, W, 3]`` on the CPU, or None.

    Raises:
        ConfigError: the type, size or number of the frames does not fit.
    """
    if frames is None:
        return [None] * batch
    listed = isinstance(frames, Sequence) and not isinstance(frames, str)
    several = listed or getattr(frames, "ndim", 0) == 5
    clips: list[Any] = list(frames) if several else [frames] * batch
    if len(clips) != batch:
        raise ConfigError(
            f"got {len(clips)} clips of frames for {batch} worlds; give one (or None) for each, or an array "
            "[T, H, W, 3] for all"
        )
    return [None if clip is None else fitted_clip(clip, config) for clip in clips]


def fitted_clip(clip: Clip, config: WorldConfig) -> Tensor:
    """A picture or a clip as whole blocks ``[T, H, W, 3]``: T is 9, 21, 33 or 45 for blocks of 12 frames.

    Raises:
        ConfigError: `clip` is not uint8, or not of the world's size.
    """
    if hasattr(clip, "__array_interface__") and not isinstance(clip, np.ndarray):
        clip = np.asarray(clip)  # a Pillow image
    if not isinstance(clip, (np.ndarray, Tensor)):
        raise ConfigError(
            f"the given frames are {clip!r:.60}; expected an array uint8 [{config.height}, {config.width}, "
            "3], such as np.asarray(Image.open(path).convert('RGB').resize((W, H)))"
        )
    if str(clip.dtype).removeprefix("torch.") != "uint8":
        raise ConfigError(f"the given frames are {clip.dtype}; expected uint8 from 0 to 255")
    pixels = clip.cpu() if isinstance(clip, Tensor) else torch.from_numpy(np.array(clip, order="C"))
    pixels = pixels[None] if pixels.ndim == 3 else pixels
    size = (config.height, config.width, 3)
    if pixels.ndim != 4 or tuple(pixels.shape[1:]) != size or not len(pixels):
        raise ConfigError(
            f"the given frames have shape {list(clip.shape)}; expected {list(size)} for a picture or "
            f"[frames, {', '.join(map(str, size))}] for a clip, so resize them"
        )
    block = config.block_pixel_frames
    first = block - config.missing_frames
    blocks = min(1 + max(0, len(pixels) - first) // block, config.context_frames // config.frames_per_block)
    wanted = first + (blocks - 1) * block
    lead = pixels[:1].expand(max(0, wanted - len(pixels)), -1, -1, -1)
    return torch.cat([lead, pixels[-wanted:]])


def prefill(
    codec: Codec, transformer: CausalWanTransformer, state: RolloutState, world: int, clip: Tensor
) -> None:
    """Make a new world continue from a clip, under its current prompt.

    Args:
        codec: the world's codec.
        transformer: the world's transformer.
        state: the rollout's state, where the world has a prompt but no frames yet.
        world: index of the world in the batch.
        clip: uint8 ``[T, H, W, 3]`` in whole blocks, see `fitted_clip`.
    """
    weight, config = next(codec.parameters()), state.config
    encoding, decoding, encoded = CodecState.fresh(1), CodecState.fresh(1), []
    with plain_tensors():
        for block in _blocks(clip, config):  # one at a time, as memory is planned and passes are compiled
            pixels = block.to(weight.device).movedim(-1, 1)[None].float() / 127.5 - 1  # [1, T, 3, H, W]
            latents, encoding = codec.encode(pixels.to(weight.dtype), encoding)
            decoding = codec.decode(latents, decoding).state  # as if the clip had just been generated
            encoded.append(latents)
        state.give(world, torch.cat(encoded, dim=1).float(), decoding)
        recache(transformer, state, [world], keep_sink=False)


def _blocks(clip: Tensor, config: WorldConfig) -> Iterator[Tensor]:
    """Split a clip of whole blocks into blocks, of which the first is shorter."""
    first = config.block_pixel_frames - config.missing_frames
    yield clip[:first]
    yield from clip[first:].split(config.block_pixel_frames) if len(clip) > first else ()
