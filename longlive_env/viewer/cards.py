"""The sheet of key cards: what each key changes in the prompt, and what scores points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pygame

from longlive_env.recording import LogGoal
from longlive_env.scenario import Change
from longlive_env.scenario.change import WHOLE
from longlive_env.viewer.bindings import Bindings, shown
from longlive_env.viewer.canvas import Canvas
from longlive_env.viewer.steering import Steering
from longlive_env.viewer.story import Score
from longlive_env.viewer.theme import (
    AMBER,
    BODY,
    CORAL,
    DIM,
    KEY_HEIGHT,
    LEAF,
    LINE,
    MARGIN,
    RAISED,
    SMALL,
    SOFT,
    TEXT,
)
from longlive_env.viewer.timeline import label_of

TITLE = "Steer"
WIDTH, WIDTH_WITH_GOALS = 268, 320
PADDING = 16
HEAD = 38  # with the title
CARD = 28
GOALS_HEAD = 40
GOAL, GOAL_LINE = 24, 17  # height of a goal's first line, and of each further one
GOAL_LINES = 3  # at most
FOOT = 14
NAME_X = 36  # left edge of goal names
POINTS_WIDTH = 44
LEAST_FIT = 0.8  # a single column that has to shrink by more becomes several, if they are larger


@dataclass(frozen=True)
class Sheet:
    """A panel over the picture, which intercepts clicks.

    Attributes:
        rect: area of the panel.
        cards: areas in which a click asks for a change of the prompt.
    """

    rect: pygame.Rect
    cards: tuple[tuple[pygame.Rect, Change], ...] = ()

    def change_at(self, point: tuple[int, int]) -> Change | None:
        """Return the change that a click asks for, if any."""
        return next((change for rect, change in self.cards if rect.collidepoint(point)), None)


def draw_cards(
    canvas: Canvas,
    area: pygame.Rect,
    bindings: Bindings,
    steering: Steering,
    prompt: str,
    score: Score | None,
    mouse: tuple[int, int] | None,
) -> Sheet:
    """Draw what the keys change in the prompt, and the goals below.

    Args:
        canvas: canvas of the window.
        area: area of the picture.
        bindings: bindings of keys to actions.
        steering: prompt changes by key.
        prompt: prompt that was requested last.
        score: score of the scenario's goals; None if there is nothing to win.
        mouse: position of the mouse, if it is over the window.
    """
    entries = _entries(bindings, steering)
    goals = _wrapped(canvas, score) if score is not None else []
    canvas, layout, goals = _fitting(canvas, area, len(entries), goals)
    rect = pygame.Rect(0, 0, canvas.px(layout.width), canvas.px(layout.height))
    rect.midleft = (area.x + canvas.px(MARGIN), area.centery)
    if area.height > area.width:  # such as on a phone, with the picture in the middle
        rect.bottom = area.bottom - canvas.px(MARGIN)
    canvas.panel(rect, alpha=232)
    canvas.text(TITLE, (rect.x + canvas.px(PADDING), rect.y + canvas.px(12)), BODY, bold=True)
    cards = []
    for place, (key, change) in enumerate(entries):
        column, row = divmod(place, layout.rows)
        top, bottom = (canvas.px(HEAD + CARD * edge) for edge in (row, row + 1))
        left, right = (canvas.px(layout.card_width * edge) for edge in (column, column + 1))
        card = pygame.Rect(rect.x + left, rect.y + top, right - left, bottom - top)
        if mouse is not None and card.collidepoint(mouse):
            canvas.fill(card.inflate(-canvas.px(12), 0), RAISED, radius=5)
        here = steering.apply(change, prompt) == prompt
        words = label_of(change.words, prompt) if change.part == WHOLE else change.words
        _draw_card(canvas, card, key, words, here=here)
        cards.append((card, change))
    if score is not None and goals:
        part = layout.place_of_goals(canvas, rect)
        if not layout.beside:
            line = pygame.Rect(part.x, part.y + canvas.px(2), part.width, canvas.px(1))
            canvas.fill(line.inflate(-2 * canvas.px(PADDING), 0), LINE)
        _draw_goals(canvas, part, score, goals)
    return Sheet(rect, tuple(cards))


def _entries(bindings: Bindings, steering: Steering) -> list[tuple[str, Change]]:
    """Return keys as people read them, and what they change."""
    quick = {f"quick_{n}": change for n, change in steering.numbered.items()}
    own = [(shown(key), change) for key, change in steering.keys.items()]
    return [*_bound(steering.moves, bindings, steering), *own, *_bound(quick, bindings, steering)]


def _bound(changes: Mapping[str, Change], bindings: Bindings, steering: Steering) -> list[tuple[str, Change]]:
    """Return the entries of actions, each under the first key that the scenario has left it."""
    return [
        (next(map(shown, steering.free(name, bindings)), "–"), change)
        for name, change in changes.items()
        if not steering.replaces(name, bindings)
    ]


def _draw_card(canvas: Canvas, card: pygame.Rect, key: str, words: str, *, here: bool) -> None:
    """Draw a key and what it changes, in another colour if the prompt already says so."""
    height = canvas.px(KEY_HEIGHT)
    top = card.y + (card.height - height) // 2
    canvas.key(key, (card.x + canvas.px(PADDING), top), height=height)
    at = (card.x + canvas.px(56), top + canvas.px(1))
    canvas.text(words, at, SMALL, AMBER if here else TEXT, width=card.width - canvas.px(68))


WrappedGoal = tuple[LogGoal, bool, list[str]]  # a goal, whether it was reached, and its name in lines


def _wrapped(canvas: Canvas, score: Score) -> list[WrappedGoal]:
    width = canvas.px(WIDTH_WITH_GOALS - NAME_X - PADDING - POINTS_WIDTH)
    return [
        (goal, block is not None, canvas.wrap(goal.name, SMALL, width, GOAL_LINES))
        for goal, block in score.goals
    ]


def _height(goals: Sequence[WrappedGoal]) -> int:
    """Return the height of goals, in units."""
    return sum(GOAL + GOAL_LINE * (len(lines) - 1) for *_, lines in goals)


@dataclass(frozen=True)
class _Layout:
    """Where things stand on the sheet, in units: goals below the cards, or beside them.

    Attributes:
        columns: columns of cards.
        rows: cards in each.
        goals: height of the goals; 0 without any.
        beside: whether they stand beside the cards.
    """

    columns: int
    rows: int
    goals: int
    beside: bool = False

    @property
    def card_width(self) -> int:
        return WIDTH if self.beside or not self.goals else WIDTH_WITH_GOALS

    @property
    def width(self) -> int:
        return self.card_width * self.columns + (WIDTH_WITH_GOALS if self.beside and self.goals else 0)

    @property
    def height(self) -> int:
        cards, goals = HEAD + CARD * self.rows, GOALS_HEAD + self.goals if self.goals else 0
        return FOOT + (max(cards, goals) if self.beside else cards + goals)

    def place_of_goals(self, canvas: Canvas, rect: pygame.Rect) -> pygame.Rect:
        """Return the part of the sheet that holds the goals."""
        x = canvas.px(self.card_width * self.columns) if self.beside else 0
        y = 0 if self.beside else canvas.px(HEAD + CARD * self.rows)
        return pygame.Rect(rect.x + x, rect.y + y, rect.width - x, rect.height - y)

    def fitting(self, canvas: Canvas, area: pygame.Rect) -> Canvas:
        return canvas.fitting(self.width + MARGIN, self.height + 2 * MARGIN, area)


def _fitting(
    canvas: Canvas, area: pygame.Rect, cards: int, goals: list[WrappedGoal]
) -> tuple[Canvas, _Layout, list[WrappedGoal]]:
    """Return a canvas on which everything fits, how it stands there, and the goals that have room."""
    single = _Layout(1, cards, _height(goals))
    least = LEAST_FIT * canvas.scale
    if (small := single.fitting(canvas, area)).scale >= least:
        return small, single, goals
    room = area.height / least - 2 * MARGIN - FOOT
    columns = max(1, math.ceil(cards / max(1, (room - HEAD) // CARD)))
    some = _shortened(goals, room - GOALS_HEAD)
    height = _height(some) + (GOAL if len(some) < len(goals) else 0)
    several = _Layout(columns, math.ceil(cards / columns), height, beside=True)
    if (larger := several.fitting(canvas, area)).scale > small.scale:
        return larger, several, some
    return small, single, goals


def _shortened(goals: list[WrappedGoal], room: float) -> list[WrappedGoal]:
    """Return the goals that fit into `room` units: without those that were reached, if there are too many."""
    some = list(goals)
    while len(some) > 1 and _height(some) + (GOAL if len(some) < len(goals) else 0) > room:
        some.remove(next((one for one in some if one[1]), some[-1]))
    return some


def _draw_goals(canvas: Canvas, rect: pygame.Rect, score: Score, goals: Sequence[WrappedGoal]) -> None:
    """Draw the goals with their points, marking those that were reached."""
    left, right, y = rect.x + canvas.px(PADDING), rect.right - canvas.px(PADDING), rect.y
    y += canvas.px(12)
    canvas.text("Goals", (left, y), BODY, bold=True)
    total = f"{score.points} of {score.possible} points"
    canvas.text(total, (right, y + canvas.px(1)), SMALL, SOFT, align="right")
    y += canvas.px(GOALS_HEAD - 12)
    for goal, reached, lines in goals:
        fault = goal.points < 0
        tint = CORAL if fault else LEAF
        draw_mark(canvas, (left + canvas.px(6), y + canvas.px(8)), reached=reached, fault=fault)
        colour = TEXT if reached else SOFT
        for place, line in enumerate(lines):
            canvas.text(line, (rect.x + canvas.px(NAME_X), y + canvas.px(GOAL_LINE * place)), SMALL, colour)
        canvas.text(f"{goal.points:+d}", (right, y), SMALL, tint, bold=reached, align="right")
        y += canvas.px(_height([(goal, reached, lines)]))
    if len(goals) < len(score.goals):
        canvas.text(
            f"… and {len(score.goals) - len(goals)} more", (rect.x + canvas.px(NAME_X), y), SMALL, DIM
        )


def draw_mark(canvas: Canvas, centre: tuple[int, int], *, reached: bool, fault: bool) -> None:
    """Draw a tick for a reached goal, a cross for a committed fault, a dot for anything still open."""
    x, y = centre
    near, far, width = canvas.px(2), canvas.px(5), canvas.px(2)
    if not reached:
        pygame.draw.circle(canvas.surface, DIM, centre, near)
    elif fault:
        for end in (far, -far):
            pygame.draw.line(canvas.surface, CORAL, (x - far, y - end), (x + far, y + end), width)
    else:
        tick = [(x - far, y), (x - near, y + far), (x + far, y - far)]
        pygame.draw.lines(canvas.surface, LEAF, False, tick, width)
