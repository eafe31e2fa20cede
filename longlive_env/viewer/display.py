"""Where the window is shown: on a screen, or elsewhere."""

from __future__ import annotations

import os
from typing import Protocol

import pygame

from longlive_env.errors import BackendError

UNSEEN = ("dummy", "offscreen", "evdev")  # drivers of SDL that show nothing


class Mirror(Protocol):
    """Shows a window elsewhere than on a screen."""

    def show(self, surface: pygame.Surface, *, writing: bool) -> None:
        """Show what was drawn; `writing` says whether a prompt is being written."""
        ...

    def watched(self, timeout_s: float) -> bool:
        """Return whether anybody is watching, waiting up to `timeout_s` seconds for somebody."""
        ...


def open_display() -> tuple[int, int]:
    """Open a display and return the size of the desktop.

    Raises:
        BackendError: there is none, or an invisible one that was not requested.
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
