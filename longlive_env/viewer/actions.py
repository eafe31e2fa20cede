"""The actions of keys and buttons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Action:
    """An action of a key or a button.

    Attributes:
        name: name in key files.
        group: group in which help lists it.
        text: description in help.
        keys: default keys, as chords such as "ctrl+backspace".
        pad: gamepad buttons, or directions of the d-pad and the sticks; the right stick looks.
        kind: what it shares with the other eight of its kind; "" if it stands alone.
        number: its number among them, from 1; 0 if it stands alone.
        together: description in help of all nine.
    """

    name: str
    group: str
    text: str
    keys: tuple[str, ...]
    pad: tuple[str, ...] = ()
    kind: str = ""
    number: int = 0
    together: str = ""


STEER, PROMPT, TIME, PLACES, WINDOW = "Steer", "Prompt", "Time", "Bookmarks", "Window and files"
DIRECTIONS = ("left", "right", "up", "down")
NUMBERS = range(1, 10)


def _nine(kind: str, group: str, text: str, keys: str) -> Iterator[Action]:
    """Yield the nine actions of a kind; {} in `text` is the number, and each key ends in it."""
    for n in NUMBERS:
        together = text.replace(" {}", "")
        yield Action(f"{kind}_{n}", group, text.format(n), (f"{keys}{n}",), (), kind, n, together)


ACTIONS: tuple[Action, ...] = (
    Action("left", STEER, "the scenario's action for left", ("left", "a"), ("pad left",)),
    Action("right", STEER, "the scenario's action for right", ("right", "d"), ("pad right",)),
    Action("up", STEER, "the scenario's action for up", ("up", "w"), ("pad up",)),
    Action("down", STEER, "the scenario's action for down", ("down", "s"), ("pad down",)),
    *_nine("quick", STEER, "quick prompt {}", ""),
    Action("next_quick", STEER, "the next quick prompt", ("q",), ("pad rightshoulder",)),
    Action("seat", STEER, "the agent's seat, and back", ("tab",), ("pad back",)),
    Action("prompt", PROMPT, "write a prompt", ("enter", "t"), ("pad y",)),
    *_nine("prepare", PROMPT, "keep it as quick prompt {}", "alt+"),
    Action("surprise", PROMPT, "a prompt of the world at random", ("f5",), ("pad leftstick",)),
    Action("recache", PROMPT, "recache: full, none or clear", ("c",)),
    Action("pause", TIME, "pause and go on", ("space",), ("pad start",)),
    Action("step", TIME, "play a single block", (".",), ("pad rightstick", "pad look right")),
    Action("rewind", TIME, "back to before the last change", ("backspace",), ("pad b",)),
    Action(
        "rewind_block",
        TIME,
        "back one block, and pause",
        ("ctrl+backspace",),
        ("pad leftshoulder", "pad look left"),
    ),
    Action("undo", TIME, "undo a way back or new start", ("ctrl+z", "u")),
    Action("reset", TIME, "start anew under this prompt", ("r",)),
    Action("new_seed", TIME, "start anew with another seed", ("shift+r",), ("pad guide",)),
    Action("restart", TIME, "the scenario from its beginning", ("home",)),
    Action("restart_new_seed", TIME, "the same with another seed", ("shift+home",)),
    Action("reload", TIME, "read its file again, and restart", ("f6",)),
    Action("bookmark", PLACES, "keep a bookmark of the world", ("b",), ("pad x",)),
    *_nine("return", PLACES, "return to bookmark {} and branch", "shift+"),
    *_nine("keep", PLACES, "keep the world as bookmark {}", "ctrl+"),
    Action("last_bookmark", PLACES, "return to the newest bookmark", ("shift+b",), ("pad a",)),
    Action("help", WINDOW, "this list", ("f1",)),
    Action("cards", WINDOW, "cards of what keys change", ("f2",), ("pad look up",)),
    Action("stats", WINDOW, "statistics", ("f3",), ("pad look down",)),
    Action("scaling", WINDOW, "crisp or smooth pixels", ("f4",)),
    Action("save", WINDOW, "save the take as a scenario", ("ctrl+s", "f8")),
    Action("record", WINDOW, "record, or stop recording", ("f9",), ("pad righttrigger",)),
    Action("dock", WINDOW, "the picture alone, and back", ("f10",)),
    Action("fullscreen", WINDOW, "full screen", ("f11", "alt+enter")),
    Action("screenshot", WINDOW, "take a screenshot", ("f12",), ("pad lefttrigger",)),
    Action("picture", WINDOW, "save the picture itself", ("shift+f12",)),
    Action("dismiss", WINDOW, "close what is open", ("escape",)),
    Action("quit", WINDOW, "quit", ("ctrl+q",)),
)
BY_NAME = {action.name: action for action in ACTIONS}
GROUPS = (STEER, PROMPT, TIME, PLACES, WINDOW)
PAD_INPUTS = tuple(
    f"pad {name}"
    for name in (
        *DIRECTIONS,
        *(f"look {way}" for way in DIRECTIONS),
        *("a", "b", "x", "y", "back", "guide", "start"),
        *("leftstick", "rightstick", "leftshoulder", "rightshoulder", "lefttrigger", "righttrigger"),
    )
)
