"""The text box for prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pygame

from longlive_env.envs.vocabulary import Vocabulary
from longlive_env.viewer.canvas import Canvas
from longlive_env.viewer.clipboard import Clipboard
from longlive_env.viewer.prompt_line import LONGEST, Completer, Completion, PromptLine, unknown_spans
from longlive_env.viewer.ruler import Ruler
from longlive_env.viewer.theme import AMBER, CORAL, DIM, LINE, RADIUS, RAISED, SMALL, SOFT, TEXT

TEXT_SIZE = 20
HEIGHT = 46
ROW = 28
PADDING = 16
COMMANDS = tuple("acxvzyu")  # keys that edit together with Ctrl
HINTS = ("Enter asks for it", "Tab completes", "↑ ↓ earlier prompts", "Esc leaves")


class PromptBox:
    """A prompt being written.

    Args:
        text: initial text.
        history: earlier prompts, oldest first.
        vocabulary: vocabulary of the world, for completion.
        unknown_words: function that returns the words of a text that the world does not know.
        clipboard: clipboard to copy to and paste from.
        hint: a further hint below the line; "" for none.
        limit: maximum number of characters.

    Attributes:
        line: line being edited.
        error: why the prompt was refused or cut, if it was.
    """

    def __init__(
        self,
        text: str,
        history: Sequence[str],
        vocabulary: Vocabulary,
        unknown_words: Callable[[str], Sequence[str]],
        clipboard: Clipboard,
        hint: str = "",
        limit: int = LONGEST,
    ) -> None:
        self.line = PromptLine(text, history, limit)
        self.line.select_all()
        self.error = ""
        self._unknown_words = unknown_words
        self._clipboard = clipboard
        self._hint = "   ·   ".join(filter(None, [*HINTS, hint]))
        self._completer = Completer(vocabulary)
        self._first_shown = 0  # pixels scrolled out of view
        self._text_x = 0
        self._ruler: Ruler | None = None  # of the text drawn last
        self._unknown: tuple[str, list[tuple[int, int]]] = "", []  # a text, and their places in it

    @property
    def suggestions(self) -> list[Completion]:
        """Completions of the line; Tab takes the first."""
        return self._completer.suggest(self.line)

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

    def click(self, x: int, *, select: bool = False, word: bool = False) -> None:
        """Put the cursor under the mouse, at `x` pixels."""
        if self._ruler is None:
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
        canvas.panel(sheet.inflate(canvas.px(20), canvas.px(18)), alpha=246)
        canvas.fill(box, RAISED, radius=RADIUS)
        canvas.outline(box, CORAL if self.error else AMBER, radius=RADIUS, width=1.5)
        self._draw_text(canvas, box.inflate(-2 * canvas.px(PADDING), 0), blink)
        below = (box.x + canvas.px(4), box.bottom + canvas.px(9))
        unknown = dict.fromkeys(self.line.text[slice(*span)].lower() for span in self.unknown_spans)
        if self.error:
            canvas.text(self.error, below, SMALL, CORAL, width=box.width)
        elif unknown:
            words = ", ".join(unknown)
            canvas.text(f"the world does not know: {words}", below, SMALL, CORAL, width=box.width)
        else:
            canvas.text(self._hint, below, SMALL, DIM, width=box.width)
        self._draw_suggestions(canvas, box)

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
        """Return the ruler for the current line."""
        if self._ruler is None or not self._ruler.measures(canvas, self.line.text):
            self._ruler = Ruler(canvas, self.line.text, TEXT_SIZE)
        return self._ruler

    def _draw_text(self, canvas: Canvas, rect: pygame.Rect, blink: bool) -> None:
        line, ruler = self.line, self._ruler_of(canvas)
        height = canvas.line_height(TEXT_SIZE)
        top = rect.centery - height // 2
        cursor = ruler.offset(line.cursor)
        room = rect.width - canvas.px(4)
        self._first_shown = max(min(self._first_shown, cursor), cursor - room)
        self._text_x = rect.x
        x = rect.x - self._first_shown
        clip = canvas.surface.get_clip()
        canvas.surface.set_clip(rect.inflate(canvas.px(4), 0))
        shown, end = ruler.between(self._first_shown, self._first_shown + rect.width)
        left, right = (min(max(place, shown), end) for place in line.selection)
        if right > left:
            begin, width = ruler.offset(left), ruler.offset(right) - ruler.offset(left)
            canvas.fill(pygame.Rect(x + begin, top, width, height), AMBER, radius=2, alpha=70)
        if line.text:
            canvas.text(line.text[shown:end], (x + ruler.offset(shown), top), TEXT_SIZE)
        else:
            canvas.text("describe who does what, where", (x, top), TEXT_SIZE, DIM)
        suggestions = self.suggestions
        if suggestions and line.cursor == len(line.text):
            one = suggestions[0]
            rest = one.text[line.cursor - one.begin :]
            canvas.text(rest, (x + cursor, top), TEXT_SIZE, DIM)
        for first, last in self.unknown_spans:
            if first < end and last > shown:
                wave = ruler.offset(max(first, shown)), ruler.offset(min(last, end))
                _underline(canvas, x + wave[0], x + wave[1], top + height - canvas.px(3))
        if blink:
            canvas.fill(
                pygame.Rect(x + cursor, top + canvas.px(2), canvas.px(2), height - canvas.px(4)), AMBER
            )
        canvas.surface.set_clip(clip)

    def _draw_suggestions(self, canvas: Canvas, box: pygame.Rect) -> None:
        suggestions = self.suggestions
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
