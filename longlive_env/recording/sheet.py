"""The contact sheet: one captioned row of pictures for each prompt of a run.

Shapes: T pixel frames, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

COLUMNS = 5
PICTURE_WIDTH = 320
GAP = 12
STRIDE = 5  # frames; has no factor in common with the 12 of a block
TEXT_SIZE, TITLE_SIZE = 20, 26
CAPTION_LINES = 3
BACKGROUND, TITLE_COLOUR, TEXT_COLOUR, TIME_COLOUR = "#14151a", "#f5f5f0", "#c9cad2", "#7f8494"

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass
class _Row:
    prompt: str
    pictures: list[tuple[float, Image.Image]] = field(default_factory=list)  # seconds, picture


class ContactSheet:
    """Collects one picture of each block and draws them.

    Args:
        title: the line on top.
        fps: frames a second.
    """

    def __init__(self, title: str, fps: int = 16) -> None:
        self._title = title
        self._fps = fps
        self._rows: list[_Row] = []

    def add(self, frames: npt.NDArray[np.uint8], prompt: str, seconds: float) -> None:
        """Remember one of a block's frames, uint8 [T, H, W, 3], which last until `seconds` into the video.

        Which one it is goes round, so that a movement with the period of a block is seen in all its phases.
        """
        if not self._rows or self._rows[-1].prompt != prompt:
            self._rows.append(_Row(prompt))
        pictures = self._rows[-1].pictures
        before_last = len(pictures) * STRIDE % len(frames)
        picture = _thumbnail(frames[len(frames) - 1 - before_last])
        pictures.append((seconds - before_last / self._fps, picture))

    def draw(self) -> Image.Image:
        """The sheet; a row shows up to `COLUMNS` pictures spread evenly over the time of its prompt."""
        title_font, text_font = ImageFont.load_default(TITLE_SIZE), ImageFont.load_default(TEXT_SIZE)
        width = COLUMNS * PICTURE_WIDTH + (COLUMNS + 1) * GAP
        captions = [_wrap(row.prompt, text_font, width - 2 * GAP) for row in self._rows]
        pictures = [_spread(row.pictures) for row in self._rows]
        line = TEXT_SIZE + 6
        heights = [
            len(caption) * line + row[0][1].height + line + 2 * GAP
            for caption, row in zip(captions, pictures, strict=True)
        ]
        top = TITLE_SIZE + 3 * GAP
        sheet = Image.new("RGB", (width, top + sum(heights)), BACKGROUND)
        draw = ImageDraw.Draw(sheet)
        title = _wrap(self._title, title_font, width - 2 * GAP)[0]
        draw.text((GAP, GAP), title, fill=TITLE_COLOUR, font=title_font)
        for caption, row, height in zip(captions, pictures, heights, strict=True):
            y = top
            for text in caption:
                draw.text((GAP, y), text, fill=TEXT_COLOUR, font=text_font)
                y += line
            for column, (seconds, picture) in enumerate(row):
                x = GAP + column * (PICTURE_WIDTH + GAP)
                sheet.paste(picture, (x, y + GAP // 2))
                below = y + GAP // 2 + picture.height + 2
                draw.text((x, below), _clock(seconds), fill=TIME_COLOUR, font=text_font)
            top += height
        return sheet


def _thumbnail(frame: npt.NDArray[np.uint8]) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(frame))
    size = (PICTURE_WIDTH, round(frame.shape[0] * PICTURE_WIDTH / frame.shape[1]))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _spread(pictures: list[tuple[float, Image.Image]]) -> list[tuple[float, Image.Image]]:
    if len(pictures) <= COLUMNS:
        return pictures
    return [pictures[round(i * (len(pictures) - 1) / (COLUMNS - 1))] for i in range(COLUMNS)]


def _wrap(text: str, font: Font, width: int) -> list[str]:
    """`text` in at most `CAPTION_LINES` lines that fit into `width` pixels; dots stand for what is cut."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    if len(lines) > CAPTION_LINES:
        lines = [*lines[: CAPTION_LINES - 1], " ".join(lines[CAPTION_LINES - 1 :])]
    return [_cut(line, font, width) for line in lines]


def _cut(line: str, font: Font, width: int) -> str:
    if font.getlength(line) <= width:
        return line
    low, high = 0, len(line)  # the longest beginning that fits
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if font.getlength(line[:middle] + "...") <= width else (low, middle - 1)
    return line[:low] + "..."


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:04.1f}"
