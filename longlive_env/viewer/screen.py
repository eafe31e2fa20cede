"""Layout and drawing of everything in the window, from the picture up to the messages."""

from __future__ import annotations

from dataclasses import dataclass

import pygame

from longlive_env.viewer import panels
from longlive_env.viewer.bindings import Bindings
from longlive_env.viewer.canvas import Canvas, Typeface
from longlive_env.viewer.cards import Sheet, draw_cards
from longlive_env.viewer.controls import Open
from longlive_env.viewer.dock import Pill, Places, draw_dock
from longlive_env.viewer.eyes import Sighting
from longlive_env.viewer.help_sheet import HelpSheet
from longlive_env.viewer.prompt_box import PromptBox
from longlive_env.viewer.series import Statistics
from longlive_env.viewer.stage import Stage
from longlive_env.viewer.stats_panel import draw_stats
from longlive_env.viewer.steering import Steering
from longlive_env.viewer.theme import DOCK, DOCK_HEIGHT, INK, PromptColours
from longlive_env.viewer.timeline import Timeline
from longlive_env.viewer.view import View

BLINK_S = 0.53


@dataclass(frozen=True)
class Scene:
    """Everything that is to be drawn.

    Attributes:
        now: time in seconds, for animations.
        view: view of the world in play; None while it loads.
        position: position of the frame on show, in blocks.
        wanted: prompt that was requested last.
        pills: remarks on the right of the dock.
        busy: what takes a while, if anything.
        failure: what has stopped the world, if anything.
        open: panels open over the picture.
        box: prompt box being written in, if any.
        bindings: bindings of keys to actions.
        steering: prompt changes by key; None while the world loads.
        statistics: recent statistics.
        seen: what the probe sees in the block on show, by attribute.
        gamepad: whether there is a gamepad.
        hints: visibility of the first key hints, from 0 to 1.
        messages: text of each message, whether it reports an error, and its visibility.
        mouse: position of the mouse, if it is over the window.
    """

    now: float
    view: View | None
    position: float
    wanted: str
    pills: list[Pill]
    busy: str | None
    failure: str | None
    open: Open
    box: PromptBox | None
    bindings: Bindings
    steering: Steering | None
    statistics: Statistics
    seen: tuple[Sighting, ...]
    gamepad: bool
    hints: float
    messages: list[tuple[str, bool, float]]
    mouse: tuple[int, int] | None


class Screen:
    """Draws scenes.

    Attributes:
        stage: stage with the picture.
        timeline: timeline, which finds what is under the mouse.
        places: clickable places above the timeline.
    """

    def __init__(self) -> None:
        self.stage = Stage()
        self.timeline = Timeline()
        self.places = Places.nowhere()
        self._sheets: list[Sheet] = []  # panels over the picture, topmost last
        self._help = HelpSheet()
        self._typeface = Typeface()
        self._colours = PromptColours()

    def draw(self, surface: pygame.Surface, scene: Scene, scale: float = 1.0) -> None:
        """Draw the whole `surface`, with `scale` pixels per unit."""
        canvas = Canvas(surface, self._typeface, scale)
        whole = surface.get_rect()
        area = self._draw_picture(canvas, whole, scene)
        self._sheets = []
        self._draw_sheets(canvas, area, scene)
        if scene.box is not None:
            scene.box.draw(canvas, area, blink=scene.now % (2 * BLINK_S) < BLINK_S)
        if scene.failure is not None:
            self._sheets.append(panels.draw_failure(canvas, area, scene.failure, _advice(scene)))
        if scene.open.help and scene.steering is not None:
            self._help.draw(canvas, whole, scene.bindings, scene.steering, gamepad=scene.gamepad)
        panels.draw_messages(canvas, area, scene.messages)

    def sheet_at(self, point: tuple[int, int]) -> Sheet | None:
        """Return the topmost panel under a point."""
        return next((sheet for sheet in reversed(self._sheets) if sheet.rect.collidepoint(point)), None)

    def _draw_picture(self, canvas: Canvas, whole: pygame.Rect, scene: Scene) -> pygame.Rect:
        """Draw the picture with its dock, or alone; returns the area left for panels and messages."""
        canvas.surface.fill(INK)
        if not scene.open.dock or whole.height <= canvas.px(DOCK_HEIGHT):
            self.places = Places.nowhere()
            self.timeline.hide()
            self.stage.draw_alone(canvas, whole)
            return whole
        area = pygame.Rect(0, 0, whole.width, whole.height - canvas.px(DOCK_HEIGHT))
        self.stage.draw(canvas, area)
        self._draw_dock(canvas, pygame.Rect(0, area.bottom, whole.width, whole.bottom - area.bottom), scene)
        return area

    def _draw_dock(self, canvas: Canvas, rect: pygame.Rect, scene: Scene) -> None:
        if scene.view is None:
            canvas.surface.fill(DOCK, rect)
            return
        self.places = draw_dock(
            canvas,
            rect,
            scene.view,
            scene.position,
            scene.pills,
            self.timeline,
            self._colours,
            _free_mouse(scene),
            cards=scene.open.cards,
        )

    def _draw_sheets(self, canvas: Canvas, area: pygame.Rect, scene: Scene) -> None:
        if scene.view is not None and scene.steering is not None:
            if scene.open.cards:
                bindings, steering, score = scene.bindings, scene.steering, scene.view.score
                mouse = _free_mouse(scene)
                self._sheets.append(draw_cards(canvas, area, bindings, steering, scene.wanted, score, mouse))
            if scene.open.stats:
                stats, seen = scene.statistics, scene.seen
                self._sheets.append(draw_stats(canvas, area, scene.view, stats, seen, self._colours))
        if scene.busy is not None:
            panels.draw_busy(canvas, area, scene.busy, scene.now, whole=scene.view is None)
        elif scene.hints > 0 and scene.steering is not None and _shows_picture_alone(scene):
            panels.draw_hints(canvas, area, scene.bindings, scene.steering, scene.hints)


def _free_mouse(scene: Scene) -> tuple[int, int] | None:
    """Return the mouse position, if it is over the window and nothing has captured it."""
    return scene.mouse if scene.box is None and not scene.open.help else None


def _shows_picture_alone(scene: Scene) -> bool:
    """Return whether nothing that was opened is over the picture, above the dock."""
    opened = scene.open
    return opened.dock and not (opened.cards or opened.stats or opened.help) and scene.box is None


def _advice(scene: Scene) -> str:
    first = scene.bindings.first
    if scene.view is None:
        return f"{first('quit')} quits"
    return f"{first('rewind_block')} goes back one block, {first('reset')} starts anew"
