"""The dock under the picture: the prompt in force, status remarks and the timeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

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

if TYPE_CHECKING:
    from longlive_env.viewer.playback import Playback

CAPTION_HEIGHT = 28
LEAST_CAPTION = 240  # width that pills leave to the prompt, enough to tap on it
PILL_HEIGHT = 22
PILL_GAP = 8


class Places(NamedTuple):
    """Clickable places above the timeline: the prompt, and the spot that opens the key cards."""

    caption: pygame.Rect
    cards: pygame.Rect

    @classmethod
    def nowhere(cls) -> Places:
        """Create the places for when there is no dock."""
        return cls(pygame.Rect(0, 0, 0, 0), pygame.Rect(0, 0, 0, 0))


@dataclass(frozen=True)
class Pill:
    """A short remark on the right of the dock.

    Attributes:
        text: text of the remark.
        colour: colour of the text.
        strong: whether it has an outline; others are dropped first if there is no room for all.
        brief: shorter text for little room; "" for the same text.
    """

    text: str
    colour: Colour
    strong: bool = False
    brief: str = ""

    def width(self, canvas: Canvas) -> int:
        """Return the width in pixels, without the gap beside it."""
        return canvas.width(self.text, SMALL, bold=self.strong) + canvas.px(18)

    def gap(self, canvas: Canvas) -> int:
        """Return the gap on its left in pixels."""
        return canvas.px(PILL_GAP if self.strong else 2)


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
    """Draw the dock into `rect`; `cards` says if key cards are open. For the rest see `Timeline.draw`."""
    canvas.surface.fill(DOCK, rect)
    pygame.draw.line(canvas.surface, LINE, rect.topleft, rect.topright)
    margin = canvas.px(MARGIN)
    top = rect.y + canvas.px(13)
    spot = _cards_spot(canvas, rect.right - margin, top, opened=cards)
    right = spot.x - canvas.px(PILL_GAP)
    room = right - rect.x - 2 * margin - canvas.px(LEAST_CAPTION)
    right = _pills(canvas, right, top, fitting(canvas, pills, room))
    caption = pygame.Rect(rect.x + margin, top, right - rect.x - 2 * margin, canvas.px(CAPTION_HEIGHT))
    _caption(canvas, caption, view, position, colours)
    bar_top = rect.y + canvas.px(50)
    bar = pygame.Rect(rect.x + margin, bar_top, rect.width - 2 * margin, rect.bottom - bar_top)
    timeline.draw(canvas, bar, view, position, colours, mouse)
    return Places(caption, spot.inflate(canvas.px(16), canvas.px(24)))  # wide enough for a finger


def _cards_spot(canvas: Canvas, right: int, top: int, *, opened: bool) -> pygame.Rect:
    """Draw the spot that opens the key cards; returns its place."""
    width = canvas.width(CARDS_TITLE, SMALL, bold=True) + canvas.px(22)
    rect = pygame.Rect(right - width, top, width, canvas.px(PILL_HEIGHT))
    canvas.fill(rect, RAISED, radius=5)
    canvas.outline(rect, AMBER if opened else LINE, radius=5)
    y = rect.centery - canvas.line_height(SMALL, bold=True) // 2
    canvas.text(CARDS_TITLE, (rect.centerx, y), SMALL, AMBER if opened else SOFT, bold=True, align="centre")
    return rect


def _caption(canvas: Canvas, rect: pygame.Rect, view: View, position: float, colours: PromptColours) -> None:
    """Draw the prompt of the frame on show and, if another is on its way, that one."""
    span = view.span_at(position)
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


def fitting(canvas: Canvas, pills: Sequence[Pill], room: int) -> list[Pill]:
    """Select the pills that fit into `room` pixels, shortened if need be; the last strong one goes last."""
    left = list(pills)
    if _width(canvas, left) > room:
        left = [replace(pill, text=pill.brief or pill.text) for pill in pills]
    while left and _width(canvas, left) > room:
        left.remove(next((pill for pill in left if not pill.strong), left[0]))
    return left


def _width(canvas: Canvas, pills: Sequence[Pill]) -> int:
    return sum(pill.width(canvas) + pill.gap(canvas) for pill in pills)


def _pills(canvas: Canvas, right: int, top: int, pills: Sequence[Pill]) -> int:
    """Draw remarks from the right; returns their left edge."""
    for pill in pills:
        width = pill.width(canvas)
        rect = pygame.Rect(right - width, top, width, canvas.px(PILL_HEIGHT))
        if pill.strong:
            canvas.fill(rect, pill.colour, radius=PILL_HEIGHT / 2, alpha=44)
            canvas.outline(rect, pill.colour, radius=PILL_HEIGHT / 2)
        y = rect.centery - canvas.line_height(SMALL, bold=pill.strong) // 2
        canvas.text(pill.text, (rect.centerx, y), SMALL, pill.colour, bold=pill.strong, align="centre")
        right = rect.x - pill.gap(canvas)
    return right


def pills_of(view: View | None, playback: Playback, now: float, *, waiting: bool) -> list[Pill]:
    """Return the remarks on the right of the dock, from the right.

    Args:
        view: view of the world in play; None while it loads.
        playback: playback of its frames.
        now: time in seconds.
        waiting: whether the newest prompt's first frame has yet to come.
    """
    if view is None:
        return []
    time = clock(view.pace.seconds(playback.position))
    pills = [Pill(f"{time}  ·  seed {view.seed}", DIM, brief=time)]
    if (score := view.score) is not None:
        tint = LEAF if score.points >= 0 else CORAL
        pills.append(Pill(f"{score.points} of {score.possible} points", tint, True, f"{score.points} points"))
    if waiting:
        pills.append(Pill("changing…", AMBER))
    elif (latency_s := playback.latency_s) is not None:
        pills.append(Pill(f"{latency_s:.2f} s to the picture", SOFT, brief=f"{latency_s:.2f} s"))
    if view.recache != "full":
        pills.append(Pill(f"recache {view.recache}", CORAL, True))
    if view.seat == "agent":
        pills.append(Pill("the agent thinks…" if view.thinking else "agent", TEAL, True, "agent"))
    made = playback.clock.speed(now)
    if made is not None and playback.clock.slow(now) and not playback.paused:
        slow = f"slow motion · the model makes {made:.0f} of {view.config.fps} FPS"
        pills.append(Pill(slow, CORAL, True, "slow motion"))
    if playback.paused:
        pills.append(Pill("paused", AMBER, True))
    if view.recording is not None:
        pills.append(Pill("● REC", CORAL, True))
    return pills
