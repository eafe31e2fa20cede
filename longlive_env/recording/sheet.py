"""The contact sheet: one captioned row of pictures for each prompt of a run.

Shapes: T pixel frames, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from longlive_env.frames import Frames

COLUMNS = 5
PICTURE_WIDTH = 320
GAP = 12
STRIDE = 5  # frames; has no factor in common with the 12 of a block
TEXT_SIZE, TITLE_SIZE = 20, 26
CAPTION_LINES = 3
BACKGROUND, TITLE_COLOUR, TEXT_COLOUR, TIME_COLOUR = "#14151a", "#f5f5f0", "#c9cad2", "#7f8494"

KEPT = 24  # pictures of a prompt, however long it is in force
ROWS = 80  # prompts; of more the first and the last ones

Picture = tuple[float, Image.Image]  # seconds into the video
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass
class _Row:
    """The blocks of a prompt.

    Attributes:
        prompt: prompt of all these blocks.
        blocks: number of blocks so far.
        every: one block in this many is kept.
        pictures: seconds and picture of each block that is kept.
        newest: seconds and picture of the newest block.
    """

    prompt: str
    blocks: int = 0
    every: int = 1
    pictures: list[Picture] = field(default_factory=list)
    newest: Picture | None = None

    def add(self, picture: Picture) -> None:
        """Keep a block's picture if it is due; when there are too many, every second one is dropped."""
        if self.blocks % self.every == 0:
            self.pictures.append(picture)
        self.blocks += 1
        self.newest = picture
        if len(self.pictures) > KEPT:
            self.pictures, self.every = self.pictures[::2], 2 * self.every

    def spread(self) -> list[Picture]:
        """Up to `COLUMNS` pictures, spread evenly over the time of the prompt."""
        assert self.newest is not None
        kept = self.pictures if self.pictures[-1] is self.newest else [*self.pictures, self.newest]
        if len(kept) <= COLUMNS:
            return kept
        return [kept[round(i * (len(kept) - 1) / (COLUMNS - 1))] for i in range(COLUMNS)]


class ContactSheet:
    """Collects pictures of blocks and draws them, in bounded memory.

    Args:
        title: the line on top.
        fps: frames per second.
    """

    def __init__(self, title: str, fps: int = 16) -> None:
        self._title = title
        self._fps = fps
        self._rows: list[_Row] = []
        self._left_out = 0  # prompts in the middle

    def add(self, frames: Frames, prompt: str, seconds: float) -> None:
        """Remember one of a block's frames, uint8 [T, H, W, 3], which last until `seconds` into the video.

        The position in the block rotates, so that a movement with the period of a block shows all its phases.
        """
        if not self._rows or self._rows[-1].prompt != prompt:
            if self._rows:
                self._rows[-1].pictures = self._rows[-1].spread()  # it is complete
            self._rows.append(_Row(prompt))
            if len(self._rows) > ROWS:
                del self._rows[ROWS // 2]
                self._left_out += 1
        row = self._rows[-1]
        before_last = row.blocks * STRIDE % len(frames)
        picture = _thumbnail(frames[len(frames) - 1 - before_last])
        row.add((seconds - before_last / self._fps, picture))

    def draw(self) -> Image.Image:
        """The sheet; a row shows up to `COLUMNS` pictures spread evenly over the time of its prompt."""
        title_font, text_font = ImageFont.load_default(TITLE_SIZE), ImageFont.load_default(TEXT_SIZE)
        width = COLUMNS * PICTURE_WIDTH + (COLUMNS + 1) * GAP
        captions = [_wrap(row.prompt, text_font, width - 2 * GAP) for row in self._rows]
        pictures = [row.spread() for row in self._rows]
        line = TEXT_SIZE + 6
        heights = [
            len(caption) * line + row[0][1].height + line + 2 * GAP
            for caption, row in zip(captions, pictures, strict=True)
        ]
        top = TITLE_SIZE + 3 * GAP
        sheet = Image.new("RGB", (width, top + sum(heights)), BACKGROUND)
        draw = ImageDraw.Draw(sheet)
        left_out = f" · {self._left_out} prompts after {ROWS // 2} are left out" if self._left_out else ""
        (title,) = _wrap(self._title + left_out, title_font, width - 2 * GAP, most=1)
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


def _thumbnail(frame: Frames) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(frame))
    size = (PICTURE_WIDTH, round(frame.shape[0] * PICTURE_WIDTH / frame.shape[1]))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _wrap(text: str, font: Font, width: int, most: int = CAPTION_LINES) -> list[str]:
    """`text` in at most `most` lines that fit into `width` pixels; dots mark what is cut."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    if len(lines) > most:
        lines = [*lines[: most - 1], " ".join(lines[most - 1 :])]
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
