"""Bindings of keys to actions: defaults, and a YAML file that changes them.

A chord is written "ctrl+shift+x": modifiers in this order, then the key's name. Gamepad inputs are written
"pad a".
"""

from __future__ import annotations

import os
import string
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from longlive_env.scenario.files import read_text
from longlive_env.scenario.schema import Value, advice, parse_any
from longlive_env.viewer.actions import ACTIONS, BY_NAME, GROUPS, PAD_INPUTS

MODIFIERS = ("ctrl", "alt", "shift")
KEY_NAMES = (
    *string.ascii_lowercase,
    *string.digits,
    *(f"f{number}" for number in range(1, 13)),
    *("left", "right", "up", "down", "enter", "space", "tab", "backspace", "delete", "escape"),
    *("home", "end", "page up", "page down", "insert", "pause"),
    *"-=[]\\;'`,./",
)
SHOWN = {
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
    "enter": "Enter",
    "space": "Space",
    "tab": "Tab",
    "backspace": "Backspace",
    "escape": "Esc",
    "ctrl": "Ctrl",
    "alt": "Alt",
    "shift": "Shift",
}
SHOWN_PAD = {
    **{way: SHOWN[way] for way in ("left", "right", "up", "down")},
    **{f"look {way}": f"R {SHOWN[way]}" for way in ("left", "right", "up", "down")},
    **{name: name.upper() for name in "abxy"},
    **{"back": "Back", "guide": "Guide", "start": "Start", "leftstick": "LS", "rightstick": "RS"},
    **{"leftshoulder": "LB", "rightshoulder": "RB", "lefttrigger": "LT", "righttrigger": "RT"},
}


@dataclass(frozen=True)
class Bindings:
    """Bindings of chords to actions.

    Attributes:
        actions: chord -> name of an action.
        warnings: conflicts, one line each.
    """

    actions: Mapping[str, str]
    warnings: tuple[str, ...] = ()

    @classmethod
    def default(cls) -> Bindings:
        """Return the default bindings."""
        return cls({chord: action.name for action in ACTIONS for chord in (*action.keys, *action.pad)})

    @classmethod
    def load(cls, path: Path) -> Bindings:
        """Load the defaults with the changes of a key file; an empty file changes nothing.

        Raises:
            ScenarioError: the file cannot be read, or names something that does not exist.
        """
        return cls.parse(read_text(path), str(path))

    @classmethod
    def parse(cls, text: str, file: str) -> Bindings:
        """Parse the text of a key file, like `load`."""
        root = parse_any(text, file, "the key file")
        table = {} if root is None else root.table(optional=list(BY_NAME), called="action")
        own: dict[str, tuple[str, int]] = {}
        warnings = []
        for name, value in table.items():
            for chord in _chords(value):
                if chord in own and own[chord][0] != name:
                    other, line = own[chord]
                    warnings.append(
                        f"{file}:{value.line}: {chord} means {other} already (line {line}), and not {name}"
                    )
                    continue
                own[chord] = (name, value.line)
        actions = {
            chord: name
            for chord, name in cls.default().actions.items()
            if name not in table and chord not in own
        }
        actions |= {chord: name for chord, (name, _) in own.items()}
        kept_keys = {name for chord, name in actions.items() if not chord.startswith("pad ")}
        for chord, (name, line) in own.items():
            lost = cls.default().actions.get(chord)
            if lost is not None and lost not in table and lost not in kept_keys:
                warnings.append(
                    f"{file}:{line}: {chord} means {name} now, which leaves {lost} without a key; give it one"
                )
        return cls(actions, tuple(warnings))

    def action(self, chord: str) -> str | None:
        """Return the action of a chord."""
        return self.actions.get(chord)

    def keys(self, name: str, *, pad: bool = False) -> list[str]:
        """Return the chords of an action, on the keyboard or on the gamepad."""
        return [
            chord
            for chord, action in self.actions.items()
            if action == name and chord.startswith("pad ") == pad
        ]

    def first(self, name: str) -> str:
        """Return the first key of an action, as people read it; a dash if it has none."""
        return next((shown(chord) for chord in self.keys(name)), "–")


def shown(chord: str) -> str:
    """Format a chord for people: `Ctrl+Backspace`."""
    if chord.startswith("pad "):
        return SHOWN_PAD[chord.removeprefix("pad ")]
    *modifiers, key = _parts(chord)
    names = [SHOWN.get(part, part.upper() if len(part) <= 3 else part.title()) for part in (*modifiers, key)]
    return "+".join(names)


def default_file() -> Path:
    """Return where the viewer looks for a key file."""
    home = Path(os.path.expanduser("~"))  # no error for a user without one
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or home / "AppData" / "Roaming")
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    return base / "longlive_env" / "keys.yaml"


def template() -> str:
    """Return a key file that changes nothing, with comments on everything."""
    lines = [
        "# Keys of `longlive play`. Leave out what may stay as it is; [] leaves an action without a key.",
        "# A chord is a key behind any of ctrl, alt and shift, in this order, such as ctrl+shift+x.",
        f"# Gamepad: {', '.join(PAD_INPUTS[:8])},",
        f"# {', '.join(PAD_INPUTS[8:15])},",
        f"# {', '.join(PAD_INPUTS[15:])}; look is the right stick.",
    ]
    for group in GROUPS:
        lines += ["", f"# {group}"]
        for action in ACTIONS:
            if action.group == group:
                keys = yaml.safe_dump([*action.keys, *action.pad], default_flow_style=True, width=200).strip()
                lines.append(f"{action.name}: {keys}  # {action.text}")
    return "\n".join(lines) + "\n"


def _chords(value: Value) -> Iterable[str]:
    if value.is_nothing:
        value.fail(f"{value.name} has no key; write one, such as {value.name}: p, or [] for none")
    entries = [value] if value.is_text else value.items()
    return [_chord(entry) for entry in entries]


def _chord(value: Value) -> str:
    text = " ".join(value.text().lower().split())
    if text.startswith("pad "):
        if text not in PAD_INPUTS:
            value.fail(f"there is no {text!r} on a gamepad; {advice(text, PAD_INPUTS)}")
        return text
    if text.endswith("+"):  # which joins a modifier and a key, and is no key itself
        value.fail(f"{text!r} lacks the key behind its +, as in ctrl+x; the plus key is written shift+=")
    *modifiers, key = _parts(text)
    for modifier in modifiers:
        if modifier not in MODIFIERS:
            value.fail(f"{text!r} has the modifier {modifier!r}; {advice(modifier, MODIFIERS)}")
    if key not in KEY_NAMES:
        value.fail(f"there is no key {key!r}; {advice(key, KEY_NAMES)}")
    return chord_of(key, modifiers)


def chord_of(key: str, modifiers: Iterable[str]) -> str:
    """Return the chord of a key with modifiers, given in any order."""
    held = set(modifiers)
    return "+".join([*(name for name in MODIFIERS if name in held), key])


def _parts(chord: str) -> list[str]:
    """`ctrl+x` -> `["ctrl", "x"]`."""
    return [part.strip() for part in chord.split("+")]
