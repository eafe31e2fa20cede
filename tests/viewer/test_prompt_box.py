"""The prompt box under long texts: what is drawn, what is told, and how much is measured for it."""

import pygame
import pytest

from longlive_env.envs.vocabulary import vocabulary_of
from longlive_env.viewer.canvas import Canvas, Typeface
from longlive_env.viewer.clipboard import Clipboard
from longlive_env.viewer.prompt_box import PromptBox
from longlive_env.viewer.theme import CORAL, TEXT

AREA = pygame.Rect(0, 0, 640, 300)
LONG = "zq " * 1365


@pytest.fixture
def canvas() -> Canvas:
    return Canvas(pygame.Surface((640, 360)), Typeface(), 1.0)


def box_with(text: str, *, limit: int = 4096) -> PromptBox:
    """A box of a world that knows no word with a "z" in it."""

    def unknown_words(said: str) -> list[str]:
        return list(dict.fromkeys(word for word in said.replace(",", "").split() if "z" in word.lower()))

    def completed(text: str) -> str:
        return text if len(text) > 9 else f"{text} in the city"

    box = PromptBox("", [], vocabulary_of("tiny"), unknown_words, completed, Clipboard(), limit=limit)
    box.type(text)
    return box


def test_a_long_line_costs_no_more_than_what_is_seen(canvas: Canvas, monkeypatch: pytest.MonkeyPatch) -> None:
    measured, drawn, width, text = [], [], Canvas.width, Canvas.text

    def counted(self: Canvas, said: str, size: float, *, bold: bool = False) -> int:
        measured.append(said)
        return width(self, said, size, bold=bold)

    def seen(self: Canvas, said: str, *args: object, **kwargs: object) -> pygame.Rect:
        drawn.append(said)
        return text(self, said, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Canvas, "width", counted)
    monkeypatch.setattr(Canvas, "text", seen)
    box = box_with(LONG)
    box.draw(canvas, AREA, blink=True)
    assert len(box.unknown_spans) == 1365 and len(measured) < 300
    assert max(map(len, drawn)) < 100
    measured.clear()
    box.draw(canvas, AREA, blink=True)
    box.click(300)
    assert len(measured) < 40


def test_what_is_seen_is_what_drawing_all_would_show(canvas: Canvas) -> None:
    box = box_with("a red zebra " * 60)
    box.line.move(300)
    box.draw(canvas, AREA, blink=True)
    for wanted in (100, 350, 620):
        box.click(wanted)
        before = canvas.width(box.line.text[: box.line.cursor], 20)
        box.draw(canvas, AREA, blink=True)
        cursor = canvas.surface.get_at((before - box._first_shown + box._text_x, AREA.bottom - 71))
        assert cursor[:3] == (255, 186, 92)


def test_what_a_few_words_stand_for_is_told(canvas: Canvas, monkeypatch: pytest.MonkeyPatch) -> None:
    told, text = [], Canvas.text

    def seen(self: Canvas, said: str, *args: object, **kwargs: object) -> object:
        told.append(said)
        return text(self, said, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Canvas, "text", seen)
    for typed, expected in (
        ("jump ", "this means: jump  in the city"),
        ("jumps in the city", "Enter asks for it"),
        ("zoo ", "the world does not know: zoo   ·   this means: zoo  in the city"),
        (" ", "Enter asks for it"),
    ):
        told.clear()
        box_with(typed).draw(canvas, AREA, blink=True)
        assert any(said.startswith(expected[:20]) for said in told), told


def test_a_word_is_named_once(canvas: Canvas, monkeypatch: pytest.MonkeyPatch) -> None:
    told, text = [], Canvas.text

    def seen(
        self: Canvas, said: str, at: tuple[int, int], size: float, *args: object, **kwargs: object
    ) -> object:
        if args[:1] == (CORAL,):
            told.append(said)
        return text(self, said, at, size, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Canvas, "text", seen)
    box_with("a zebra, a Zebra and a zebra in the zoo ").draw(canvas, AREA, blink=True)
    assert told == ["the world does not know: zebra, zoo"]
    told.clear()
    box_with("a zebra in the Blizard ").draw(canvas, AREA, blink=True)
    assert told == ["the world does not know: zebra, blizard (blizzard?)"]


def test_what_has_no_room_is_told(canvas: Canvas) -> None:
    box = box_with("a cat " * 3, limit=10)
    assert box.line.text == "a cat a ca"
    assert box.error == "8 characters are left out; a prompt of this world has 10 at most"
    box.press("backspace", ctrl=False, shift=False)
    assert not box.error
    box._clipboard.put("three")
    box.press("v", ctrl=True, shift=False)
    assert box.line.text == "a cat a ct" and box.error.startswith("4 characters are left out")


def test_what_is_being_composed_is_seen_in_its_place(canvas: Canvas, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, text = [], Canvas.text

    def seen(self: Canvas, said: str, *args: object, **kwargs: object) -> pygame.Rect:
        drawn.append(said)
        return text(self, said, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Canvas, "text", seen)
    box = box_with("a red zebra")
    box.line.select_word(3)
    box.compose("ne\x07ko")
    box.draw(canvas, AREA, blink=False)
    assert drawn[0] == "a neko zebra" and box.line.text == "a red zebra" and not box.suggestions
    assert box.caret.x == box._text_x + canvas.width("a ", 20)
    assert box.caret.width == pytest.approx(canvas.width("neko", 20), abs=1)
    for x in (box.caret.x, box.caret.right - 1):  # underlined
        assert canvas.surface.get_at((x, box.caret.bottom - 1))[:3] == TEXT
    box.compose("")
    box.type("猫")
    assert box.line.text == "a 猫 zebra"
