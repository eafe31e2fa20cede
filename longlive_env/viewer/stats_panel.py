"""Panel of statistics with their recent history, the contents of the cache, and what the probe sees."""

from __future__ import annotations

from collections.abc import Sequence

import pygame

from longlive_env.viewer.canvas import Canvas
from longlive_env.viewer.cards import Sheet
from longlive_env.viewer.eyes import Sighting
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

ASKED: dict[bool | None, Colour] = {True: LEAF, False: CORAL, None: SOFT}


def draw_stats(
    canvas: Canvas,
    area: pygame.Rect,
    view: View,
    statistics: Statistics,
    seen: Sequence[Sighting],
    colours: PromptColours,
) -> Sheet:
    """Draw the statistics, the cache, and what is seen; returns the panel's area."""
    units = 38 * len(statistics.all) + 168 + (30 + 20 * len(seen) if seen else 0)
    canvas = canvas.fitting(292 + MARGIN, units + 2 * MARGIN, area)
    width, row = canvas.px(292), canvas.px(38)
    sheet = pygame.Rect(0, 0, width, canvas.px(units))
    sheet.topright = (area.right - canvas.px(MARGIN), area.y + canvas.px(MARGIN))
    canvas.panel(sheet, alpha=232)
    x, y = sheet.x + canvas.px(16), sheet.y + canvas.px(12)
    canvas.text("Statistics", (x, y), BODY, bold=True)
    y += canvas.px(30)
    tints = (TEAL, AMBER, LILAC, LEAF, CORAL, SOFT, SOFT)
    for series, tint in zip(statistics.all, tints, strict=True):
        canvas.text(series.name, (x, y), SMALL, SOFT)
        canvas.text(series.newest(), (x, y + canvas.px(15)), SMALL, TEXT, bold=True)
        graph = pygame.Rect(x + canvas.px(112), y + canvas.px(2), width - canvas.px(144), row - canvas.px(8))
        _sparkline(canvas, graph, series, tint)
        y += row
    held = f"{view.snapshots} snapshots, {view.memory_bytes / 1e6:.0f} MB"
    canvas.text("Way back", (x, y), SMALL, SOFT)
    canvas.text(held, (sheet.right - canvas.px(16), y), SMALL, TEXT, align="right")
    inside = pygame.Rect(x, y + canvas.px(28), width - canvas.px(32), canvas.px(92))
    _cache(canvas, inside, view, colours)
    if seen:
        _sightings(canvas, inside.move(0, canvas.px(94)), seen)
    return Sheet(sheet)


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
    """Draw what the probe sees and how sure it is, in green where the prompt asks for it."""
    canvas.text("The probe sees", rect.topleft, SMALL, SOFT)
    y = rect.y + canvas.px(22)
    for one in seen:
        canvas.text(one.words, (rect.x, y), SMALL, TEXT, width=canvas.px(106))
        bar = pygame.Rect(rect.x + canvas.px(112), y + canvas.px(4), canvas.px(100), canvas.px(8))
        canvas.fill(bar, RAISED, radius=3)
        canvas.fill(
            pygame.Rect(*bar.topleft, round(bar.width * one.probability), bar.height),
            ASKED[one.asked],
            radius=3,
        )
        canvas.text(f"{100 * one.probability:.0f} %", (rect.right, y), SMALL, SOFT, align="right")
        y += canvas.px(20)


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
