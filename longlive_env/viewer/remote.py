"""Messages of the browser page as pygame events.

The page's names are those of browsers: `key` and `code` of a KeyboardEvent, buttons and axes of the standard
gamepad.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_lowercase, ascii_uppercase
from typing import Any

import pygame

from longlive_env.viewer.scaling import GREATEST_DENSITY, SMALLEST_WINDOW

RESIZED = pygame.event.custom_type()  # of the page, to a `size` in pixels and a `density` in pixels per point
SIZES = (SMALLEST_WINDOW, (2560, 1600))  # smallest and largest window
KEYS = {
    "Enter": pygame.K_RETURN,
    "Escape": pygame.K_ESCAPE,
    "Backspace": pygame.K_BACKSPACE,
    "Tab": pygame.K_TAB,
    "Delete": pygame.K_DELETE,
    "Insert": pygame.K_INSERT,
    "Home": pygame.K_HOME,
    "End": pygame.K_END,
    "PageUp": pygame.K_PAGEUP,
    "PageDown": pygame.K_PAGEDOWN,
    "Pause": pygame.K_PAUSE,
    "ArrowLeft": pygame.K_LEFT,
    "ArrowRight": pygame.K_RIGHT,
    "ArrowUp": pygame.K_UP,
    "ArrowDown": pygame.K_DOWN,
    **{f"F{number}": getattr(pygame, f"K_F{number}") for number in range(1, 13)},
}
PLACES = {  # place of a key -> character on an English keyboard
    **{f"Digit{digit}": ord(str(digit)) for digit in range(10)},
    **{f"Numpad{digit}": getattr(pygame, f"K_KP{digit}") for digit in range(10)},
    **{"Minus": ord("-"), "Equal": ord("="), "BracketLeft": ord("["), "BracketRight": ord("]")},
    **{"Backslash": ord("\\"), "Semicolon": ord(";"), "Quote": ord("'"), "Backquote": ord("`")},
    **{"Comma": ord(","), "Period": ord("."), "Slash": ord("/"), "Space": ord(" ")},
}
SCANCODES = {f"Key{letter}": getattr(pygame, f"KSCAN_{letter}") for letter in ascii_uppercase}
MODIFIERS = {"ctrl": pygame.KMOD_LCTRL, "alt": pygame.KMOD_LALT, "shift": pygame.KMOD_LSHIFT}
POINTER = {"down": pygame.MOUSEBUTTONDOWN, "up": pygame.MOUSEBUTTONUP, "move": pygame.MOUSEMOTION}
BUTTONS = (  # of the standard gamepad, in order; the triggers, 6 and 7, are axes here
    *(pygame.CONTROLLER_BUTTON_A, pygame.CONTROLLER_BUTTON_B),
    *(pygame.CONTROLLER_BUTTON_X, pygame.CONTROLLER_BUTTON_Y),
    *(pygame.CONTROLLER_BUTTON_LEFTSHOULDER, pygame.CONTROLLER_BUTTON_RIGHTSHOULDER),
    *(None, None),
    *(pygame.CONTROLLER_BUTTON_BACK, pygame.CONTROLLER_BUTTON_START),
    *(pygame.CONTROLLER_BUTTON_LEFTSTICK, pygame.CONTROLLER_BUTTON_RIGHTSTICK),
    *(pygame.CONTROLLER_BUTTON_DPAD_UP, pygame.CONTROLLER_BUTTON_DPAD_DOWN),
    *(pygame.CONTROLLER_BUTTON_DPAD_LEFT, pygame.CONTROLLER_BUTTON_DPAD_RIGHT),
    pygame.CONTROLLER_BUTTON_GUIDE,
)
AXES = (
    *(pygame.CONTROLLER_AXIS_LEFTX, pygame.CONTROLLER_AXIS_LEFTY),
    *(pygame.CONTROLLER_AXIS_RIGHTX, pygame.CONTROLLER_AXIS_RIGHTY),
    *(pygame.CONTROLLER_AXIS_TRIGGERLEFT, pygame.CONTROLLER_AXIS_TRIGGERRIGHT),
)
AXIS_RANGE = 32767


def event_of(said: Mapping[str, Any], size: tuple[int, int]) -> pygame.Event:
    """Convert a message of the page to an event.

    Args:
        said: message, whose `type` is key, text, compose, pointer, leave, size, button or axis.
        size: size of the window in pixels.

    Raises:
        KeyError, TypeError, ValueError: it is not such a message.
    """
    kind = said["type"]
    if kind == "key":
        return _key(said)
    if kind == "text":
        return pygame.Event(pygame.TEXTINPUT, text=str(said["text"]))
    if kind == "compose":
        text = str(said["text"])
        return pygame.Event(pygame.TEXTEDITING, text=text, start=len(text), length=0)
    if kind == "pointer":
        shares = [max(0.0, min(1.0, float(said[axis]))) for axis in "xy"]
        pos = tuple(round(share * length) for share, length in zip(shares, size, strict=True))
        return pygame.Event(
            POINTER[said["kind"]], pos=pos, button=int(said["button"]) + 1, clicks=int(said["clicks"])
        )
    if kind == "leave":
        return pygame.Event(pygame.WINDOWLEAVE)
    if kind == "size":
        return _resized(float(said["width"]), float(said["height"]), float(said["ratio"]))
    if kind == "button":
        button = BUTTONS[int(said["button"])]
        if button is not None:
            return pygame.Event(pygame.CONTROLLERBUTTONDOWN, button=button, instance_id=int(said["pad"]))
    if kind == "axis":
        value = round(max(-1.0, min(1.0, float(said["value"]))) * AXIS_RANGE)
        axis = AXES[int(said["axis"])]
        return pygame.Event(pygame.CONTROLLERAXISMOTION, axis=axis, value=value, instance_id=int(said["pad"]))
    raise ValueError(f"{kind!r} is not a message of the page")


def _key(said: Mapping[str, Any]) -> pygame.Event:
    """Convert a key; `typed` is the text that it types in the prompt box."""
    key, code = str(said["key"]), str(said["code"])
    held = [name for name in MODIFIERS if said[name]]
    letter = len(key) == 1 and key.lower() in ascii_lowercase
    if letter:
        number = ord(key.lower())
    else:
        number = KEYS.get(key) or PLACES.get(code) or (ord(key) if len(key) == 1 else pygame.K_UNKNOWN)
    typed = key if len(key) == 1 and "ctrl" not in held and not (key.isascii() and "alt" in held) else ""
    return pygame.Event(
        pygame.KEYDOWN,
        key=number,
        mod=sum(MODIFIERS[name] for name in held),
        unicode=typed,
        scancode=SCANCODES.get(code, 0),
        typed=typed,
    )


def _resized(width: float, height: float, ratio: float) -> pygame.Event:
    """Convert a page size in pixels: shrunk if very large, and never below the smallest window."""
    if not (width > 0 and height > 0):
        raise ValueError(f"{width} x {height} is no size of a page")
    (least, lowest), (widest, highest) = SIZES
    share = min(1.0, widest / width, highest / height)
    size = max(least, round(width * share)), max(lowest, round(height * share))
    return pygame.Event(RESIZED, size=size, density=max(1.0, min(GREATEST_DENSITY, ratio * share)))
