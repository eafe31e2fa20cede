"""Editing one line: cursor, selection, history, completion."""

import random

import pytest

from longlive_env.envs.vocabulary import vocabulary_of
from longlive_env.viewer.prompt_line import HISTORY, Completer, PromptLine, remember, unknown_spans


def test_typing_and_moving() -> None:
    line = PromptLine("a cat")
    line.insert(" sat")
    line.left(word=True)
    assert line.cursor == 6
    line.insert("once ")
    assert line.text == "a cat once sat"
    line.left()
    line.right()
    line.right(word=True)
    assert line.cursor == len(line.text)
    line.delete_left(word=True)
    line.move(0)
    line.delete_right()
    line.delete_right(word=True)
    assert line.text == " once "
    line.delete_left()
    assert line.text == " once "


FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
SEEN_AS_ONE = ["e\u0301", FAMILY, "\U0001f1eb\U0001f1f7", "\u2764\ufe0f", "\U0001f44d\U0001f3fd", "न\u0940"]


@pytest.mark.parametrize("one", SEEN_AS_ONE)
def test_what_is_seen_as_one_character_is_one(one: str) -> None:
    line = PromptLine(f"a{one}{one}b")
    places = [line.cursor]
    for _ in range(4):
        line.left()
        places.append(line.cursor)
    wanted = [0, 1, 1 + len(one), 1 + 2 * len(one), 2 + 2 * len(one)]
    assert places == wanted[::-1]
    for place in wanted[1:]:
        line.right()
        assert line.cursor == place
    line.move(2)  # such as with the mouse, in the middle of it
    assert line.cursor == 1
    line.delete_right()
    assert line.text == f"a{one}b"
    line.right()
    line.delete_left()
    assert line.text == "ab"


def test_words_with_combining_marks_are_passed() -> None:
    line = PromptLine("cafe\u0301 noir")
    line.move(0)
    line.right(word=True)
    assert line.cursor == 5
    line.right(word=True)
    assert line.cursor == len(line.text)
    line.select_word(1)
    assert line.selected == "cafe\u0301"
    line = PromptLine("a\u200db")  # joins nothing
    line.left()
    assert line.cursor == 2


def test_selections() -> None:
    line = PromptLine("a red cat")
    line.select_word(3)
    assert line.selected == "red"
    line.insert("blue")
    assert line.text == "a blue cat"
    line.left(word=True, select=True)
    assert line.selected == "blue"
    line.left()
    assert line.cursor == 2 and not line.selected
    line.move(99, select=True)
    line.right()
    assert line.cursor == 10 and not line.selected
    line.select_all()
    assert line.cut() == "a blue cat" and line.text == "" and line.cut() == ""


def test_what_no_prompt_may_hold_is_left_out() -> None:
    line = PromptLine("", limit=12)
    assert line.insert("one\ntwo\r\n") == 0
    line.insert("\x07\tx")
    assert line.text == "one two x"
    assert line.insert("yyyyyyyy") == 5
    assert line.text == "one two xyyy"


def test_undo_and_redo() -> None:
    line = PromptLine("a")
    line.insert("b")
    line.insert("c")
    line.undo()
    line.undo()
    line.undo()
    assert line.text == "a"
    line.redo()
    assert line.text == "ab"
    line.insert("x")
    line.redo()
    assert line.text == "abx"


def test_history() -> None:
    history = ["one", "two"]
    line = PromptLine("draft", history)
    line.insert("!")
    line.older()
    assert line.text == "two"
    line.older()
    line.older()
    assert line.text == "one"
    line.newer()
    line.newer()
    line.newer()
    assert line.text == "draft!"
    for number in range(HISTORY + 5):
        remember(history, str(number % (HISTORY + 2)))
    assert len(history) == HISTORY and len(set(history)) == HISTORY and history[-1] == "2"


def test_completion() -> None:
    completer = Completer(vocabulary_of("tiny"))

    def complete(text: str, cursor: int | None = None) -> list[str]:
        line = PromptLine(text)
        line.move(len(text) if cursor is None else cursor)
        return [one.text for one in completer.suggest(line)]

    assert complete("a red cat jumps in the mou")[:2] == ["in the mountain valley", "in the mountains"]
    assert "dinosaur" in complete("a green dino")
    assert complete("") == [] and complete("a cat ") == [] and complete("xyzzy") == []
    assert complete("a dinosaur", cursor=5) == []  # inside a word
    for whole in ("a red cat jumps in the rain", "a cat On The Moon", "a red car", "a cat walks left"):
        assert complete(whole) == []  # no "rains", "moonlight" or "cartoon"
    assert complete("a red cat in the mountain")[0] == "in the mountain valley"
    assert complete("a cat walks") == ["walks left", "walks right"]
    assert complete("a cat jumps") == ["jumps up and down"]  # complete, but it goes on
    line = PromptLine("a cat On The be")
    one = completer.suggest(line)[0]
    line.replace(one.begin, one.end, one.text)
    assert line.text == "a cat on the beach"


def test_unknown_words_are_found_where_they_stand() -> None:
    spans = unknown_spans("a Wombat, a wombat and a cat", lambda text: ["Wombat"])
    assert spans == [(2, 8), (12, 18)]


def test_no_edit_breaks_a_line() -> None:
    rng = random.Random(1)
    line = PromptLine("a cat in the city", ["x", "a longer one"], limit=40)
    edits = [
        lambda: line.insert(rng.choice(["é", " ", "word", "日本語", "🙂"])),
        lambda: line.left(word=rng.random() < 0.5, select=rng.random() < 0.5),
        lambda: line.right(word=rng.random() < 0.5, select=rng.random() < 0.5),
        lambda: line.delete_left(word=rng.random() < 0.3),
        lambda: line.delete_right(word=rng.random() < 0.3),
        lambda: line.move(rng.randrange(-5, 50), select=rng.random() < 0.5),
        lambda: line.select_word(rng.randrange(40)),
        line.older,
        line.newer,
        line.undo,
        line.redo,
        line.select_all,
    ]
    for _ in range(2000):
        rng.choice(edits)()
        begin, end = line.selection
        assert 0 <= begin <= end <= len(line.text) <= 40 and begin <= line.cursor <= end
