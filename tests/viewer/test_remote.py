"""What a browser reports means what SDL would have reported."""

from typing import Any

import pygame
import pytest

from longlive_env.viewer import inputs
from longlive_env.viewer.bindings import KEY_NAMES
from longlive_env.viewer.remote import KEYS, PLACES, RESIZED, SCANCODES, event_of

SIZE = (640, 400)


def key(key: str, code: str, *held: str) -> dict[str, Any]:
    return {
        "type": "key",
        "key": key,
        "code": code,
        **{name: name in held for name in ("ctrl", "alt", "shift")},
    }


@pytest.fixture(autouse=True)
def _display() -> None:
    pygame.display.init()


@pytest.mark.parametrize(
    ("said", "chord", "typed"),
    [
        (key("a", "KeyA"), "a", "a"),
        (key("a", "KeyQ"), "a", "a"),  # a French keyboard
        (key("R", "KeyR", "shift"), "shift+r", "R"),
        (key("ф", "KeyA"), "a", "ф"),
        (key("1", "Digit1"), "1", "1"),
        (key("!", "Digit1", "shift"), "shift+1", "!"),
        (key("1", "Digit1", "ctrl"), "ctrl+1", ""),
        (key("4", "Numpad4"), "4", "4"),
        (key("Enter", "NumpadEnter"), "enter", ""),
        (key("Enter", "Enter", "alt"), "alt+enter", ""),
        (key(" ", "Space"), "space", " "),
        (key(".", "Period"), ".", "."),
        (key("ArrowLeft", "ArrowLeft"), "left", ""),
        (key("PageUp", "PageUp"), "page up", ""),
        (key("F12", "F12"), "f12", ""),
        (key("s", "KeyS", "ctrl"), "ctrl+s", ""),
        (key("s", "KeyS", "alt"), "alt+s", ""),
        (key("ß", "KeyS", "alt"), "alt+s", "ß"),  # Option on a Mac
        (key("AudioVolumeUp", ""), "", ""),
        (key("Shift", "ShiftLeft", "shift"), "", ""),
    ],
)
def test_keys(said: dict[str, Any], chord: str, typed: str) -> None:
    event = event_of(said, SIZE)
    assert event.type == pygame.KEYDOWN and (inputs.chord(event), event.typed) == (chord, typed)


def test_every_key_that_chords_may_name_can_be_pressed() -> None:
    named = [key(name, name) for name in KEYS]
    named += [key("?", place) for place in (*PLACES, *SCANCODES)]
    assert {inputs.key_name(event_of(said, SIZE)) for said in named} == set(KEY_NAMES)


def test_the_mouse() -> None:
    said = {"type": "pointer", "kind": "down", "x": 0.5, "y": 0.25, "button": 0, "clicks": 2}
    event = event_of(said, SIZE)
    assert event.type == pygame.MOUSEBUTTONDOWN
    assert (event.pos, event.button, event.clicks) == ((320, 100), 1, 2)
    assert event_of({**said, "kind": "move"}, SIZE).type == pygame.MOUSEMOTION
    assert event_of({"type": "leave"}, SIZE).type == pygame.WINDOWLEAVE
    assert event_of({"type": "text", "text": "日本"}, SIZE).text == "日本"
    composing = event_of({"type": "compose", "text": "ni"}, SIZE)
    assert composing.type == pygame.TEXTEDITING and composing.text == "ni"


@pytest.mark.parametrize(
    ("page", "ratio", "window", "density"),
    [
        ((1000, 700), 1, (1000, 700), 1),
        ((390, 844), 1, (480, 844), 1),
        ((2000, 1400), 2, (2000, 1400), 2),
        ((7680, 4320), 2, (2560, 1440), 1),
        ((1, 1), 0.5, (480, 300), 1),
    ],
)
def test_windows_keep_to_sizes_that_they_can_have(
    page: tuple[int, int], ratio: float, window: tuple[int, int], density: float
) -> None:
    event = event_of({"type": "size", "width": page[0], "height": page[1], "ratio": ratio}, SIZE)
    assert event.type == RESIZED and event.size == window and event.density == pytest.approx(density)


def test_gamepads() -> None:
    pads = inputs.Gamepads()
    assert not pads.present

    def chord(**said: Any) -> str:
        return pads.chord(event_of({"pad": 0, **said}, SIZE))

    assert chord(type="button", button=0) == "pad a"
    assert pads.present and chord(type="button", button=14) == "pad left"
    assert chord(type="button", button=16) == "pad guide"
    assert chord(type="axis", axis=0, value=-1) == "pad left"
    assert chord(type="axis", axis=0, value=-0.9) == ""  # held
    assert chord(type="axis", axis=3, value=5.0) == "pad look down"
    assert chord(type="axis", axis=5, value=0.9) == "pad righttrigger"
    pads.close()


@pytest.mark.parametrize(
    "said",
    [
        {"type": "dance"},
        {},
        {"type": "button", "pad": 0, "button": 6},
        {"type": "axis", "pad": 0, "axis": 9, "value": 0},
        {"type": "pointer", "kind": "fly", "x": 0, "y": 0, "button": 0, "clicks": 1},
        {"type": "size", "width": 0, "height": 0, "ratio": 1},
        {"type": "size", "width": float("nan"), "height": 5, "ratio": 1},
        {"type": "size", "width": -1, "height": -1e-9, "ratio": 1},
        {"type": "key", "key": "a"},
    ],
)
def test_other_messages_are_refused(said: dict[str, Any]) -> None:
    with pytest.raises((ValueError, KeyError, TypeError, IndexError, ArithmeticError)):
        event_of(said, SIZE)
