"""The viewer: a world played at a keyboard. Its window needs pygame-ce; the layers below do not."""

from __future__ import annotations

from longlive_env.errors import MissingExtraError


def require_pygame() -> None:
    """Check that a window can be made.

    Raises:
        MissingExtraError: pygame-ce is not installed.
    """
    try:
        import pygame
    except ImportError as error:
        raise MissingExtraError.of("the viewer needs pygame-ce", "viewer") from error
    if not getattr(pygame, "IS_CE", False):
        raise MissingExtraError(
            "the viewer needs pygame-ce, and pygame is installed, which has the same name; exchange them "
            "with: pip uninstall --yes pygame && pip install --force-reinstall pygame-ce"
        )
