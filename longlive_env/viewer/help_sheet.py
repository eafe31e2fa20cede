"""The help sheet with all keys."""

from __future__ import annotations

from typing import NamedTuple

import pygame

from longlive_env.viewer.actions import ACTIONS, GROUPS, NUMBERS, Action
from longlive_env.viewer.bindings import Bindings, shown
from longlive_env.viewer.canvas import Canvas
from longlive_env.viewer.steering import Steering
from longlive_env.viewer.theme import AMBER, DIM, KEY_HEIGHT, MARGIN, SMALL, SOFT, TITLE

ROW, COLUMNS, COLUMN_WIDTH = 25, 3, 388
KEYS_WIDTH = 180  # at most
GAP, KEY_GAP = 10, 5
SHADOW = 15


class HelpRow(NamedTuple):
    """One line: keys, buttons of a gamepad, and what they do."""

    keys: list[str]
    pads: list[str]
    text: str


Group = tuple[str, list[HelpRow]]


def help_rows(bindings: Bindings, steering: Steering) -> dict[str, list[HelpRow]]:
    """Return the rows of the help sheet, by group. Nine actions of a kind share a row if possible."""
    rows: dict[str, list[HelpRow]] = {group: [] for group in GROUPS}
    last_quick = max(steering.numbered)
    for action in ACTIONS:
        keys = [shown(key) for key in steering.free(action.name, bindings)]
        pads = [shown(key) for key in bindings.keys(action.name, pad=True)]
        quick = action.kind == "quick"
        nine = _nine(bindings, steering, action.kind, last_quick if quick else 9) if action.kind else None
        if nine is None:
            asks = action.number in steering.numbered and not steering.replaces(action.name, bindings)
            if asks or not quick:
                rows[action.group].append(HelpRow(keys, pads, _text(action, steering)))
        elif action.number == 1:
            rows[action.group].append(HelpRow([nine], pads, action.together))
    for key, change in steering.keys.items():
        rows[GROUPS[0]].append(HelpRow([shown(key)], [], change.words))
    return rows


class HelpSheet:
    """The help sheet, drawn once for as long as it stays the same: it takes a while in a large window."""

    def __init__(self) -> None:
        self._shown: tuple[object, ...] = ()  # what the picture shows
        self._picture = pygame.Surface((0, 0))

    def draw(
        self, canvas: Canvas, area: pygame.Rect, bindings: Bindings, steering: Steering, *, gamepad: bool
    ) -> None:
        """Draw all keys over a darkened window, and the buttons of a gamepad if there is one."""
        shown = canvas.scale, area.size, bindings, steering, gamepad
        if shown != self._shown:
            self._shown, self._picture = shown, _picture(canvas, area, bindings, steering, gamepad=gamepad)
        canvas.dim(120)
        canvas.surface.blit(self._picture, self._picture.get_rect(center=area.center))


def _picture(
    canvas: Canvas, area: pygame.Rect, bindings: Bindings, steering: Steering, *, gamepad: bool
) -> pygame.Surface:
    """Return a picture of the sheet and its shadow."""
    rows = help_rows(bindings, steering)
    columns = _columns([(group, rows[group]) for group in GROUPS])
    units = max(sum(len(entries) * ROW + 40 for _, entries in column) for column in columns) + 72
    canvas = canvas.fitting(COLUMN_WIDTH * len(columns) + 32 + 2 * MARGIN, units + 2 * MARGIN, area)
    row, width = canvas.px(ROW), canvas.px(COLUMN_WIDTH)
    sheet = pygame.Rect(0, 0, width * len(columns) + canvas.px(32), canvas.px(units))
    shadow = canvas.px(SHADOW)
    picture = pygame.Surface(sheet.inflate(2 * shadow, 2 * shadow).size, pygame.SRCALPHA)
    canvas = canvas.on(picture)
    sheet.topleft = (shadow, shadow)
    canvas.panel(sheet, alpha=250)
    title = canvas.text("Keys", (sheet.x + canvas.px(28), sheet.y + canvas.px(18)), TITLE, bold=True)
    note = "rebind them in a file: longlive play --write-keys"
    canvas.text(note, (sheet.right - canvas.px(28), title.y + canvas.px(12)), SMALL, DIM, align="right")
    for place, column in enumerate(columns):
        x, y = sheet.x + canvas.px(28) + place * width, sheet.y + canvas.px(62)
        keys = max((_keys_width(canvas, entry) for _, entries in column for entry in entries), default=0)
        right = x + min(keys, canvas.px(KEYS_WIDTH))
        for group, entries in column:
            canvas.text(group, (x, y), SMALL, AMBER, bold=True)
            y += canvas.px(24)
            for entry in entries:
                _draw_row(canvas, right, x + width - canvas.px(20), y, entry, gamepad=gamepad)
                y += row
            y += canvas.px(16)
    return picture


def _keys_width(canvas: Canvas, row: HelpRow) -> int:
    height = canvas.px(KEY_HEIGHT)
    widths = [canvas.key_width(label, height) for label in row.keys]
    return sum(widths) + canvas.px(KEY_GAP) * max(0, len(widths) - 1)


def _draw_row(canvas: Canvas, right: int, end: int, y: int, row: HelpRow, *, gamepad: bool) -> None:
    """Draw the keys up to `right`, the text from there on, and the buttons up to `end`."""
    height = canvas.px(KEY_HEIGHT)
    at = right
    for label in reversed(row.keys):
        at = canvas.key(label, (at, y), height=height, align="right").x - canvas.px(KEY_GAP)
    if not row.keys:
        canvas.text("–", (right, y), SMALL, DIM, align="right")
    top = y + canvas.px(1)
    for label in row.pads if gamepad else []:
        end = canvas.key(label, (end, y), height=height, align="right", pad=True).x - canvas.px(KEY_GAP)
    canvas.text(row.text, (right + canvas.px(GAP), top), SMALL, SOFT, width=end - right - canvas.px(GAP))


def _columns(groups: list[Group]) -> list[list[Group]]:
    """Arrange groups, in order, in columns of about equal height."""
    total = sum(len(entries) + 2 for _, entries in groups)
    columns: list[list[Group]] = [[]]
    filled = 0
    for group, entries in groups:
        if columns[-1] and filled + len(entries) / 2 > total / COLUMNS * len(columns):
            columns.append([])
        columns[-1].append((group, entries))
        filled += len(entries) + 2
    return columns


def _nine(bindings: Bindings, steering: Steering, kind: str, last: int) -> str | None:
    """Return `Shift+1 – 9`, or up to `last`, if so many actions of a kind have exactly those keys."""
    keys = [steering.free(f"{kind}_{n}", bindings) for n in NUMBERS if n <= last]
    if any(len(chords) != 1 for chords in keys):
        return None
    stems = {chords[0][:-1] for chords in keys}
    if len(stems) != 1 or [chords[0][-1] for chords in keys] != [str(n) for n in NUMBERS if n <= last]:
        return None
    return shown(keys[0][0]) + (f" – {last}" if last > 1 else "")


def _text(action: Action, steering: Steering) -> str:
    change = steering.moves.get(action.name)
    return change.words if change is not None else action.text
