"""Messages that appear for a while."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

SECONDS, SECONDS_WRONG, FADE_S = 3.2, 7.0, 0.3
SECONDS_NOTE = 9.0  # for texts that take longer to read
MOST = 4


class Tell(Protocol):
    """Shows a message."""

    def __call__(self, text: str, *, wrong: bool = False) -> None:
        """Show `text`; `wrong` if something did not work."""
        ...


@dataclass(frozen=True)
class _Message:
    text: str
    wrong: bool
    until: float

    def strength(self, now: float) -> float:
        return max(0.0, min(1.0, (self.until - now) / FADE_S))


class Messages:
    """The newest messages, each shown for as long as it takes to read."""

    def __init__(self) -> None:
        self._messages: list[_Message] = []

    def add(self, text: str, now: float, *, wrong: bool = False, seconds: float | None = None) -> None:
        """Show a message for the usual time or for `seconds`; repeating a message extends it."""
        until = now + (seconds or (SECONDS_WRONG if wrong else SECONDS))
        self._messages = [one for one in self._messages if one.text != text]
        self._messages.append(_Message(text, wrong, until))
        del self._messages[:-MOST]

    def shown(self, now: float) -> list[tuple[str, bool, float]]:
        """Return the current messages: text, whether it reports an error, and visibility from 0 to 1."""
        self._messages = [one for one in self._messages if one.strength(now) > 0]
        return [(one.text, one.wrong, one.strength(now)) for one in self._messages]

    def drop_errors(self) -> None:
        """Remove the messages that report errors."""
        self._messages = [one for one in self._messages if not one.wrong]

    def clear(self) -> None:
        """Remove all messages."""
        self._messages.clear()
