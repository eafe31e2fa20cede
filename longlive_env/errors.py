"""Errors that users see. Each message states what was given, what was expected, and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

OUT_OF_MEMORY = (
    "the device has no memory left; end other programs on it, or name a smaller --memory (such as 24, 12 or "
    "8), which arranges the world for it"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device ran out of memory, by the name of torch's error: nothing here imports torch."""
    return type(error).__name__ == "OutOfMemoryError"


def did_you_mean(got: object, known: Iterable[str], otherwise: str) -> str:
    """The remedy for an unknown name: the nearest known name, or else what lists the known ones."""
    near = difflib.get_close_matches(str(got), list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else otherwise


class LongLiveError(Exception):
    """Base of every error that longlive_env raises on purpose; the command line prints it as one line."""


class ConfigError(LongLiveError, ValueError):
    """A configuration value or name is invalid or unknown."""


class BackendError(LongLiveError, RuntimeError):
    """An optional backend was asked for by name and is absent or cannot run the request."""


class WeightsError(LongLiveError, RuntimeError):
    """Weights are missing, incomplete or of the wrong shape."""


class DownloadError(LongLiveError, RuntimeError):
    """Published weights cannot be downloaded: no connection, permission or room, or wrong content."""


class SnapshotError(LongLiveError, ValueError):
    """A snapshot is damaged, of another version, or of another world."""


class TrainingError(LongLiveError, RuntimeError):
    """Training cannot continue."""


class CheckpointError(LongLiveError, RuntimeError):
    """A checkpoint is missing, damaged, or of another model or stage."""


class PromptError(LongLiveError, ValueError):
    """A prompt has the wrong type, is too long, or holds characters that no prompt may hold."""


class ScenarioError(LongLiveError, ValueError):
    """A scenario file or a prompt list is missing, misspelt or impossible to play."""


class RecordingError(LongLiveError, ValueError):
    """A recording or its action log cannot be written, read or replayed."""


def install_hint(extra: str) -> str:
    """How to install an extra, in any shell; no package index has this package yet."""
    return f'in a checkout of longlive_env run: pip install -e ".[{extra}]"'


class MissingExtraError(LongLiveError, ImportError):
    """A request needs an optional dependency that is not installed."""

    @classmethod
    def of(cls, need: str, extra: str) -> MissingExtraError:
        """The error for a need, such as "datasets need Minari", and the extra that meets it."""
        return cls(f"{need}, which is not installed; {install_hint(extra)}")


class VerificationError(LongLiveError, ValueError):
    """A folder of recorded reference outputs is missing or holds no cases."""


class AgentError(LongLiveError, ValueError):
    """An agent is unknown, cannot be made, or cannot continue."""
