"""Blocks of takes that a world has played, kept on disk, with what the renderer draws for them.

Playing takes costs more than training a decoder on them, and a decoder learns more from a thousandth block
than from a hundredth look at one. So takes are played once, and shared by runs and processes.

Shapes: N blocks, F latent frames of a block, C latent channels, h x w latent size, T pixel frames.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from longlive_env.tiny.render import render_take
from longlive_env.tiny.scene import BLOCK_FRAMES, LIVELY, Take, block_start
from longlive_env.training.checkpoint import load_tensors, save_tensors
from longlive_env.training.clips import scene_of_labels
from longlive_env.training.latents import check_shard, joined, with_bar


@dataclass(frozen=True)
class Played:
    """Blocks, and the takes that they belong to.

    Attributes:
        latents: standardised latents of the frame before a block and the block, float16
            ``[N, 1 + F, C, h, w]``.
        ages: number of blocks before each in its take, int64 ``[N]``.
        labels: what a take shows before and after its change, int64 ``[N, 2, attributes]``.
        turns: pixel frame of that change, int64 ``[N]``.
        cameras: start of the camera, and its offset from its path after the change, float32 ``[N, 2]``.
    """

    latents: Tensor
    ages: Tensor
    labels: Tensor
    turns: Tensor
    cameras: Tensor

    def __len__(self) -> int:
        return self.latents.shape[0]

    @classmethod
    def of(cls, takes: list[Take], age: int, before: Tensor, latents: Tensor) -> Played:
        """The same block of several takes.

        Args:
            takes: N takes of two segments each.
            age: age of the block.
            before: latent frame before the block ``[N, 1, C, h, w]``.
            latents: latents of the block ``[N, F, C, h, w]``.
        """
        return cls(
            torch.cat((before.to(latents), latents), dim=1).half().cpu(),
            torch.full((len(takes),), age),
            torch.tensor([[scene.labels() for _, scene in take.segments] for take in takes]),
            torch.tensor([take.segments[1][0] for take in takes]),
            torch.tensor([[take.camera, take.offsets[1]] for take in takes]),
        )

    def take(self, index: int) -> Take:
        """The take of a block."""
        before, after = (scene_of_labels(labels) for labels in self.labels[index])
        camera, offset = self.cameras[index].tolist()
        return Take(((0, before), (int(self.turns[index]), after)), camera, (0.0, offset))

    def lively(self, index: int) -> bool:
        """Whether a block shows a jump or a dance."""
        return self.take(index).scene_at(block_start(int(self.ages[index]))).action in LIVELY

    def rendered(self, index: int, scale: int = 1, device: torch.device | str = "cpu") -> Tensor:
        """What a block should show, drawn on a device: uint8 ``[T, 3, 96 * scale, 160 * scale]`` on the CPU.

        The first block of a take is padded to full length with repeats of its first frame.
        """
        begin, end = (block_start(int(self.ages[index]) + more) for more in (0, 1))
        frames = render_take(self.take(index), begin, end - begin, device, scale).cpu()
        lacking = frames[:1].expand(BLOCK_FRAMES - len(frames), -1, -1, -1)
        return torch.cat((lacking, frames)).movedim(-1, 1)


def open_played(folder: Path, files: int, about: Mapping[str, Any], play: Callable[[int], Played]) -> Played:
    """Read what was played, and play what is missing.

    Args:
        folder: folder of the files. The first process of a run plays while the others wait.
        files: number of files.
        about: JSON values that describe what was played; files with another description are rejected.
        play: function that makes the content of a file, given its number.

    Raises:
        CheckpointError: a file is damaged, or something else was played.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = list[Played]()
    for number in with_bar(range(files), "takes that the world plays"):
        path, wanted = folder / f"{number:04d}.safetensors", {**about, "number": number}
        if path.exists():
            check_shard(path, wanted)
        else:
            made = play(number)
            save_tensors(path, {field.name: getattr(made, field.name) for field in fields(made)}, wanted)
        found.append(Played(**load_tensors(path)[0]))
    return joined(found)
