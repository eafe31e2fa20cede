"""The window of `render_mode="human"`."""

from __future__ import annotations

from typing import Any

from longlive_env.errors import MissingExtraError
from longlive_env.frames import Frames

LARGEST = (800, 1280)  # maximum rows and columns of a window; fits small screens
COMFORTABLE_HEIGHT = 384  # small worlds are enlarged by a whole factor to at least this many pixels


def _pygame() -> Any:
    try:
        import pygame
    except ImportError as error:
        raise MissingExtraError.of("render_mode 'human' needs pygame-ce", "viewer") from error
    return pygame


def enlargement(height: int) -> int:
    """Return the whole factor by which frames of this height are enlarged for viewing."""
    return max(1, round(COMFORTABLE_HEIGHT / height))


def shown_size(height: int, width: int) -> tuple[int, int]:
    """Return rows and columns of a picture in a window: enlarged by a whole factor, or shrunk to fit."""
    scale = min(enlargement(height), LARGEST[0] / height, LARGEST[1] / width)
    return max(1, int(height * scale)), max(1, int(width * scale))


class Window:
    """Shows frames in real time; pictures too large for the screen are shrunk to fit.

    Args:
        height: pixel rows of a frame.
        width: pixel columns of a frame.
        fps: frames per second.

    Raises:
        MissingExtraError: pygame-ce is not installed.
    """

    def __init__(self, height: int, width: int, fps: int) -> None:
        self._pygame = _pygame()
        rows, columns = shown_size(height, width)
        self._size = (columns, rows)
        shrunk = columns < width  # plain scaling would drop pixels
        self._scale = self._pygame.transform.smoothscale if shrunk else self._pygame.transform.scale
        self._clock = self._pygame.time.Clock()
        self._fps = fps

    def __deepcopy__(self, memo: dict[int, object]) -> None:
        return None  # a copy of an env opens its own window

    def show(self, frames: Frames, caption: str) -> None:
        """Show `frames` [T, H, W, 3] one after the other under the title `caption`."""
        screen = self._screen()
        self._pygame.display.set_caption(caption)
        for frame in frames:
            self._pygame.event.pump()
            surface = self._pygame.surfarray.make_surface(frame.swapaxes(0, 1))
            screen.blit(self._scale(surface, self._size), (0, 0))
            self._pygame.display.flip()
            self._clock.tick(self._fps)

    def close(self) -> None:
        """Close the window; closing twice is harmless."""
        self._pygame.display.quit()

    def _screen(self) -> Any:
        """The surface to draw on. pygame has one window, which another env may have closed or resized."""
        display = self._pygame.display
        if not display.get_init():
            display.init()
        screen = display.get_surface()
        return screen if screen and screen.get_size() == self._size else display.set_mode(self._size)
