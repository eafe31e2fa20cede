"""Fallback fonts of the system for characters that the viewer's typeface lacks."""

from __future__ import annotations

import io
import unicodedata
import warnings
from itertools import groupby

import pygame

OWN, BOX = "", "box"  # a face is one of these, or the file of a system font
NOBODYS = "\U0010ffff"  # a code point that no font has
TEST_PIXELS = 64
SYSTEM_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans SC", "Source Han Sans SC"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback"),
    *("Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Nirmala UI", "Leelawadee UI", "Segoe UI"),
    *("PingFang SC", "Hiragino Sans GB", "Hiragino Sans", "Apple SD Gothic Neo"),
    *("Geeza Pro", "Kohinoor Devanagari", "Thonburi"),
    *("Noto Sans", "Noto Sans Arabic", "Noto Naskh Arabic", "Noto Sans Devanagari", "Noto Sans Hebrew"),
    *("Noto Sans Bengali", "Noto Sans Tamil", "Noto Sans Thai", "Noto Sans Symbols 2"),
    *("DejaVu Sans", "FreeSans", "Arial Unicode MS", "Arial"),
)
UNSEEN = ("Cc", "Cf", "Zl", "Zp", "Zs")  # categories of characters that are invisible in any font
MARKS = ("Mn", "Me", "Mc")  # categories of characters that combine with the previous one


class Scripts:
    """Chooses the face in which each part of a text is drawn.

    Args:
        own: data of the viewer's typeface.
    """

    def __init__(self, own: bytes) -> None:
        self._own = GlyphTest(pygame.font.Font(io.BytesIO(own), TEST_PIXELS))
        self._system: dict[str, GlyphTest] | None = None  # by file; searched on first use
        self._faces: dict[str, str] = {}  # by single character
        self._joining: set[str] = set()  # those that combine with the previous one

    def runs(self, text: str) -> list[tuple[str, str]]:
        """Split a text into parts, each with its face."""
        if text.isascii():
            return [(OWN, text)]
        faces: list[str] = []
        for char in text:
            face = self._faces[char] if char in self._faces else self._look_up(char)
            if char in self._joining and faces and self._has(faces[-1], char):
                face = faces[-1]
            faces.append(face)
        parts = groupby(zip(faces, text, strict=True), key=lambda pair: pair[0])
        return [(face, "".join(char for _, char in part)) for face, part in parts]

    def boxes(self, run: str) -> int:
        """Return how many boxes stand for a run; combining characters need none of their own."""
        return max(1, sum(char not in self._joining for char in run))

    def _look_up(self, char: str) -> str:
        """Find and cache the face of a single character."""
        category = unicodedata.category(char)
        if category in MARKS or category == "Cf":
            self._joining.add(char)
        unseen = category in UNSEEN or "\ufe00" <= char <= "\ufe0f"  # the latter only choose a variant
        face = OWN if unseen or self._own.has(char) else self._found(char)
        self._faces[char] = face
        return face

    def _found(self, char: str) -> str:
        return next((file for file, font in self._system_fonts().items() if font.has(char)), BOX)

    def _has(self, face: str, char: str) -> bool:
        if face in (OWN, BOX):
            return face == BOX or self._own.has(char)
        return self._system_fonts()[face].has(char)

    def _system_fonts(self) -> dict[str, GlyphTest]:
        if self._system is None:
            self._system = system_fonts()
        return self._system


class GlyphTest:
    """Detects the characters of a font: those drawn differently from a character that no font has.

    Raises:
        pygame.error: the font cannot be read, which first shows here.
    """

    def __init__(self, font: pygame.font.Font) -> None:
        self._font = font
        font.size(NOBODYS)  # fails for a broken file, unlike opening it
        self._lacking = font.metrics(NOBODYS)

    def has(self, char: str) -> bool:
        """Return whether the font has a character."""
        return self._font.metrics(char) != self._lacking


def system_fonts() -> dict[str, GlyphTest]:
    """Return the listed fonts that this system has, by file."""
    found: dict[str, GlyphTest] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a system that cannot list its fonts has no usable ones
        files = [pygame.font.match_font(name) for name in SYSTEM_FONTS]
    for file in filter(None, files):
        try:
            found[file] = found.get(file) or GlyphTest(pygame.font.Font(file, TEST_PIXELS))
        except (pygame.error, OSError):  # such as a format that this build of SDL cannot read
            continue
    return found
