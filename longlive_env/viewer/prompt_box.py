"""The text box for prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pygame

from longlive_env.envs.spaces import is_allowed
from longlive_env.envs.vocabulary import Vocabulary
from longlive_env.viewer.canvas import Canvas
from longlive_env.viewer.clipboard import Clipboard
from longlive_env.viewer.prompt_line import LONGEST, Completer, Completion, PromptLine, unknown_spans
from longlive_env.viewer.ruler import Ruler
from longlive_env.viewer.theme import AMBER, CORAL, DIM, LINE, RADIUS, RAISED, SMALL, SOFT, TEXT, Colour

TEXT_SIZE = 20
HEIGHT = 46
ROW = 28
PADDING = 16
COMMANDS = tuple("acxvzyu")  # keys that edit together with Ctrl
HINTS = ("Enter asks for it", "Esc or a click outside leaves", "Tab completes", "↑ ↓ earlier prompts")


class PromptBox:
    """A prompt being written.

    Args:
        text: initial text.
        history: earlier prompts, oldest first.
        vocabulary: vocabulary of the world, for completion and for words that are nearly known.
        unknown_words: function that returns the words of a text that the world does not know.
        completed: function that returns the whole prompt that a text stands for.
        clipboard: clipboard to copy to and paste from.
        hint: a further hint below the line; "" for none.
        limit: maximum number of characters.

    Attributes:
        line: line being edited.
        error: why the prompt was refused or cut, if it was.
        composed: text that an input method is composing, in place of the selection.
        caret: area of the text being composed, or of the cursor, as drawn last.
    """

    def __init__(
        self,
        text: str,
        history: Sequence[str],
        vocabulary: Vocabulary,
        unknown_words: Callable[[str], Sequence[str]],
        completed: Callable[[str], str],
        clipboard: Clipboard,
        hint: str = "",
        limit: int = LONGEST,
    ) -> None:
        self.line = PromptLine(text, history, limit)
        self.line.select_all()
        self.error = ""
        self.composed = ""
        self.caret = pygame.Rect(0, 0, 0, 0)
        self._panel: pygame.Rect | None = None  # as drawn last
        self._offers: list[tuple[pygame.Rect, Completion]] = []  # suggestions, where they were drawn
        self._unknown_words, self._completed = unknown_words, completed
        self._clipboard = clipboard
        self._hint = "   ·   ".join(filter(None, [*HINTS, hint]))
        self._completer = Completer(vocabulary)
        self._nearest = vocabulary.nearest
        self._first_shown = 0  # pixels scrolled out of view
        self._text_x = 0
        self._ruler: Ruler | None = None  # of the text drawn last
        self._unknown: tuple[str, list[tuple[int, int]]] = "", []  # a text, and their places in it

    @property
    def suggestions(self) -> list[Completion]:
        """Completions of the line; Tab takes the first."""
        return [] if self.composed else self._completer.suggest(self.line)

    @property
    def unknown_spans(self) -> list[tuple[int, int]]:
        """The places of words that the world does not know, without one that is still being typed."""
        if self._unknown[0] != self.line.text:
            self._unknown = self.line.text, unknown_spans(self.line.text, self._unknown_words)
        writing = self.line.cursor if self.suggestions else -1
        return [span for span in self._unknown[1] if span[1] != writing]

    def type(self, text: str) -> None:
        """Text from the keyboard."""
        self._changed()
        self._insert(text)

    def compose(self, text: str) -> None:
        """Text that an input method is composing; empty when it is done."""
        self.composed = "".join(filter(is_allowed, text))[:LONGEST]

    def press(self, key: str, *, ctrl: bool, shift: bool) -> bool:
        """Handle an editing key; returns whether it did anything."""
        line = self.line
        if ctrl and key in COMMANDS:
            self._changed()
            self._command(key)
            return True
        moves: dict[str, Callable[[], None]] = {
            "left": lambda: line.left(word=ctrl, select=shift),
            "right": lambda: line.right(word=ctrl, select=shift),
            "home": lambda: line.move(0, select=shift),
            "end": lambda: line.move(len(line.text), select=shift),
            "backspace": lambda: line.delete_left(word=ctrl),
            "delete": lambda: line.delete_right(word=ctrl),
            "up": line.older,
            "down": line.newer,
            "tab": self._complete,
        }
        if key not in moves:
            return False
        moves[key]()
        self._changed()
        return True

    def holds(self, point: tuple[int, int]) -> bool:
        """Return whether a point is on the box or its suggestions."""
        own = [rect for rect, _ in self._offers]
        return self._panel is None or any(rect.collidepoint(point) for rect in [self._panel, *own])

    def accept(self, point: tuple[int, int]) -> bool:
        """Take the suggestion under a point; returns whether there was one."""
        one = next((one for rect, one in self._offers if rect.collidepoint(point)), None)
        if one is not None and one in self.suggestions:
            self.line.replace(one.begin, one.end, one.text)
            self._changed()
        return one is not None

    def click(self, x: int, *, select: bool = False, word: bool = False) -> None:
        """Put the cursor under the mouse, at `x` pixels."""
        if self._ruler is None or self.composed:
            return
        nearest = self._ruler.nearest(x - self._text_x + self._first_shown)
        if word:
            self.line.select_word(nearest)
        else:
            self.line.move(nearest, select=select)

    def draw(self, canvas: Canvas, area: pygame.Rect, blink: bool) -> None:
        """Draw above the bottom of `area`; `blink` says whether the cursor is visible."""
        width = min(area.width - canvas.px(40), canvas.px(1040))
        box = pygame.Rect(0, 0, width, canvas.px(HEIGHT))
        box.midbottom = (area.centerx, area.bottom - canvas.px(48))
        sheet = box.union(box.move(0, canvas.px(30)))
        self._panel = sheet.inflate(canvas.px(20), canvas.px(18))
        canvas.panel(self._panel, alpha=246)
        canvas.fill(box, RAISED, radius=RADIUS)
        canvas.outline(box, CORAL if self.error else AMBER, radius=RADIUS, width=1.5)
        self._draw_text(canvas, box.inflate(-2 * canvas.px(PADDING), 0), blink)
        text, colour = self._told()
        canvas.text(text, (box.x + canvas.px(4), box.bottom + canvas.px(9)), SMALL, colour, width=box.width)
        self._draw_suggestions(canvas, box)

    def _told(self) -> tuple[str, Colour]:
        """What is said below the line, and in which colour."""
        if self.error:
            return self.error, CORAL
        text = self.line.text
        unknown = dict.fromkeys(text[slice(*span)].lower() for span in self.unknown_spans)
        named = (f"{word} ({near}?)" if (near := self._nearest(word)) else word for word in unknown)
        told = [f"the world does not know: {', '.join(named)}"] if unknown else []
        if text.strip() and (whole := self._completed(text)) != text:
            told.append(f"this means: {whole}")
        if told:
            return "   ·   ".join(told), CORAL if unknown else SOFT
        return self._hint, DIM

    def _insert(self, text: str) -> None:
        left_out = self.line.insert(text)
        if left_out:
            self.error = (
                f"{left_out} characters are left out; a prompt of this world has {self.line.limit} at most"
            )

    def _command(self, key: str) -> None:
        line = self.line
        if key == "a":
            line.select_all()
        elif key == "c":
            if line.selected:
                self._clipboard.put(line.selected)
        elif key == "x":
            if line.selected:
                self._clipboard.put(line.cut())
        elif key == "v":
            self._insert(self._clipboard.get())
        elif key == "z":
            line.undo()
        elif key == "y":
            line.redo()
        elif key == "u":
            line.replace(0, line.cursor, "")

    def _complete(self) -> None:
        suggestions = self.suggestions
        if suggestions:
            one = suggestions[0]
            self.line.replace(one.begin, one.end, one.text)

    def _changed(self) -> None:
        self.error = ""

    def _ruler_of(self, canvas: Canvas) -> Ruler:
        """Return the ruler for the text on show."""
        text = self._shown()
        if self._ruler is None or not self._ruler.measures(canvas, text):
            self._ruler = Ruler(canvas, text, TEXT_SIZE)
        return self._ruler

    def _shown(self) -> str:
        """Return the line with what is being composed in it."""
        begin, end = self.line.selection
        text = self.line.text
        return text[:begin] + self.composed + text[end:] if self.composed else text

    def _draw_text(self, canvas: Canvas, rect: pygame.Rect, blink: bool) -> None:
        line, ruler = self.line, self._ruler_of(canvas)
        height = canvas.line_height(TEXT_SIZE)
        top = rect.centery - height // 2
        text, composing = self._shown(), (line.selection[0], line.selection[0] + len(self.composed))
        cursor = ruler.offset(composing[1] if self.composed else line.cursor)
        room = rect.width - canvas.px(4)
        self._first_shown = max(min(self._first_shown, cursor), cursor - room)
        self._text_x = rect.x
        x = rect.x - self._first_shown
        clip = canvas.surface.get_clip()
        canvas.surface.set_clip(rect.inflate(canvas.px(4), 0))
        shown, end = ruler.between(self._first_shown, self._first_shown + rect.width)
        marked = composing if self.composed else line.selection
        left, right = (x + ruler.offset(min(max(place, shown), end)) for place in marked)
        self.caret = pygame.Rect(left, top, max(right - left, canvas.px(2)), height)
        if right > left and not self.composed:
            canvas.fill(self.caret, AMBER, radius=2, alpha=70)
        if text:
            canvas.text(text[shown:end], (x + ruler.offset(shown), top), TEXT_SIZE)
        else:
            canvas.text("describe who does what, where", (x, top), TEXT_SIZE, DIM)
        suggestions = self.suggestions
        if suggestions and line.cursor == len(line.text):
            one = suggestions[0]
            rest = one.text[line.cursor - one.begin :]
            canvas.text(rest, (x + cursor, top), TEXT_SIZE, DIM)
        if self.composed:
            under = pygame.Rect(left, self.caret.bottom - canvas.px(2), self.caret.width, canvas.px(2))
            canvas.fill(under, TEXT)
        for first, last in self.unknown_spans if not self.composed else ():
            if first < end and last > shown:
                wave = ruler.offset(max(first, shown)), ruler.offset(min(last, end))
                _underline(canvas, x + wave[0], x + wave[1], top + height - canvas.px(3))
        if blink:
            canvas.fill(
                pygame.Rect(x + cursor, top + canvas.px(2), canvas.px(2), height - canvas.px(4)), AMBER
            )
        canvas.surface.set_clip(clip)

    def _draw_suggestions(self, canvas: Canvas, box: pygame.Rect) -> None:
        suggestions, self._offers = self.suggestions, []
        if not suggestions:
            return
        row = canvas.px(ROW)
        width = max(canvas.width(one.text, 16) for one in suggestions) + canvas.px(64)
        begin = self._ruler_of(canvas).offset(suggestions[0].begin) - self._first_shown
        sheet = pygame.Rect(0, 0, width, row * len(suggestions) + canvas.px(10))
        sheet.bottomleft = (box.x + canvas.px(PADDING) + max(0, begin), box.y - canvas.px(14))
        sheet.clamp_ip(canvas.surface.get_rect())
        canvas.panel(sheet, alpha=250)
        for place, one in enumerate(suggestions):
            rect = pygame.Rect(
                sheet.x + canvas.px(5), sheet.y + canvas.px(5) + place * row, width - canvas.px(10), row
            )
            self._offers.append((rect, one))
            chosen = place == 0
            if chosen:
                canvas.fill(rect, LINE, radius=5)
                canvas.text(
                    "Tab", (rect.right - canvas.px(8), rect.y + canvas.px(6)), 12, SOFT, align="right"
                )
            canvas.text(
                one.text, (rect.x + canvas.px(9), rect.y + canvas.px(4)), 16, TEXT if chosen else SOFT
            )


def _underline(canvas: Canvas, begin: int, end: int, y: int) -> None:
    """Draw a wavy line, as under a misspelt word."""
    step = canvas.px(3)
    points = [
        (x, y + (step // 2 if place % 2 else 0)) for place, x in enumerate(range(begin, end + step, step))
    ]
    if len(points) > 1:
        pygame.draw.lines(canvas.surface, CORAL, False, points, canvas.px(1.5))
