"""Frames whose content is known, for tests of tasks and rewards, and frames before rounding."""

from collections.abc import Sequence

import numpy as np
import torch

from longlive_env.engine.codec import CodecState
from longlive_env.engine.rollout import Rollout
from longlive_env.envs.task import Block
from longlive_env.frames import Frames
from longlive_env.tiny.render import render_take
from longlive_env.tiny.scene import BLOCK_FRAMES, Scene, Take


def shot(scene: Scene) -> Frames:
    """A rendered block of a scene, uint8 [12, 96, 160, 3]."""
    return render_take(Take(((0, scene),), camera=40.0), 9, BLOCK_FRAMES).numpy()


def grey(share: float, **kwargs: bool) -> Block:
    """A block of one brightness, from 0 to 1."""
    return Block(np.full((BLOCK_FRAMES, 4, 6, 3), round(255 * share), np.uint8), "a grey wall", **kwargs)


def unrounded(rollout: Rollout, world: int) -> torch.Tensor:
    """The newest block of a world before rounding, from its clean latents."""
    codec, latents = rollout.world.codec, rollout.state.history[world : world + 1, -6:]
    return codec.decode(latents.clone(), CodecState.fresh(1)).pixels[0, -12:]


def brightness(frames: Frames, texts: Sequence[str]) -> list[float]:
    """A reward function that can be foretold."""
    return [float(block.mean() / 255) for block in frames]
