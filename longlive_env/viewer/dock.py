"""The dock under the picture: the prompt in force, what is going on, and the timeline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pygame

from longlive_env.viewer.canvas import Canvas
from longlive_env.viewer.cards import TITLE as CARDS_TITLE
from longlive_env.viewer.theme import (
    AMBER,
    CORAL,
    DIM,
    DOCK,
    LARGE,
    LEAF,
    LINE,
    MARGIN,
    RAISED,
    SMALL,
    SOFT,
    SOURCES,
    TEAL,
    TEXT,
    Colour,
    PromptColours,
)
from longlive_env.viewer.timeline import Timeline, clock
from longlive_env.viewer.view import View

CAPTION_HEIGHT = 28
PILL_HEIGHT = 22
PILL_GAP = 8


class Places(NamedTuple):
    """What can be clicked above the timeline: the prompt, and the spot that opens the key cards."""

    caption: pygame.Rect
    cards: pygame.Rect

    @classmethod
    def nowhere(cls) -> Places:
        """While there is no dock."""
        return cls(pygame.Rect(0, 0, 0, 0), pygame.Rect(0, 0, 0, 0))


@dataclass(frozen=True)
class Pill:
    """A short remark on the right of the dock."""

    text: str
    colour: Colour
    strong: bool = False


def draw_dock(
    canvas: Canvas,
    rect: pygame.Rect,
    view: View,
    position: float,
    pills: list[Pill],
    timeline: Timeline,
    colours: PromptColours,
    mouse: tuple[int, int] | None,
    *,
    cards: bool,
) -> Places:
    """Draw the dock into `rect`; `cards` if those of keys are open. For the rest see `Timeline.draw`."""
    canvas.surface.fill(DOCK, rect)
    pygame.draw.line(canvas.surface, LINE, rect.topleft, rect.topright)
    margin = canvas.px(MARGIN)
    top = rect.y + canvas.px(13)
    spot = _cards_spot(canvas, rect.right - margin, top, opened=cards)
    right = _pills(canvas, spot.x - canvas.px(PILL_GAP), top, pills)
    caption = pygame.Rect(rect.x + margin, top, right - rect.x - 2 * margin, canvas.px(CAPTION_HEIGHT))
    _caption(canvas, caption, view, position, colours)
    bar_top = rect.y + canvas.px(50)
    bar = pygame.Rect(rect.x + margin, bar_top, rect.width - 2 * margin, rect.bottom - bar_top)
    timeline.draw(canvas, bar, view, position, colours, mouse)
    return Places(caption, spot.inflate(canvas.px(16), canvas.px(24)))  # as wide as a finger


def _cards_spot(canvas: Canvas, right: int, top: int, *, opened: bool) -> pygame.Rect:
    """Where a click or a finger opens the cards of keys."""
    width = canvas.width(CARDS_TITLE, SMALL, bold=True) + canvas.px(22)
    rect = pygame.Rect(right - width, top, width, canvas.px(PILL_HEIGHT))
    canvas.fill(rect, RAISED, radius=5)
    canvas.outline(rect, AMBER if opened else LINE, radius=5)
    y = rect.centery - canvas.line_height(SMALL, bold=True) // 2
    canvas.text(CARDS_TITLE, (rect.centerx, y), SMALL, AMBER if opened else SOFT, bold=True, align="centre")
    return rect


def _caption(canvas: Canvas, rect: pygame.Rect, view: View, position: float, colours: PromptColours) -> None:
    """The prompt of the frame on show and, while it is on its way, the one to come."""
    span = next((span for span in reversed(view.spans) if span.begin < position), None)
    prompt = span.prompt if span else view.wanted
    source = span.source if span else "start"
    height = canvas.line_height(LARGE, bold=True)
    mark = pygame.Rect(rect.x, rect.y + canvas.px(2), canvas.px(4), height - canvas.px(4))
    canvas.fill(mark, colours.of(prompt), radius=2)
    x = mark.right + canvas.px(10)
    name, tint, colour = str(source), SOURCES[source], TEXT
    if view.wanted != prompt:
        name, tint, colour, prompt = "next", AMBER, AMBER, view.wanted
    tag = canvas.text(name, (x, rect.y + canvas.px(6)), SMALL, tint)
    x = tag.right + canvas.px(10)
    canvas.text(prompt, (x, rect.y), LARGE, colour, bold=True, width=rect.right - x)


def _pills(canvas: Canvas, right: int, top: int, pills: list[Pill]) -> int:
    """Draw remarks from the right; returns where they begin."""
    for pill in pills:
        width = canvas.width(pill.text, SMALL, bold=pill.strong) + canvas.px(18)
        rect = pygame.Rect(right - width, top, width, canvas.px(PILL_HEIGHT))
        if pill.strong:
            canvas.fill(rect, pill.colour, radius=PILL_HEIGHT / 2, alpha=44)
            canvas.outline(rect, pill.colour, radius=PILL_HEIGHT / 2)
        y = rect.centery - canvas.line_height(SMALL, bold=pill.strong) // 2
        canvas.text(pill.text, (rect.centerx, y), SMALL, pill.colour, bold=pill.strong, align="centre")
        right = rect.x - canvas.px(PILL_GAP if pill.strong else 2)
    return right


def pills_of(
    view: View | None,
    *,
    position: float,
    paused: bool,
    slow_fps: float | None,
    latency_s: float | None,
    waiting: bool,
) -> list[Pill]:
    """What the right of the dock says, from the right.

    Args:
        view: the world in play; None while it loads.
        position: of the frame on show, in blocks.
        paused: whether the picture stands still on purpose.
        slow_fps: frames a second, if the model does not keep up.
        latency_s: of the newest prompt.
        waiting: whether that prompt's first frame has yet to come.
    """
    if view is None:
        return []
    fps = view.config.fps
    pills = [Pill(f"{clock(view.pace.seconds(position))}  ·  seed {view.seed}", DIM)]
    if view.score is not None:
        tint = LEAF if view.score.points >= 0 else CORAL
        pills.append(Pill(f"{view.score.points} of {view.score.possible} points", tint, True))
    if waiting:
        pills.append(Pill("changing…", AMBER))
    elif latency_s is not None:
        pills.append(Pill(f"{latency_s:.2f} s to the picture", SOFT))
    if view.recache != "full":
        pills.append(Pill(f"recache {view.recache}", CORAL, True))
    if view.seat == "agent":
        pills.append(Pill("the agent thinks…" if view.thinking else "agent", TEAL, True))
    if slow_fps is not None and not paused:
        pills.append(Pill(f"slow motion · the model makes {slow_fps:.0f} of {fps} FPS", CORAL, True))
    if paused:
        pills.append(Pill("paused", AMBER, True))
    if view.recording is not None:
        pills.append(Pill("● REC", CORAL, True))
    return pills
