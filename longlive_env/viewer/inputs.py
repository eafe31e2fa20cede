"""Keyboard and gamepad events as chords, in one form for both."""

from __future__ import annotations

from string import ascii_lowercase, digits

import pygame

from longlive_env.viewer.bindings import KEY_NAMES, chord_of

RENAMED = {"return": "enter", "keypad enter": "enter", "break": "pause"}
STICK_ON, STICK_OFF = 0.6, 0.4  # deflection; between the two, a stick keeps its direction
STICK_RANGE = 32768
LETTERS = {getattr(pygame, f"KSCAN_{letter.upper()}"): letter for letter in ascii_lowercase}
DIGITS = {getattr(pygame, f"KSCAN_{digit}"): digit for digit in digits}
BUTTONS = {
    pygame.CONTROLLER_BUTTON_A: "a",
    pygame.CONTROLLER_BUTTON_B: "b",
    pygame.CONTROLLER_BUTTON_X: "x",
    pygame.CONTROLLER_BUTTON_Y: "y",
    pygame.CONTROLLER_BUTTON_BACK: "back",
    pygame.CONTROLLER_BUTTON_GUIDE: "guide",
    pygame.CONTROLLER_BUTTON_START: "start",
    pygame.CONTROLLER_BUTTON_LEFTSTICK: "leftstick",
    pygame.CONTROLLER_BUTTON_RIGHTSTICK: "rightstick",
    pygame.CONTROLLER_BUTTON_LEFTSHOULDER: "leftshoulder",
    pygame.CONTROLLER_BUTTON_RIGHTSHOULDER: "rightshoulder",
    pygame.CONTROLLER_BUTTON_DPAD_UP: "up",
    pygame.CONTROLLER_BUTTON_DPAD_DOWN: "down",
    pygame.CONTROLLER_BUTTON_DPAD_LEFT: "left",
    pygame.CONTROLLER_BUTTON_DPAD_RIGHT: "right",
}
AXES = {  # towards less, towards more
    pygame.CONTROLLER_AXIS_LEFTX: ("left", "right"),
    pygame.CONTROLLER_AXIS_LEFTY: ("up", "down"),
    pygame.CONTROLLER_AXIS_RIGHTX: ("look left", "look right"),
    pygame.CONTROLLER_AXIS_RIGHTY: ("look up", "look down"),
    pygame.CONTROLLER_AXIS_TRIGGERLEFT: ("", "lefttrigger"),
    pygame.CONTROLLER_AXIS_TRIGGERRIGHT: ("", "righttrigger"),
}


def key_name(event: pygame.Event) -> str:
    """Return the name of a key in chords; empty if it has none.

    On layouts without these letters, such as Greek or Cyrillic, a letter is the key in its place on an
    English keyboard. Digits always go by place, since some layouts have other symbols in that row.
    """
    if event.scancode in DIGITS:
        return DIGITS[event.scancode]
    name = pygame.key.name(event.key)
    name = RENAMED.get(name, name.strip("[]") if len(name) > 1 else name)
    return name if name in KEY_NAMES else LETTERS.get(event.scancode, "")


def modifiers(event: pygame.Event) -> list[str]:
    """Return the held modifiers; Command counts as Ctrl."""
    held = []
    if event.mod & (pygame.KMOD_CTRL | pygame.KMOD_META):
        held.append("ctrl")
    if event.mod & pygame.KMOD_ALT:
        held.append("alt")
    if event.mod & pygame.KMOD_SHIFT:
        held.append("shift")
    return held


def chord(event: pygame.Event) -> str:
    """Return the chord of a pressed key; empty if it has none."""
    name = key_name(event)
    return chord_of(name, modifiers(event)) if name else ""


class Gamepads:
    """Gamepads, which can be plugged in and out; a stick counts as four buttons, a trigger as one."""

    def __init__(self) -> None:
        from pygame._sdl2 import controller

        self._controller = controller
        controller.init()
        self._open: dict[int, object] = {}
        self._held: dict[tuple[int, int], str] = {}
        self._elsewhere = False  # whether a remote gamepad was used
        for index in range(controller.get_count()):
            self._add(index)

    @property
    def present(self) -> bool:
        """Whether there is a gamepad."""
        return bool(self._open) or self._elsewhere

    def chord(self, event: pygame.Event) -> str:
        """Return the chord of a gamepad event; empty for other events."""
        if event.type == pygame.CONTROLLERDEVICEADDED:
            self._add(event.device_index)
        elif event.type == pygame.CONTROLLERDEVICEREMOVED:
            self._open.pop(event.instance_id, None)
        elif event.type == pygame.CONTROLLERBUTTONDOWN and event.button in BUTTONS:
            self._elsewhere |= getattr(event, "instance_id", None) not in self._open
            return f"pad {BUTTONS[event.button]}"
        elif event.type == pygame.CONTROLLERAXISMOTION and event.axis in AXES:
            return self._stick(event)
        return ""

    def close(self) -> None:
        """Release the gamepads."""
        self._open.clear()
        self._controller.quit()

    def _add(self, index: int) -> None:
        if self._controller.is_controller(index):
            pad = self._controller.Controller(index)
            self._open[pad.as_joystick().get_instance_id()] = pad

    def _stick(self, event: pygame.Event) -> str:
        key = (getattr(event, "instance_id", 0), event.axis)
        value = event.value / STICK_RANGE
        if abs(value) < STICK_OFF:
            self._held.pop(key, None)
        way = AXES[event.axis][value > 0]
        if not way or abs(value) < STICK_ON or self._held.get(key) == way:
            return ""
        self._held[key] = way
        return f"pad {way}"
