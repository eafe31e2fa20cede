"""The timeline: the prompts of the take, bookmarks, and what the scenario plans."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import pygame

from longlive_env.viewer.canvas import Canvas
from longlive_env.viewer.theme import (
    AMBER,
    DIM,
    DOCK,
    INK,
    LILAC,
    LINE,
    RAISED,
    SMALL,
    SOURCES,
    TEXT,
    Colour,
    PromptColours,
    mixed,
)
from longlive_env.viewer.view import View

SHORTEST = 24  # blocks across the whole width
ROOM = 4  # blocks left free on the right
BAR_HEIGHT = 30
TICKS_S = (5, 10, 20, 30, 60, 120, 300, 600, 1200)
TICK_SPACE = 96
LEAST_LABEL = 26  # minimum width of a span that says what it changes
_WORD = re.compile(r"\w+")


def label_of(prompt: str, before: str | None) -> str:
    """Return a span's label: the words that its prompt does not share with the previous one."""
    if before is None:
        return prompt
    known = {word.lower() for word in _WORD.findall(before)}
    new = [match for match in _WORD.finditer(prompt) if match.group().lower() not in known]
    return prompt[new[0].start() : new[-1].end()] if new else prompt


@dataclass(frozen=True)
class Scale:
    """Maps blocks to places: `blocks` of them across `rect`."""

    rect: pygame.Rect
    blocks: int

    @classmethod
    def of(cls, view: View, rect: pygame.Rect) -> Scale:
        """Create a scale that fits a take, plans and bookmarks; it grows in steps and so rarely moves."""
        played = view.spans[-1].end if view.spans else 0
        marks = (mark.position for mark in view.marks)
        last = max([played, view.shown, *view.cues, *marks, (view.ends or 0) - ROOM // 2, 0]) + ROOM
        step = SHORTEST / 2
        return cls(rect, max(SHORTEST, round(math.ceil(last / step) * step)))

    def x(self, block: float) -> int:
        """Return where a block begins."""
        return self.rect.x + round(self.rect.width * block / self.blocks)

    def block(self, x: int) -> int:
        """Return the block at a place."""
        return int((x - self.rect.x) / max(1, self.rect.width) * self.blocks)


class Timeline:
    """Draws the timeline and finds what is under the mouse."""

    def __init__(self) -> None:
        self._scale: Scale | None = None
        self._flags: list[tuple[pygame.Rect, int]] = []

    def hide(self) -> None:
        """Hide the timeline, so that nothing is under the mouse."""
        self._scale, self._flags = None, []

    def block_at(self, point: tuple[int, int], view: View) -> int | None:
        """Return the block under a point that can be rewound to."""
        block = self._block(point)
        return block if block is not None and 0 <= block < view.shown else None

    def ahead_at(self, point: tuple[int, int], view: View) -> int | None:
        """Return the future block under a point, up to the end of the scenario."""
        block = self._block(point)
        return block if block is not None and view.ends and view.shown <= block < view.ends else None

    def _block(self, point: tuple[int, int]) -> int | None:
        """Return the block under a point, whether played or not."""
        scale = self._scale
        if scale is None or not scale.rect.inflate(0, scale.rect.height // 2).collidepoint(point):
            return None
        return scale.block(point[0])

    def bookmark_at(self, point: tuple[int, int]) -> int | None:
        """Return the bookmark under a point."""
        return next((number for rect, number in self._flags if rect.collidepoint(point)), None)

    def draw(
        self,
        canvas: Canvas,
        rect: pygame.Rect,
        view: View,
        position: float,
        colours: PromptColours,
        mouse: tuple[int, int] | None,
    ) -> None:
        """Draw into `rect`, whose lower part holds the times.

        Args:
            canvas: canvas of the window.
            rect: area of the timeline.
            view: view of the world in play.
            position: position of the frame on show, in blocks.
            colours: colours of the prompts.
            mouse: position of the mouse, if it is over the window.
        """
        bar = pygame.Rect(rect.x, rect.y + canvas.px(8), rect.width, canvas.px(BAR_HEIGHT))
        scale = self._scale = Scale.of(view, bar)
        canvas.fill(bar, RAISED, radius=5)
        self._plans(canvas, scale, view, colours)
        self._spans(canvas, scale, view, position, colours)
        self._times(canvas, scale, view, bar.bottom + canvas.px(5))
        if view.ends is not None:
            self._end(canvas, scale, view.ends)
        self._bookmarks(canvas, scale, view)
        x = scale.x(position)
        canvas.fill(
            pygame.Rect(x - canvas.px(1), bar.y - canvas.px(5), canvas.px(2), bar.height + canvas.px(9)), TEXT
        )
        knob = canvas.px(4)
        pygame.draw.circle(canvas.surface, TEXT, (x, bar.y - canvas.px(5)), knob)
        if mouse is not None and (block := self.block_at(mouse, view)) is not None:
            self._hover(canvas, scale, view, block, "back to")
        elif mouse is not None and (block := self.ahead_at(mouse, view)) is not None:
            self._hover(canvas, scale, view, block, "ahead to")

    def _spans(
        self, canvas: Canvas, scale: Scale, view: View, position: float, colours: PromptColours
    ) -> None:
        before, drawn_to = None, -1
        for span in view.spans:
            end = min(span.end, position)
            if end <= span.begin:
                break
            if scale.x(end) <= drawn_to:  # a long take has more spans than the bar has pixels
                before = span.prompt
                continue
            drawn_to = scale.x(end)
            colour = colours.of(span.prompt)
            rect = pygame.Rect(scale.x(span.begin), scale.rect.y, 0, scale.rect.height)
            rect.width = max(canvas.px(2), scale.x(end) - rect.x - canvas.px(1))
            canvas.fill(rect, mixed(colour, INK, 0.28), radius=4)
            strip = pygame.Rect(rect.x, rect.y, rect.width, canvas.px(3))
            canvas.fill(
                strip, SOURCES[span.source] if span.source != "start" else mixed(colour, TEXT, 0.3), radius=2
            )
            _label(canvas, rect, span.prompt, before, TEXT)
            before = span.prompt

    def _plans(self, canvas: Canvas, scale: Scale, view: View, colours: PromptColours) -> None:
        blocks = sorted(view.cues)
        before = view.spans[-1].prompt if view.spans else None
        if blocks and before is not None:  # the current prompt, up to the next one
            rest = pygame.Rect(scale.x(view.spans[-1].begin), scale.rect.y, 0, scale.rect.height)
            rest.width = scale.x(next((b for b in blocks if b >= view.shown), view.shown)) - rest.x
            canvas.fill(rest, mixed(colours.of(before), RAISED, 0.84), radius=4)
        drawn_to = -1
        for begin, end in zip(blocks, [*blocks[1:], view.ends or scale.blocks], strict=False):
            prompt = view.cues[begin]
            if scale.x(end) <= drawn_to:  # a long scenario has more cues than the bar has pixels
                before = prompt
                continue
            rect = pygame.Rect(scale.x(begin), scale.rect.y, 0, scale.rect.height)
            rect.width = max(canvas.px(2), scale.x(end) - rect.x - canvas.px(1))
            drawn_to = rect.right
            colour = mixed(colours.of(prompt), RAISED, 0.45)
            canvas.fill(rect, mixed(colour, RAISED, 0.72), radius=4)
            canvas.outline(rect, colour, radius=4)
            _label(canvas, rect, prompt, before, mixed(LILAC, DIM, 0.4))
            before = prompt

    def _times(self, canvas: Canvas, scale: Scale, view: View, top: int) -> None:
        seconds = view.pace.seconds(scale.blocks)
        room = scale.rect.width / canvas.px(TICK_SPACE)
        step = next((tick for tick in TICKS_S if seconds / tick <= room), TICKS_S[-1])
        for tick in range(0, int(seconds) + 1, step):
            x = scale.x(view.pace.position(tick * view.pace.fps))
            if x > scale.rect.right - canvas.px(20):
                break
            canvas.text(clock(tick), (x, top), 11, DIM, align="left" if tick == 0 else "centre")

    def _end(self, canvas: Canvas, scale: Scale, block: int) -> None:
        x = scale.x(block)
        pygame.draw.line(canvas.surface, LILAC, (x, scale.rect.y), (x, scale.rect.bottom), canvas.px(2))
        height = canvas.line_height(11)
        at, gap = scale.rect.centery - height // 2, canvas.px(6)
        if x + gap + canvas.width("end", 11) <= scale.rect.right:
            canvas.text("end", (x + gap, at), 11, mixed(LILAC, DIM, 0.4))
        else:
            canvas.text("end", (x - gap, at), 11, mixed(LILAC, DIM, 0.4), align="right")

    def _bookmarks(self, canvas: Canvas, scale: Scale, view: View) -> None:
        self._flags = []
        for mark in view.marks:
            size = canvas.px(15)
            flag = pygame.Rect(0, scale.rect.y - canvas.px(9), size, size)
            flag.centerx = scale.x(mark.position)
            colour: Colour = AMBER if mark.here else mixed(AMBER, DOCK, 0.6)
            canvas.fill(flag, colour, radius=4)
            pygame.draw.line(
                canvas.surface, colour, (flag.centerx, flag.bottom), (flag.centerx, scale.rect.bottom)
            )
            height = canvas.line_height(11, bold=True)
            canvas.text(
                str(mark.number),
                (flag.centerx, flag.centery - height // 2),
                11,
                INK,
                bold=True,
                align="centre",
            )
            self._flags.append((flag, mark.number))

    def _hover(self, canvas: Canvas, scale: Scale, view: View, block: int, way: str) -> None:
        rect = pygame.Rect(scale.x(block), scale.rect.y, 0, scale.rect.height)
        rect.width = max(canvas.px(2), scale.x(block + 1) - rect.x)
        canvas.outline(rect, TEXT, radius=3)
        label = f"{way} {clock(view.pace.seconds(block))}"
        size = (canvas.width(label, SMALL) + canvas.px(16), canvas.px(22))
        tip = pygame.Rect((0, 0), size)
        tip.midbottom = (rect.centerx, rect.y - canvas.px(12))
        tip.clamp_ip(canvas.surface.get_rect())
        canvas.fill(tip, LINE, radius=5)
        canvas.text(label, (tip.centerx, tip.y + canvas.px(3)), SMALL, align="centre")


def clock(seconds: float) -> str:
    """Format as minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _label(canvas: Canvas, rect: pygame.Rect, prompt: str, before: str | None, colour: Colour) -> None:
    """Write what a prompt changes into its span, if there is room."""
    if rect.width > canvas.px(LEAST_LABEL):
        text, inside = label_of(prompt, before), rect.inflate(-canvas.px(12), 0)
        top = rect.centery - canvas.line_height(12) // 2 + canvas.px(1)
        canvas.text(text, (inside.x, top), 12, colour, width=inside.width)
