"""The prompt box of the window: when it is open, what events do to it, and what becomes of its text."""

from __future__ import annotations

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
        exchange: knows the world in play.
        ask: takes a prompt that was written.
        file: where prompts are kept for later; None keeps none.
        hint: what the box says besides, "" for nothing.

    Attributes:
        box: that is open; None if none is.
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
        self._composing = False  # an input method has keys in hand
        self._deaf = False  # to what a key types that was a command

    def open(self) -> None:
        """Begin with the prompt that was asked for last, selected."""
        view = self._exchange.view()
        if view is None or self.box is not None:
            return
        wanted = self._exchange.wanted()
        if not self._opened:
            remember(self._history, wanted)
        self._opened = True
        vocabulary, unknown_words = vocabulary_of(view.config.name), view.world.unknown_words
        self.box = PromptBox(
            wanted,
            self._history,
            vocabulary,
            unknown_words,
            self._clipboard,
            self._hint,
            limit=prompt_space(view.world).max_length,
        )
        pygame.key.start_text_input()
        pygame.key.set_repeat(*REPEAT_MS)
        pygame.event.clear(pygame.TEXTINPUT)  # the letter that has opened the box is not meant for it

    def close(self) -> None:
        """Leave the world as it is."""
        self.box, self._dragging, self._composing = None, False, False
        pygame.key.stop_text_input()
        pygame.key.set_repeat()  # elsewhere, a key that is held would pause and go on and pause

    def compose(self, text: str) -> None:
        """What an input method has in hand; empty when it is done."""
        self._composing = bool(text)

    def type(self, text: str) -> None:
        """Text from the keyboard; nothing happens unless the box is open."""
        self._composing = False
        if self.box is not None and not self._deaf:
            self.box.type(text)

    def key(self, event: pygame.Event) -> bool:
        """A key that was pressed; whether it was meant for the box."""
        self._deaf = False
        if self.box is None:
            return False
        name, held = inputs.key_name(event), inputs.modifiers(event)
        if self._composing:
            return True  # the input method's: SDL 2 reports these keys on macOS, too
        if name == "escape":
            self.close()
        elif name == "enter" and "alt" not in held:
            self._submit(self.box)
        elif not self.box.press(name, ctrl="ctrl" in held and "alt" not in held, shift="shift" in held):
            # What could be text is text; function keys do what they always do.
            return not (name.startswith("f") and len(name) > 1) and "ctrl" not in held and "alt" not in held
        return True

    def pointer(self, event: pygame.Event, x: int) -> bool:
        """The mouse, at `x` pixels; whether it was meant for the box."""
        if event.type == pygame.MOUSEBUTTONUP:
            self._dragging = False
        elif self.box is not None:
            if event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
                self._dragging = True
                self.box.click(x, word=getattr(event, "clicks", 1) == 2)
            elif event.type == pygame.MOUSEMOTION and self._dragging:
                self.box.click(x, select=True)
        return self.box is not None

    def prepare(self) -> str:
        """What is written, to be asked for later, or what is wanted if the box is closed; "" if it cannot be.

        The box stays open, for another one.
        """
        if self.box is None:
            return self._exchange.wanted()
        self._deaf = True  # on a Mac, Option and a number type something
        text = self._written(self.box)
        if text:
            self.box.line.select_all()
        return text

    def _submit(self, box: PromptBox) -> None:
        text = self._written(box)
        if text:
            self.close()
            self._ask(text)

    def _written(self, box: PromptBox) -> str:
        """What is written, which is remembered; "" if the world cannot read it, which the box tells."""
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
