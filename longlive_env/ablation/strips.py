"""Strips of frames: the same rollout in every variant, row by row.

Shapes: B rollouts, T pixel frames per block, H rows, W columns.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from longlive_env.frames import Frames

PICTURED = 5  # rollouts whose frames are kept: one per attribute that can change
LONG_MOMENTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # fractions of a long take
LABEL_WIDTH, LINE, GAP = 116, 18, 3
TEXT_SIZE = 13
BACKGROUND, TEXT = "#ffffff", "#22242c"
LARGEST_BYTES = 140_000
QUALITIES = (88, 82, 76, 70, 62, 54, 45, 35)


@dataclass(frozen=True)
class Example:
    """Strips of one rollout: a title, and for each variant its name and its file of frames."""

    title: str
    strips: list[tuple[str, Path]]


def switch_moments(switch: int) -> list[tuple[int, int]]:
    """Return blocks, and frames within them, that show a switch: both sides of it, and what follows."""
    return [(switch - 2, -1), (switch - 1, -1), (switch, 0), (switch, 5), (switch, -1)] + [
        (switch + later, -1) for later in (1, 2)
    ]


class Film:
    """Frames of a batch at some moments.

    Args:
        moments: pairs of a block and a frame within it.
    """

    def __init__(self, moments: Sequence[tuple[int, int]]) -> None:
        self._moments = moments
        self._frames: dict[tuple[int, int], Frames] = {}

    @property
    def blocks(self) -> set[int]:
        """The needed blocks."""
        return {block for block, _ in self._moments}

    def add(self, block: int, frames: Tensor) -> None:
        """Keep the needed frames of a block, uint8 [B, T, H, W, 3]."""
        for moment in self._moments:
            if moment[0] == block:
                self._frames[moment] = frames[:, moment[1]].numpy().copy()

    def save(self, paths: Sequence[Path]) -> None:
        """Write the frames of each rollout side by side."""
        for row, path in enumerate(paths):
            path.parent.mkdir(parents=True, exist_ok=True)
            strip = np.concatenate([self._frames[moment][row] for moment in self._moments], axis=1)
            Image.fromarray(strip).save(path)


def draw(examples: Sequence[Example], columns: Sequence[str]) -> Image.Image | None:
    """Draw strips below each other.

    Args:
        examples: examples to draw, with files as written by `Film`; missing files are left out.
        columns: headings above the frames.

    Returns:
        The picture, or None if all files are missing.
    """
    font = ImageFont.load_default(TEXT_SIZE)
    found = [(one.title, [(label, path) for label, path in one.strips if path.is_file()]) for one in examples]
    found = [(title, strips) for title, strips in found if strips]
    if not found:
        return None
    sizes = [_size(path) for _, strips in found for _, path in strips]
    width, height = max(sizes)[0] // len(columns), sizes[0][1]  # a short take has fewer frames
    total = LINE + sum(LINE + len(strips) * (height + GAP) for _, strips in found)
    sheet = Image.new("RGB", (LABEL_WIDTH + len(columns) * (width + GAP), total), BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    for column, text in enumerate(columns):
        pen.text((LABEL_WIDTH + column * (width + GAP), 1), text, fill=TEXT, font=font)
    y = LINE
    for title, strips in found:
        pen.text((2, y + 1), title, fill=TEXT, font=font)
        y += LINE
        for label, path in strips:
            pen.text((2, y + height // 2 - TEXT_SIZE), label, fill=TEXT, font=font)
            with Image.open(path) as strip:
                for column in range(strip.width // width):
                    frame = strip.crop((column * width, 0, (column + 1) * width, height))
                    sheet.paste(frame, (LABEL_WIDTH + column * (width + GAP), y))
            y += height + GAP
    return sheet


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as strip:
        return strip.size


def save_small(picture: Image.Image, path: Path) -> None:
    """Write a JPEG that fits into `LARGEST_BYTES`, by reducing first its quality and then its size."""
    while True:
        for quality in QUALITIES:
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=quality, optimize=True)
            if buffer.tell() <= LARGEST_BYTES:
                path.write_bytes(buffer.getvalue())
                return
        picture = picture.resize((picture.width * 4 // 5, picture.height * 4 // 5))
