"""Panels that appear over the picture by themselves: key hints, messages, progress and failures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pygame

from longlive_env.viewer.bindings import Bindings
from longlive_env.viewer.canvas import Canvas
from longlive_env.viewer.cards import Sheet
from longlive_env.viewer.steering import Steering
from longlive_env.viewer.theme import (
    AMBER,
    BODY,
    CORAL,
    DIM,
    INK,
    KEY_HEIGHT,
    LARGE,
    LINE,
    MARGIN,
    RAISED,
    SMALL,
    SOFT,
    TEXT,
    WARNING,
    mixed,
)


def draw_hints(
    canvas: Canvas, area: pygame.Rect, bindings: Bindings, steering: Steering, strength: float
) -> None:
    """Draw the few keys needed first, in a line at the picture's lower edge; `strength` from 0 to 1."""
    first = bindings.first
    hints = [
        ([first(way) for way in ("left", "right", "up", "down")], "steer"),
        ([first("quick_1"), "…", first(f"quick_{max([2, *steering.numbered])}")], "quick prompts"),
        ([first("prompt")], "write what happens next"),
        ([first("rewind")], "take it back"),
        ([first("help")], "all keys"),
    ]
    canvas = canvas.fitting(940, 60, area)
    height, gap, space = canvas.px(KEY_HEIGHT), canvas.px(5), canvas.px(20)
    layer = pygame.Surface((canvas.px(940), canvas.px(40)), pygame.SRCALPHA)
    sheet = canvas.on(layer)
    x, y = space, canvas.px(10)
    for keys, text in hints:
        for key in keys:
            if key == "…":
                x = sheet.text(key, (x, y), SMALL, SOFT).right + gap
            else:
                x = sheet.key(key, (x, y), height=height).right + gap
        x = sheet.text(text, (x + gap, y + canvas.px(1)), SMALL, SOFT).right + space
    line = pygame.Rect(0, 0, x, layer.get_height())
    back = pygame.Surface(line.size, pygame.SRCALPHA)
    canvas.on(back).fill(line, INK, radius=20, alpha=210)
    back.blit(layer, (0, 0))
    back.set_alpha(round(255 * strength))
    canvas.surface.blit(back, back.get_rect(midbottom=(area.centerx, area.bottom - canvas.px(MARGIN))))


def draw_messages(canvas: Canvas, area: pygame.Rect, messages: Sequence[tuple[str, bool, float]]) -> None:
    """Draw messages at the top: text, whether it reports an error, and visibility from 0 to 1."""
    y = area.y + canvas.px(16)
    for text, wrong, strength in messages:
        lines = canvas.wrap(text, BODY, min(area.width - canvas.px(80), canvas.px(760)), 3)
        width = max(canvas.width(line, BODY) for line in lines) + canvas.px(36)
        height = len(lines) * canvas.line_height(BODY) + canvas.px(14)
        rect = pygame.Rect(0, 0, width, height)
        rect.midtop = (area.centerx, y - round((1 - strength) * canvas.px(10)))
        layer = pygame.Surface(rect.size, pygame.SRCALPHA)
        sheet = canvas.on(layer)
        radius = height / 2 / canvas.scale if len(lines) == 1 else 10
        sheet.fill(layer.get_rect(), WARNING if wrong else RAISED, radius=radius)
        sheet.outline(layer.get_rect(), CORAL if wrong else LINE, radius=radius)
        for place, line in enumerate(lines):
            top = canvas.px(7) + place * canvas.line_height(BODY)
            sheet.text(line, (width // 2, top), BODY, CORAL if wrong else TEXT, align="centre")
        layer.set_alpha(round(255 * strength))
        canvas.surface.blit(layer, rect)
        y += height + canvas.px(8)


def draw_failure(canvas: Canvas, area: pygame.Rect, failure: str, advice: str) -> Sheet:
    """Draw what has stopped the world; returns the panel's area."""
    width = min(area.width - canvas.px(60), canvas.px(720))
    lines = canvas.wrap(failure, BODY, width - canvas.px(56), 8)
    sheet = pygame.Rect(0, 0, width, canvas.px(104) + len(lines) * canvas.line_height(BODY))
    sheet.center = area.center
    canvas.dim(110)
    canvas.panel(sheet, alpha=250)
    x, y = sheet.x + canvas.px(28), sheet.y + canvas.px(22)
    canvas.text("The world has stopped", (x, y), LARGE, CORAL, bold=True)
    y += canvas.px(38)
    for line in lines:
        canvas.text(line, (x, y), BODY)
        y += canvas.line_height(BODY)
    canvas.text(advice, (x, y + canvas.px(14)), SMALL, DIM)
    return Sheet(sheet)


def draw_busy(canvas: Canvas, area: pygame.Rect, text: str, now: float, *, whole: bool) -> None:
    """Draw what takes a while; `whole` says that there is no picture yet."""
    if whole:
        y = area.centery - canvas.px(40)
        canvas.text("longlive", (area.centerx, y), 34, TEXT, bold=True, align="centre")
        canvas.text(text, (area.centerx, y + canvas.px(54)), BODY, SOFT, align="centre")
        centre = y + canvas.px(92)
    else:
        width = canvas.width(text, SMALL) + canvas.px(70)
        sheet = pygame.Rect(0, 0, width, canvas.px(36))
        sheet.midbottom = (area.centerx, area.bottom - canvas.px(20))
        canvas.panel(sheet)
        canvas.text(text, (sheet.x + canvas.px(50), sheet.y + canvas.px(9)), SMALL, SOFT)
        centre = sheet.centery
    for place in range(3):
        light = 0.5 + 0.5 * math.sin(now * 5 - place * 0.9)
        x = (area.centerx if whole else sheet.x + canvas.px(26)) + (place - 1) * canvas.px(11)
        pygame.draw.circle(canvas.surface, mixed(LINE, AMBER, light), (x, centre), canvas.px(3.5))
