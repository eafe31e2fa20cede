"""Where the window is seen: on a screen, or elsewhere."""

from __future__ import annotations

import os
from typing import Protocol

import pygame

from longlive_env.errors import BackendError

UNSEEN = ("dummy", "offscreen", "evdev")  # drivers of SDL that show nothing


class Mirror(Protocol):
    """Where a window is seen that no screen shows."""

    def show(self, surface: pygame.Surface, *, writing: bool) -> None:
        """Show what was drawn; `writing` if a prompt is being written."""
        ...

    def watched(self, timeout_s: float) -> bool:
        """Whether anybody is looking, after waiting for somebody for at most so many seconds."""
        ...


def open_display() -> tuple[int, int]:
    """The size of the desktop, once there is one.

    Raises:
        BackendError: there is none, or one that nobody sees and that was not asked for.
    """
    asked = os.environ.get("SDL_VIDEODRIVER")
    try:
        pygame.display.init()
        desktop: tuple[int, int] = pygame.display.get_desktop_sizes()[0]
        driver = pygame.display.get_driver()
    except (pygame.error, IndexError) as error:
        reason = f"{error}"
    else:
        if asked or driver not in UNSEEN:
            return desktop
        reason = f"SDL has nothing better than its driver {driver!r}"
    pygame.display.quit()
    raise BackendError(
        f"no window can be opened here: {reason}; play where there is a display, in a browser with "
        "longlive play --serve 8000, or record with longlive run"
    )
