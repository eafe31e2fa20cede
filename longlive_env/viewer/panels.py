"""Sheets over the picture: help, cards of keys, messages, and what stands there at first."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import pygame

from longlive_env.scenario.change import WHOLE
from longlive_env.viewer.actions import ACTIONS, GROUPS, Action
from longlive_env.viewer.bindings import Bindings, shown
from longlive_env.viewer.canvas import Canvas
from longlive_env.viewer.steering import Steering
from longlive_env.viewer.theme import (
    AMBER,
    BODY,
    CORAL,
    DIM,
    LARGE,
    LINE,
    MARGIN,
    RAISED,
    SMALL,
    SOFT,
    TEXT,
    TITLE,
    WARNING,
    mixed,
)
from longlive_env.viewer.timeline import label_of

KEY_HEIGHT = 20
HELP_ROW = 25
HELP_COLUMNS = 3
NUMBERED = re.compile(r"(quick|return|keep)_(\d)")


def help_rows(bindings: Bindings, steering: Steering) -> dict[str, list[tuple[list[str], str]]]:
    """What help lists: group -> keys and what they do. The nine of a kind share a row where they can."""
    rows: dict[str, list[tuple[list[str], str]]] = {group: [] for group in GROUPS}
    for action in ACTIONS:
        keys = [shown(key) for key in bindings.keys(action.name) if key not in steering.keys]
        numbered = NUMBERED.fullmatch(action.name)
        if numbered is None:
            rows[action.group].append((keys, _text(action, steering)))
            continue
        row = _nine(bindings, numbered[1])
        if row is None:
            rows[action.group].append((keys, action.text))
        elif numbered[2] == "1":
            rows[action.group].append(([row], re.sub(r" 1\b", "", action.text)))
    for key, change in steering.keys.items():
        rows[GROUPS[0]].append(([shown(key)], change.words))
    return rows


def draw_help(canvas: Canvas, area: pygame.Rect, bindings: Bindings, steering: Steering) -> None:
    """All keys."""
    rows = help_rows(bindings, steering)
    columns = _columns([(group, rows[group]) for group in GROUPS])
    units = max(sum(len(entries) * HELP_ROW + 40 for _, entries in column) for column in columns) + 72
    canvas = canvas.fitting(388 * len(columns) + 32 + 2 * MARGIN, units + 2 * MARGIN, area)
    row, width = canvas.px(HELP_ROW), canvas.px(388)
    sheet = pygame.Rect(0, 0, width * len(columns) + canvas.px(32), canvas.px(units))
    sheet.center = area.center
    canvas.dim(120)
    canvas.panel(sheet, alpha=250)
    title = canvas.text("Keys", (sheet.x + canvas.px(28), sheet.y + canvas.px(18)), TITLE, bold=True)
    note = "rebind them in a file: longlive play --write-keys"
    canvas.text(note, (sheet.right - canvas.px(28), title.y + canvas.px(12)), SMALL, DIM, align="right")
    for place, column in enumerate(columns):
        x, y = sheet.x + canvas.px(28) + place * width, sheet.y + canvas.px(62)
        for group, entries in column:
            canvas.text(group, (x, y), SMALL, AMBER, bold=True)
            y += canvas.px(24)
            for keys, text in entries:
                _row(canvas, x, y, width - canvas.px(20), keys, text)
                y += row
            y += canvas.px(16)


def draw_cards(
    canvas: Canvas, area: pygame.Rect, bindings: Bindings, steering: Steering, prompt: str
) -> None:
    """What the keys change in the prompt."""
    entries = [
        *((bindings.first(way), change) for way, change in steering.moves.items()),
        *((shown(key), change) for key, change in steering.keys.items()),
        *((bindings.first(f"quick_{n}"), change) for n, change in enumerate(steering.quick, start=1)),
    ]
    units = 28 * len(entries) + 52
    canvas = canvas.fitting(268 + MARGIN, units + 2 * MARGIN, area)
    row, width = canvas.px(28), canvas.px(268)
    sheet = pygame.Rect(0, 0, width, canvas.px(units))
    sheet.midleft = (area.x + canvas.px(MARGIN), area.centery)
    canvas.panel(sheet, alpha=232)
    canvas.text("Steer", (sheet.x + canvas.px(16), sheet.y + canvas.px(12)), BODY, bold=True)
    y = sheet.y + canvas.px(42)
    for key, change in entries:
        canvas.key(key, (sheet.x + canvas.px(16), y), height=canvas.px(KEY_HEIGHT))
        here = steering.apply(change, prompt) == prompt
        words = label_of(change.words, prompt) if change.part == WHOLE else change.words
        at = (sheet.x + canvas.px(56), y + canvas.px(1))
        canvas.text(words, at, SMALL, AMBER if here else TEXT, width=width - canvas.px(68))
        y += row


def draw_messages(canvas: Canvas, area: pygame.Rect, messages: Sequence[tuple[str, bool, float]]) -> None:
    """Messages at the top: text, whether something is wrong, and how visible it is from 0 to 1."""
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


def draw_failure(canvas: Canvas, area: pygame.Rect, failure: str, advice: str) -> None:
    """What has stopped the world."""
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


def draw_busy(canvas: Canvas, area: pygame.Rect, text: str, now: float, *, whole: bool) -> None:
    """What takes a while; `whole` if there is no picture yet."""
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


def _row(canvas: Canvas, x: int, y: int, width: int, keys: list[str], text: str) -> None:
    right = x + canvas.px(136)
    at = right
    for label in reversed(keys):
        at = canvas.key(label, (at, y), height=canvas.px(KEY_HEIGHT), align="right").x - canvas.px(5)
    if not keys:
        canvas.text("–", (right, y), SMALL, DIM, align="right")
    top = y + canvas.px(1)
    canvas.text(text, (right + canvas.px(10), top), SMALL, SOFT, width=x + width - right - canvas.px(10))


def _columns(
    groups: list[tuple[str, list[tuple[list[str], str]]]],
) -> list[list[tuple[str, list[tuple[list[str], str]]]]]:
    """Groups in columns of about equal height, in their order."""
    total = sum(len(entries) + 2 for _, entries in groups)
    columns: list[list[tuple[str, list[tuple[list[str], str]]]]] = [[]]
    filled = 0
    for group, entries in groups:
        if columns[-1] and filled + len(entries) / 2 > total / HELP_COLUMNS * len(columns):
            columns.append([])
        columns[-1].append((group, entries))
        filled += len(entries) + 2
    return columns


def _nine(bindings: Bindings, kind: str) -> str | None:
    """`Shift+1 – 9`, if the nine actions of a kind have those keys and no others."""
    keys = [bindings.keys(f"{kind}_{n}") for n in range(1, 10)]
    if any(len(chords) != 1 for chords in keys):
        return None
    stems = {chords[0][:-1] for chords in keys}
    if len(stems) != 1 or [chords[0][-1] for chords in keys] != list("123456789"):
        return None
    return shown(keys[0][0]) + " – 9"


def _text(action: Action, steering: Steering) -> str:
    change = steering.moves.get(action.name)
    return change.words if change is not None else action.text
