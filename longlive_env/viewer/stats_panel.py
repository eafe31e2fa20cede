"""Panel of statistics with their recent history, the contents of the cache, and what the probe sees."""

from __future__ import annotations

from collections.abc import Sequence

import pygame

from longlive_env.viewer.canvas import Canvas
from longlive_env.viewer.cards import Sheet, draw_mark
from longlive_env.viewer.eyes import Sighting, attributes_seen
from longlive_env.viewer.series import Series, Statistics
from longlive_env.viewer.theme import (
    AMBER,
    BODY,
    CORAL,
    DIM,
    LEAF,
    LILAC,
    LINE,
    MARGIN,
    RAISED,
    SMALL,
    SOFT,
    TEAL,
    TEXT,
    Colour,
    PromptColours,
    mixed,
)
from longlive_env.viewer.view import View

WIDTH, PADDING, TOP = 292, 16, 12  # of a column
HEAD, ROW, WAY_BACK = 30, 38, 28
CACHE, BOTTOM = 94, 4
SIGHTS_HEAD, SIGHT = 30, 20
LEAST_FIT = 0.9  # a single column that has to shrink by more becomes two, if they are larger
WORDS_X, WORDS, BAR = 16, 113, 80
ASKED: dict[bool | None, Colour] = {True: LEAF, False: CORAL, None: SOFT}


def draw_stats(
    canvas: Canvas,
    area: pygame.Rect,
    view: View,
    statistics: Statistics,
    seen: Sequence[Sighting],
    colours: PromptColours,
) -> Sheet:
    """Draw the statistics, the cache, and what is seen; returns the panel's area.

    The cache and what is seen stand below the statistics, or beside them in a low window.
    """
    sights = max(len(seen), attributes_seen(view.config))
    first = TOP + HEAD + ROW * len(statistics.all) + WAY_BACK
    second = CACHE + (SIGHTS_HEAD + SIGHT * sights if sights else 0)
    heights = first + second + BOTTOM, max(first, TOP + second) + BOTTOM
    below, beside = (
        canvas.fitting(WIDTH * columns + MARGIN, height + 2 * MARGIN, area)
        for columns, height in enumerate(heights, 1)
    )
    columns = 2 if below.scale < min(LEAST_FIT * canvas.scale, beside.scale) else 1
    canvas = (below, beside)[columns - 1]
    width = canvas.px(WIDTH)
    sheet = pygame.Rect(0, 0, width * columns, canvas.px(heights[columns - 1]))
    sheet.topright = (area.right - canvas.px(MARGIN), area.y + canvas.px(MARGIN))
    canvas.panel(sheet, alpha=232)
    inside = pygame.Rect(sheet.x, sheet.y + canvas.px(TOP), width, 0).inflate(-2 * canvas.px(PADDING), 0)
    bottom = _statistics(canvas, inside, view, statistics)
    rest = inside.move(width, 0) if columns == 2 else pygame.Rect(inside.x, bottom, inside.width, 0)
    _cache(canvas, rest, view, colours)
    if sights:
        _sightings(canvas, rest.move(0, canvas.px(CACHE)), seen)
    return Sheet(sheet)


def _statistics(canvas: Canvas, rect: pygame.Rect, view: View, statistics: Statistics) -> int:
    """Draw the statistics from the top of `rect`; returns where they end."""
    x, y = rect.topleft
    canvas.text("Statistics", (x, y), BODY, bold=True)
    y += canvas.px(HEAD)
    row = canvas.px(ROW)
    tints = (TEAL, AMBER, LILAC, LEAF, CORAL, SOFT, SOFT)
    for series, tint in zip(statistics.all, tints, strict=True):
        canvas.text(series.name, (x, y), SMALL, SOFT)
        canvas.text(series.newest(), (x, y + canvas.px(15)), SMALL, TEXT, bold=True)
        left = x + canvas.px(112)
        graph = pygame.Rect(left, y + canvas.px(2), rect.right - left, row - canvas.px(8))
        _sparkline(canvas, graph, series, tint)
        y += row
    held = f"{view.snapshots} snapshots, {view.memory_bytes / 1e6:.0f} MB"
    canvas.text("Way back", (x, y), SMALL, SOFT)
    canvas.text(held, (rect.right, y), SMALL, TEXT, align="right")
    return y + canvas.px(WAY_BACK)


def _cache(canvas: Canvas, rect: pygame.Rect, view: View, colours: PromptColours) -> None:
    """Draw the cache's slots, sink and window, in the colour of the prompt they were computed under."""
    canvas.text("Cache", (rect.x, rect.y), SMALL, SOFT)
    sink = sum(slot.sink for slot in view.slots)
    gap, break_ = canvas.px(3), canvas.px(10)
    cell = max(2, (rect.width - break_ - gap * (len(view.slots) - 1)) // max(1, len(view.slots)))
    top = rect.y + canvas.px(22)
    for place, slot in enumerate(view.slots):
        x = rect.x + place * (cell + gap) + (break_ if place >= sink else 0)
        box = pygame.Rect(x, top, cell, canvas.px(26))
        if slot.frame is None:
            canvas.outline(box, LINE, radius=3)
            continue
        canvas.fill(box, colours.of(slot.prompt), radius=3)
        if place == len(view.slots) - 1 or view.slots[place + 1].frame is None:
            canvas.outline(box, TEXT, radius=3, width=1.5)
    window = rect.x + sink * (cell + gap) + break_
    below = top + canvas.px(31)
    canvas.text("sink", (rect.x, below), 12, DIM)
    filled = [slot.frame for slot in view.slots[sink:] if slot.frame is not None]
    frames = f"window · frames {filled[0]} to {filled[-1]}" if filled else "window"
    canvas.text(frames, (window, below), 12, DIM)
    canvas.text("latent frames, in the colour of their prompt", (rect.x, below + canvas.px(16)), 12, DIM)


def _sightings(canvas: Canvas, rect: pygame.Rect, seen: Sequence[Sighting]) -> None:
    """Draw what the probe sees and how sure it is, with a tick where the prompt asks for it, or a cross."""
    canvas.text("The probe sees", rect.topleft, SMALL, SOFT)
    y = rect.y + canvas.px(22)
    if not seen:
        canvas.text("nothing yet", (rect.x, y), SMALL, DIM)
    for one in seen:
        if one.asked is not None:
            draw_mark(canvas, (rect.x + canvas.px(5), y + canvas.px(8)), reached=True, fault=not one.asked)
        left = rect.x + canvas.px(WORDS_X)
        canvas.text(one.words, (left, y), SMALL, TEXT, width=canvas.px(WORDS))
        bar = pygame.Rect(left + canvas.px(WORDS + 4), y + canvas.px(4), canvas.px(BAR), canvas.px(8))
        canvas.fill(bar, RAISED, radius=3)
        canvas.fill(
            pygame.Rect(*bar.topleft, round(bar.width * one.probability), bar.height),
            ASKED[one.asked],
            radius=3,
        )
        canvas.text(f"{100 * one.probability:.0f} %", (rect.right, y), SMALL, SOFT, align="right")
        y += canvas.px(SIGHT)


def _sparkline(canvas: Canvas, rect: pygame.Rect, series: Series, tint: Colour) -> None:
    canvas.fill(rect, RAISED, radius=3)
    values = list(series.values)
    if len(values) < 2:
        return
    top = max(*values, 1e-9) * 1.12
    step = rect.width / (len(values) - 1)
    points = [
        (rect.x + round(place * step), rect.bottom - 1 - round((rect.height - 2) * value / top))
        for place, value in enumerate(values)
    ]
    feet = [(rect.right - 1, rect.bottom - 1), (rect.x, rect.bottom - 1)]
    pygame.draw.polygon(canvas.surface, mixed(tint, RAISED, 0.72), [*points, *feet])
    pygame.draw.lines(canvas.surface, tint, False, points, canvas.px(1.5))
