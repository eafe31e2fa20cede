"""Playable video worlds: a text prompt is an action, and one step generates one block of frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longlive_env.engine.rollout import Rollout
    from longlive_env.engine.world import World

    __version__: str

__all__ = ["Rollout", "World", "__version__"]


def __getattr__(name: str) -> Any:
    if name in ("Rollout", "World"):
        from longlive_env.engine import world  # torch loads when a world is first needed

        return getattr(world, name)
    if name == "__version__":
        from importlib import metadata

        try:
            return metadata.version("longlive_env")
        except metadata.PackageNotFoundError:  # imported from a checkout that is not installed
            return "0+unknown"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


try:
    import gymnasium  # noqa: F401
except ImportError:  # the engine and its training also work where Gymnasium is absent
    pass
else:
    from longlive_env.envs import register_envs

    register_envs()
