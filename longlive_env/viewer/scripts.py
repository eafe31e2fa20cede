"""Characters that the viewer's typeface lacks: which font of the system has them, if any."""

from __future__ import annotations

import io
import unicodedata
import warnings
from itertools import groupby

import pygame

OWN, BOX = "", "box"  # a face is one of these, or the file of a system font
NOBODYS = "\U0010ffff"  # a code point that no font has
PROBE_PIXELS = 64
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
UNSEEN = ("Cc", "Cf", "Zl", "Zp", "Zs")  # categories of characters that nobody sees in any font
MARKS = ("Mn", "Me", "Mc")  # and of those that stand at the character before


class Scripts:
    """Tells with which face each part of a text is drawn.

    Args:
        own: data of the viewer's typeface.
    """

    def __init__(self, own: bytes) -> None:
        self._own = Probe(pygame.font.Font(io.BytesIO(own), PROBE_PIXELS))
        self._system: dict[str, Probe] | None = None  # by file; looked for once they are needed
        self._faces: dict[str, str] = {}  # of characters by themselves
        self._joining: set[str] = set()  # those of them that go with the one before

    def runs(self, text: str) -> list[tuple[str, str]]:
        """Parts of a text, each with its face."""
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
        """How many boxes stand for a run; what goes with the character before needs none of its own."""
        return max(1, sum(char not in self._joining for char in run))

    def _look_up(self, char: str) -> str:
        """The face of a character by itself, which is known from now on."""
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

    def _system_fonts(self) -> dict[str, Probe]:
        if self._system is None:
            self._system = system_fonts()
        return self._system


class Probe:
    """Knows which characters a font has: those that it does not draw as it draws what no font has.

    Raises:
        pygame.error: the font cannot be read, which shows here first.
    """

    def __init__(self, font: pygame.font.Font) -> None:
        self._font = font
        font.size(NOBODYS)  # which fails for a broken file, as opening it does not
        self._lacking = font.metrics(NOBODYS)

    def has(self, char: str) -> bool:
        """Whether the font has a character."""
        return self._font.metrics(char) != self._lacking


def system_fonts() -> dict[str, Probe]:
    """What this system has of the list, by file."""
    found: dict[str, Probe] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a system that cannot list its fonts has none for us
        files = [pygame.font.match_font(name) for name in SYSTEM_FONTS]
    for file in filter(None, files):
        try:
            found[file] = found.get(file) or Probe(pygame.font.Font(file, PROBE_PIXELS))
        except (pygame.error, OSError):  # such as a format that this build of SDL does not read
            continue
    return found
