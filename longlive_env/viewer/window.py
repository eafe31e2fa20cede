"""The window: its size in points and pixels, full screen, and screenshots."""

from __future__ import annotations

import os

import pygame
from PIL import Image

from longlive_env.viewer.display import Mirror, open_display
from longlive_env.viewer.options import Options
from longlive_env.viewer.scaling import PREPARED, SMALLEST_WINDOW, Size, opening_size


class Window:
    """The window that everything is drawn on.

    Args:
        options: options of the viewer.
        mirror: mirror that shows the window instead of this screen; None for this screen.
    """

    def __init__(self, options: Options, mirror: Mirror | None) -> None:
        self.fullscreen = options.fullscreen
        self._options = options
        self._mirror = mirror
        self._density = 1.0  # of the screen that shows the mirror
        for name, value in PREPARED.items():
            os.environ.setdefault(name, value)
        desktop = open_display()
        self._factor = options.ui_scale.on(desktop, pygame.display.get_driver(), os.environ)
        self._window = pygame.Window(
            options.title,
            options.size or opening_size(desktop, self._factor),
            resizable=True,
            allow_high_dpi=True,
            fullscreen_desktop=self.fullscreen,
        )
        self._window.minimum_size = SMALLEST_WINDOW

    @property
    def size(self) -> Size:
        """Width and height in points."""
        width, height = self._window.size
        return width, height

    @size.setter
    def size(self, size: Size) -> None:
        self._window.size = size

    def surface(self) -> pygame.Surface:
        """The surface to draw on, in pixels."""
        return self._window.get_surface()

    def scale(self) -> float:
        """Pixels per unit of the layout."""
        surface = self.surface()
        density = self._density * self._factor * surface.get_width() / self.size[0]
        return self._options.ui_scale.pixels(surface.get_size(), density)

    def pixel(self, point: tuple[int, int]) -> tuple[int, int]:
        """Return the pixel at a point; the two differ on dense screens."""
        surface, size = self.surface(), self.size
        return (
            round(point[0] * surface.get_width() / size[0]),
            round(point[1] * surface.get_height() / size[1]),
        )

    def points(self, rect: pygame.Rect) -> pygame.Rect:
        """Return an area in points; see `pixel`."""
        share = self.size[0] / self.surface().get_width()
        return pygame.Rect(*(round(length * share) for length in rect))

    def show(self, *, writing: bool) -> None:
        """Present what was drawn; `writing` says whether a prompt is being written."""
        self._window.flip()
        if self._mirror is not None:
            self._mirror.show(self.surface(), writing=writing)

    def fit(self, size: Size, density: float) -> None:
        """Resize to the mirror, whose screen has `density` pixels per ordinary pixel."""
        self.size, self._density = size, density

    def toggle_fullscreen(self) -> bool:
        """Enter or leave full screen; returns whether the window can do so."""
        if self._mirror is not None:
            return False
        self.fullscreen = not self.fullscreen
        if self.fullscreen:
            self._window.set_fullscreen(True)
        else:
            self._window.set_windowed()
        return True

    def picture(self) -> Image.Image:
        """Return a picture of what was drawn last."""
        surface = self.surface()
        return Image.frombytes("RGB", surface.get_size(), pygame.image.tobytes(surface, "RGB"))

    def hide(self) -> None:
        """Hide the window."""
        self._window.hide()

    def close(self) -> None:
        """Close the display."""
        self._window.destroy()
        pygame.display.quit()
