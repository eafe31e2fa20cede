"""Playable video worlds: a text prompt is an action, and one step generates one block of frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longlive_env.engine.rollout import Rollout, World

__all__ = ["Rollout", "World"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from longlive_env.engine import rollout  # torch loads when a world is first wanted

        return getattr(rollout, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
