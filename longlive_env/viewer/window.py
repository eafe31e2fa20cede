"""The window itself: its sizes in points and in pixels, full screen, and pictures of it."""

from __future__ import annotations

import os
from pathlib import Path

import pygame

from longlive_env.viewer.display import Mirror, open_display
from longlive_env.viewer.options import Options
from longlive_env.viewer.scaling import PREPARED, Size, opening_size

SMALLEST = (480, 300)  # points


class Window:
    """What everything is drawn on.

    Args:
        options: of the viewer.
        mirror: where the window is seen instead of on this screen; None for here.
    """

    def __init__(self, options: Options, mirror: Mirror | None) -> None:
        self.fullscreen = options.fullscreen
        self._options = options
        self._mirror = mirror
        self._density = 1.0  # of the screen that a mirror is seen on
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
        self._window.minimum_size = SMALLEST

    @property
    def size(self) -> Size:
        """Width and height in points."""
        width, height = self._window.size
        return width, height

    @size.setter
    def size(self, size: Size) -> None:
        self._window.size = size

    def surface(self) -> pygame.Surface:
        """What is drawn on, in pixels."""
        return self._window.get_surface()

    def scale(self) -> float:
        """Pixels to a unit of the layout."""
        surface = self.surface()
        density = self._density * self._factor * surface.get_width() / self.size[0]
        return self._options.ui_scale.pixels(surface.get_size(), density)

    def pixel(self, point: tuple[int, int]) -> tuple[int, int]:
        """The pixel at a point; the two differ on dense screens."""
        surface, size = self.surface(), self.size
        return (
            round(point[0] * surface.get_width() / size[0]),
            round(point[1] * surface.get_height() / size[1]),
        )

    def show(self, *, writing: bool) -> None:
        """Let everybody see what was drawn; `writing` if a prompt is being written."""
        self._window.flip()
        if self._mirror is not None:
            self._mirror.show(self.surface(), writing=writing)

    def fit(self, size: Size, density: float) -> None:
        """Become as large as the mirror, whose screen has so many pixels for one of an ordinary screen."""
        self.size, self._density = size, density

    def toggle_fullscreen(self) -> bool:
        """Fill the screen, or no longer; whether that is the window's to do."""
        if self._mirror is not None:
            return False
        self.fullscreen = not self.fullscreen
        if self.fullscreen:
            self._window.set_fullscreen(True)
        else:
            self._window.set_windowed()
        return True

    def save(self, path: Path) -> None:
        """Write a picture of what was drawn last.

        Raises:
            OSError: it cannot be written.
            pygame.error: the same.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        pygame.image.save(self.surface(), str(path))

    def hide(self) -> None:
        """Be seen no more."""
        self._window.hide()

    def close(self) -> None:
        """Leave the display."""
        self._window.destroy()
        pygame.display.quit()
