"""Line editor with cursor, selection, history and completion, independent of any window."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from longlive_env.envs.spaces import is_allowed
from longlive_env.envs.vocabulary import Vocabulary
from longlive_env.viewer.graphemes import place_after, place_before

HISTORY = 100
LONGEST = 4096  # characters of a line
SUGGESTIONS = 6
UNDO_STEPS = 200
_WORD = re.compile(r"\w+")
_TAIL = re.compile(r"\w+$")


@dataclass(frozen=True)
class _State:
    """Text, cursor, and the other end of the selection."""

    text: str
    cursor: int
    anchor: int


class PromptLine:
    """A line being edited.

    Args:
        text: initial text.
        history: earlier lines, oldest first.
        limit: maximum number of characters.

    Attributes:
        limit: maximum number of characters.
    """

    def __init__(self, text: str = "", history: Sequence[str] = (), limit: int = LONGEST) -> None:
        self._state = _State(text, len(text), len(text))
        self.limit = limit
        self._history = [*history]
        self._place = len(self._history)  # index in the history; its end is the line being written
        self._draft = text
        self._undo: list[_State] = []
        self._redo: list[_State] = []

    @property
    def text(self) -> str:
        """The line."""
        return self._state.text

    @property
    def cursor(self) -> int:
        """Position of the cursor: number of characters before it."""
        return self._state.cursor

    @property
    def selection(self) -> tuple[int, int]:
        """Begin and end of the selection; equal if nothing is selected."""
        return tuple(sorted((self._state.cursor, self._state.anchor)))  # type: ignore[return-value]

    @property
    def selected(self) -> str:
        """Selected text."""
        begin, end = self.selection
        return self.text[begin:end]

    def insert(self, text: str) -> int:
        """Type or paste over the selection; line ends become spaces, and disallowed characters are dropped.

        Returns:
            Number of characters at the end that did not fit.
        """
        joined = " ".join(text.splitlines()) if len(text.splitlines()) > 1 else text.rstrip("\r\n")
        clean = "".join(char for char in joined.replace("\t", " ") if is_allowed(char))
        begin, end = self.selection
        room = max(0, self.limit - len(self.text) + (end - begin))
        fitting = clean[:room]
        if fitting or end > begin:
            self._edit(self.text[:begin] + fitting + self.text[end:], begin + len(fitting))
        return len(clean) - len(fitting)

    def replace(self, begin: int, end: int, text: str) -> None:
        """Replace characters `begin` to `end` by `text`."""
        self._edit((self.text[:begin] + text + self.text[end:])[: self.limit], begin + len(text))

    def move(self, to: int, *, select: bool = False) -> None:
        """Set the cursor, never inside what is seen as one character; `select` extends the selection."""
        to = place_before(self.text, max(0, min(to, len(self.text))))
        self._state = _State(self.text, to, self._state.anchor if select else to)

    def left(self, *, word: bool = False, select: bool = False) -> None:
        """Move one character or word left; without `select`, a selection collapses to its beginning."""
        begin, end = self.selection
        if begin < end and not select and not word:
            self.move(begin)
        else:
            self.move(self._word_left() if word else self.cursor - 1, select=select)

    def right(self, *, word: bool = False, select: bool = False) -> None:
        """Move one character or word to the right."""
        begin, end = self.selection
        if begin < end and not select and not word:
            self.move(end)
        else:
            self.move(self._word_right() if word else self._next(), select=select)

    def delete_left(self, *, word: bool = False) -> None:
        """Delete the selection, or a character or word left of the cursor."""
        begin, end = self.selection
        if begin == end:
            begin = self._word_left() if word else place_before(self.text, max(0, begin - 1))
        if begin < end:
            self._edit(self.text[:begin] + self.text[end:], begin)

    def delete_right(self, *, word: bool = False) -> None:
        """Delete the selection, or a character or word right of the cursor."""
        begin, end = self.selection
        if begin == end:
            end = self._word_right() if word else self._next()
        if begin < end:
            self._edit(self.text[:begin] + self.text[end:], begin)

    def select_all(self) -> None:
        """Select the whole line."""
        self._state = _State(self.text, len(self.text), 0)

    def select_word(self, at: int) -> None:
        """Select the word around a place."""
        for match in _WORD.finditer(self.text):
            if match.start() <= at <= match.end():
                self._state = _State(self.text, place_after(self.text, match.end()), match.start())
                return
        self.move(at)

    def cut(self) -> str:
        """Remove and return the selection."""
        text = self.selected
        if text:
            self.delete_left()
        return text

    def undo(self) -> None:
        """Undo the last change."""
        if self._undo:
            self._redo.append(self._state)
            self._state = self._undo.pop()

    def redo(self) -> None:
        """Redo the last undone change."""
        if self._redo:
            self._undo.append(self._state)
            self._state = self._redo.pop()

    def older(self) -> None:
        """Show the previous line of the history."""
        self._recall(self._place - 1)

    def newer(self) -> None:
        """Show the next line of the history; the last is the one being written."""
        self._recall(self._place + 1)

    def _recall(self, place: int) -> None:
        if not 0 <= place <= len(self._history):
            return
        if self._place == len(self._history):
            self._draft = self.text
        self._place = place
        text = self._draft if place == len(self._history) else self._history[place]
        self._edit(text, len(text))

    def _edit(self, text: str, cursor: int) -> None:
        self._undo.append(self._state)
        del self._undo[:-UNDO_STEPS]
        self._redo.clear()
        self._state = _State(text, min(cursor, len(text)), min(cursor, len(text)))

    def _word_left(self) -> int:
        return max((match.start() for match in _WORD.finditer(self.text[: self.cursor])), default=0)

    def _word_right(self) -> int:
        match = _WORD.search(self.text, self.cursor)
        return place_after(self.text, match.end()) if match else len(self.text)

    def _next(self) -> int:
        """Return the place after the next character."""
        return place_after(self.text, min(len(self.text), self.cursor + 1))


def remember(history: list[str], text: str) -> None:
    """Add a line to the end of a history, without duplicates."""
    if text in history:
        history.remove(text)
    history.append(text)
    del history[:-HISTORY]


@dataclass(frozen=True)
class Completion:
    """A possible replacement of characters `begin` to `end`."""

    text: str
    begin: int
    end: int


class Completer:
    """Completes lines with words and phrases of a world.

    Args:
        vocabulary: vocabulary of the world.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        phrases = [phrase for part in vocabulary.phrases.values() for phrase in part]
        names = [value for values in vocabulary.attributes.values() for value in values]
        words = [*vocabulary.subjects, *vocabulary.settings, *names, *sorted(vocabulary.words)]
        self._entries = list(dict.fromkeys([*phrases, *(word for word in words if len(word) > 1)]))
        self._complete = {one.lower() for one in (*phrases, *vocabulary.subjects, *vocabulary.colours)}

    def suggest(self, line: PromptLine) -> list[Completion]:
        """Return completions at the cursor, those that match more of the typed text first."""
        before = line.text[: line.cursor]
        if not _TAIL.search(before) or _continues(line.text, line.cursor):
            return []
        found: dict[str, Completion] = {}
        for begin in _word_begins(before):
            typed = before[begin:].lower()
            complete = typed in self._complete
            for entry in self._entries:
                longer = entry.lower().startswith(typed) and len(entry) > len(typed)
                if longer and not (complete and entry[len(typed)] != " "):
                    found.setdefault(entry, Completion(entry, begin, line.cursor))
            if complete:
                break  # its last words are not the beginning of others
        return list(found.values())[:SUGGESTIONS]


def unknown_spans(text: str, unknown_words: Callable[[str], Iterable[str]]) -> list[tuple[int, int]]:
    """Return begin and end of each word that the world does not know."""
    spans = []
    for word in set(unknown_words(text)):
        for match in re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE):
            spans.append(match.span())
    return sorted(spans)


def _continues(text: str, cursor: int) -> bool:
    """Return whether the cursor is inside a word."""
    return cursor < len(text) and (text[cursor].isalnum() or text[cursor] == "_")


def _word_begins(before: str) -> list[int]:
    """Return where the last few words begin, the earliest first."""
    begins = [match.start() for match in _WORD.finditer(before)]
    return begins[-4:]
