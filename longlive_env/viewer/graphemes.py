"""Places between the characters that a reader sees, some of which are several characters of a text.

These are letters with combining marks, emoji with modifiers or joined to one, and flags.
"""

from __future__ import annotations

import unicodedata

JOINER = "\u200d"
_EXTENDING = (("\u200c", JOINER), ("\U0001f3fb", "\U0001f3ff"), ("\U000e0020", "\U000e007f"))
_FLAG_LETTERS = ("\U0001f1e6", "\U0001f1ff")  # two of which are a flag


def place_before(text: str, place: int) -> int:
    """Return the nearest place at or before this one that is not inside a character."""
    while _is_inside(text, place):
        place -= 1
    return place


def place_after(text: str, place: int) -> int:
    """Return the nearest place at or after this one that is not inside a character."""
    while _is_inside(text, place):
        place += 1
    return place


def _is_inside(text: str, place: int) -> bool:
    if not 0 < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    if unicodedata.category(after).startswith("M") or any(
        first <= after <= last for first, last in _EXTENDING
    ):
        return True
    if before == JOINER:
        return unicodedata.category(after) == "So"  # of emoji
    return _is_flag_letter(after) and _flag_letters_before(text, place) % 2 == 1


def _is_flag_letter(char: str) -> bool:
    return _FLAG_LETTERS[0] <= char <= _FLAG_LETTERS[1]


def _flag_letters_before(text: str, place: int) -> int:
    begin = place
    while begin > 0 and _is_flag_letter(text[begin - 1]):
        begin -= 1
    return place - begin
