"""The desktop's clipboard, or a private one if there is none."""

from __future__ import annotations

import logging

import pygame

logger = logging.getLogger(__name__)


class Clipboard:
    """Copies and pastes text."""

    def __init__(self) -> None:
        self._own = ""

    def put(self, text: str) -> None:
        """Copy a text."""
        self._own = text
        try:
            pygame.scrap.put_text(text)
        except pygame.error as error:
            logger.debug("no clipboard of the desktop: %s", error)

    def get(self) -> str:
        """Return the text that was copied last, here or elsewhere."""
        try:
            return pygame.scrap.get_text() or self._own
        except pygame.error as error:
            logger.debug("no clipboard of the desktop: %s", error)
            return self._own
