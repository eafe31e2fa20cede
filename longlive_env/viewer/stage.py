"""The picture, and the glow that it casts on the wall behind.

Shapes: H rows, W columns.
"""

from __future__ import annotations

import math

import pygame

from longlive_env.frames import Frames
from longlive_env.viewer.canvas import Canvas
from longlive_env.viewer.theme import INK, LINE

GLOW_SIZE = (8, 5)  # pixels of the glow before it is spread
GLOW_STRENGTH = 92  # of 255
GLOW_FRAMES = 4  # frames per glow, which changes slowly and costs more than the picture
MARGIN = 16


def fit(area: pygame.Rect, width: int, height: int) -> pygame.Rect:
    """Return the area of a picture within an area, as large as fits."""
    factor = min(area.width / width, area.height / height)
    rect = pygame.Rect(0, 0, max(1, round(width * factor)), max(1, round(height * factor)))
    rect.center = area.center
    return rect


class Stage:
    """Shows frames, uint8 [H, W, 3].

    Attributes:
        crisp: whether pixels keep sharp edges.
        rect: area of the picture in the window.
    """

    def __init__(self) -> None:
        self.crisp = False
        self.rect = pygame.Rect(0, 0, 0, 0)
        self._picture: pygame.Surface | None = None
        self._glow: pygame.Surface | None = None
        self._wall: pygame.Surface | None = None  # with the glow and the picture's shadow
        self._wall_of: tuple[object, ...] = ()  # parameters it was drawn for
        self._frames = 0  # shown so far

    def show(self, frame: Frames) -> None:
        """Take a new frame."""
        height, width = frame.shape[:2]
        self._picture = pygame.image.frombuffer(frame.tobytes(), (width, height), "RGB").convert(32)
        small = pygame.transform.smoothscale(self._picture, GLOW_SIZE)
        if self._glow is None:
            self._glow = small
        else:  # slowly, so that it does not flicker
            small.set_alpha(48)
            self._glow.blit(small, (0, 0))
        self._frames += 1

    def draw(self, canvas: Canvas, area: pygame.Rect) -> None:
        """Draw into an area of the window, on a wall lit by the picture."""
        if self._picture is None or self._glow is None:
            self.draw_alone(canvas, area)
            return
        margin = canvas.px(MARGIN)
        inner = area.inflate(-2 * margin, -2 * margin)
        self.rect = fit(inner if min(inner.size) > 0 else area, *self._picture.get_size())
        wall_of = (area.size, tuple(self.rect), canvas.scale, self._frames // GLOW_FRAMES)
        if self._wall is None or wall_of != self._wall_of:
            self._draw_wall(canvas, area, self._glow)
            self._wall, self._wall_of = canvas.surface.subsurface(area).copy(), wall_of
        else:
            canvas.surface.blit(self._wall, area)
        self._draw_picture(canvas, self._picture)
        canvas.outline(self.rect, LINE)

    def draw_alone(self, canvas: Canvas, area: pygame.Rect) -> None:
        """Draw into an area of the window, as large as fits, with nothing around it."""
        canvas.surface.fill(INK, area)
        self.rect = area
        if self._picture is not None:
            self.rect = fit(area, *self._picture.get_size())
            self._draw_picture(canvas, self._picture)

    def _draw_picture(self, canvas: Canvas, picture: pygame.Surface) -> None:
        if self.crisp:  # enlarge pixels to squares beyond the target size, then shrink smoothly
            factor = math.ceil(self.rect.width / picture.get_width())
            picture = pygame.transform.scale_by(picture, factor)
        canvas.surface.blit(pygame.transform.smoothscale(picture, self.rect.size), self.rect)

    def _draw_wall(self, canvas: Canvas, area: pygame.Rect, glow: pygame.Surface) -> None:
        """Draw the wall behind the picture."""
        canvas.surface.fill(INK, area)
        light = pygame.transform.smoothscale(glow, area.size)
        light.set_alpha(GLOW_STRENGTH)
        canvas.surface.blit(light, area)
        for spread, strength in ((14, 22), (8, 30), (3, 46)):
            canvas.fill(self.rect.inflate(*[2 * canvas.px(spread)] * 2), INK, radius=spread, alpha=strength)
