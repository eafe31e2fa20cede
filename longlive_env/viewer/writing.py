"""Control of the window's prompt box: opening, events, and sending its text."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pygame

from longlive_env.envs.prompts import checked_prompt, prompt_space
from longlive_env.envs.vocabulary import vocabulary_of
from longlive_env.errors import LongLiveError
from longlive_env.viewer import inputs
from longlive_env.viewer.clipboard import Clipboard
from longlive_env.viewer.exchange import Exchange
from longlive_env.viewer.prompt_box import PromptBox
from longlive_env.viewer.prompt_file import PromptFile
from longlive_env.viewer.prompt_line import remember

REPEAT_MS = (400, 40)


class Writing:
    """Opens the box, edits in it, and sends what was written.

    Args:
        exchange: exchange with the world in play.
        ask: function that takes a written prompt.
        file: file in which prompts are kept for later; None keeps none.
        hint: further hint in the box; "" for none.

    Attributes:
        box: open box; None if there is none.
    """

    def __init__(
        self,
        exchange: Exchange,
        ask: Callable[[str], None],
        file: PromptFile | None = None,
        hint: str = "",
    ) -> None:
        self.box: PromptBox | None = None
        self._exchange = exchange
        self._ask = ask
        self._clipboard = Clipboard()
        self._file = file
        self._hint = hint
        self._history: list[str] = file.read() if file is not None else []
        self._opened = False  # ever
        self._dragging = False
        self._deaf = False  # ignores the character that Option types with a number on a Mac
        self._placed = pygame.Rect(0, 0, 0, 0)  # where the input method was last told to be

    def open(self) -> None:
        """Open the box with the last requested prompt, selected."""
        view = self._exchange.view()
        if view is None or self.box is not None:
            return
        wanted = self._exchange.wanted()
        if not self._opened:
            remember(self._history, wanted)
        self._opened = True
        world, before = view.world, view.whole
        self.box = PromptBox(
            wanted,
            self._history,
            vocabulary_of(view.config.vocabulary),
            world.unknown_words,
            lambda text: world.completed(text, before),
            self._clipboard,
            self._hint,
            limit=prompt_space(view.world.config).max_length,
        )
        pygame.key.start_text_input()
        pygame.key.set_repeat(*REPEAT_MS)
        pygame.event.clear(pygame.TEXTINPUT)  # drops the letter that opened the box

    def close(self) -> None:
        """Close the box and leave the world as it is."""
        self.box, self._dragging = None, False
        pygame.key.stop_text_input()
        pygame.key.set_repeat()  # outside the box, a held key would toggle pause repeatedly

    def compose(self, text: str) -> None:
        """Show the text that an input method is composing; empty when it is done."""
        if self.box is not None:
            self.box.compose(text)

    def place(self, caret: pygame.Rect) -> None:
        """Tell the input method where the text is written, in points, so that its candidates appear there."""
        if caret != self._placed:
            self._placed = caret
            pygame.key.set_text_input_rect(caret)

    def type(self, text: str) -> None:
        """Type text from the keyboard, if the box is open."""
        if self.box is not None:
            self.box.compose("")
            if not self._deaf:
                self.box.type(text)
            self._deaf = False

    def key(self, event: pygame.Event) -> bool:
        """Handle a pressed key; returns whether it was meant for the box."""
        self._deaf = False
        if self.box is None:
            return False
        name, held = inputs.key_name(event), inputs.modifiers(event)
        if self.box.composed:
            return True  # the input method's: SDL 2 reports these keys on macOS, too
        if name == "escape":
            self.close()
        elif name == "enter" and "alt" not in held:
            self._submit(self.box)
        elif not self.box.press(name, ctrl="ctrl" in held and "alt" not in held, shift="shift" in held):
            # Keys that could be text belong to the box; function keys work as always.
            return not (name.startswith("f") and len(name) > 1) and "ctrl" not in held and "alt" not in held
        return True

    def pointer(self, event: pygame.Event, point: tuple[int, int]) -> bool:
        """Handle the mouse at a pixel; returns whether it was meant for the box. A press beside closes it."""
        if event.type == pygame.MOUSEBUTTONUP:
            self._dragging = False
        elif self.box is not None:
            if event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
                self._press(self.box, point, word=getattr(event, "clicks", 1) == 2)
            elif event.type == pygame.MOUSEMOTION and self._dragging:
                self.box.click(point[0], select=True)
        return self.box is not None

    def prepare(self) -> str:
        """Return the written prompt for later use, or the wanted one if the box is closed; "" if invalid.

        The box stays open for another one.
        """
        if self.box is None:
            return self._exchange.wanted()
        self._deaf = sys.platform == "darwin"
        text = self._written(self.box)
        if text:
            self.box.line.select_all()
        return text

    def _press(self, box: PromptBox, point: tuple[int, int], *, word: bool) -> None:
        if not box.holds(point):
            self.close()
        elif not box.accept(point):
            self._dragging = True
            box.click(point[0], word=word)

    def _submit(self, box: PromptBox) -> None:
        text = self._written(box)
        if text:
            self.close()
            self._ask(text)

    def _written(self, box: PromptBox) -> str:
        """Return and remember the written prompt; "" with an error in the box if the world cannot read it."""
        text = box.line.text.strip()
        view = self._exchange.view()
        if view is None or not text:
            box.error = "the prompt is empty; describe a scene"
            return ""
        try:
            checked_prompt(view.world, text)
        except LongLiveError as error:
            box.error = str(error)
            return ""
        remember(self._history, text)
        if self._file is not None:
            self._file.add(text)
        return text
