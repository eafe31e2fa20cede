"""Characters that the viewer's typeface lacks are seen, and measured as they are drawn."""

from collections.abc import Callable
from pathlib import Path

import pygame
import pytest

from longlive_env.viewer import scripts
from longlive_env.viewer.canvas import Canvas, Typeface
from longlive_env.viewer.ruler import Ruler
from longlive_env.viewer.scripts import BOX, OWN, TEST_PIXELS, GlyphTest
from longlive_env.viewer.theme import TEXT

Make = Callable[..., Canvas]
CJK, ARABIC, HINDI = "红色机器人", "روبوت أحمر", "लाल रोबोट"
TEXTS = ("a red cat", "a 赤い cat", CJK, "빨간 로봇", ARABIC, HINDI, "Җ and җ", "x\u200dy", "\u200d", "🙂")


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    """A canvas on a system with these fonts."""

    def canvas(*files: str) -> Canvas:
        pygame.font.init()
        fonts = {file: GlyphTest(pygame.font.Font(file, TEST_PIXELS)) for file in files}
        monkeypatch.setattr(scripts, "system_fonts", lambda: fonts)
        return Canvas(pygame.Surface((640, 60)), Typeface())

    return canvas


@pytest.fixture
def cyrillic() -> str:
    """A font that has letters of Tatar, which Inter lacks here."""
    return str(Path(pygame.__file__).parent / pygame.font.get_default_font())


def ink(canvas: Canvas, text: str, *, bold: bool = False) -> list[int]:
    """Columns of the picture of a text that anything is drawn in."""
    picture = canvas._typeface.render(text, 20, bold, TEXT)
    assert picture.get_width() == canvas._typeface.width(text, 20, bold)
    seen, (width, height) = pygame.mask.from_surface(picture), picture.get_size()
    return [x for x in range(width) if any(seen.get_at((x, y)) for y in range(height))]


def test_what_no_font_has_is_a_box_for_each_character(make: Make) -> None:
    canvas = make()
    assert canvas._typeface._scripts.runs(f"a {CJK}!") == [(OWN, "a "), (BOX, CJK), (OWN, "!")]
    one = canvas.width("红", 20)
    for text in (CJK, "빨간", "🙂"):
        assert canvas.width(text, 20) == len(text) * one
        for place in range(len(text)):
            assert any(place * one <= x < (place + 1) * one for x in ink(canvas, text))
    assert ink(canvas, CJK, bold=True)
    assert canvas.width("लाल", 20) == 2 * one  # the vowel sign belongs to the letter before
    assert canvas.width("👨\u200d👩", 20) == 2 * one  # and so does a joiner


def test_what_a_font_of_the_system_has_is_drawn_with_it(make: Make, cyrillic: str) -> None:
    canvas = make(cyrillic)
    assert canvas._typeface._scripts.runs("a Җ 红") == [(OWN, "a "), (cyrillic, "Җ"), (OWN, " "), (BOX, "红")]
    for bold in (False, True):
        assert ink(canvas, "Җ", bold=bold) != ink(make(), "Җ", bold=bold)
        assert ink(canvas, "җ", bold=bold)


def test_all_that_stands_in_the_viewer_is_drawn_with_its_own_typeface(make: Make) -> None:
    canvas = make()
    for text in ("←→↑↓●–…·éßЖλ", "a\u00a0b", "a\u3000b", "e\ufe0f"):
        assert canvas._typeface._scripts.runs(text) == [(OWN, text)]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("known", [False, True])
def test_texts_are_measured_as_they_are_drawn(make: Make, cyrillic: str, text: str, known: bool) -> None:
    canvas = make(*[cyrillic] * known)
    line, words = f"a {text} b {text}", f"{text} and {text} " * 5
    ruler = Ruler(canvas, line, 20)
    for end in range(len(line) + 1):
        drawn = canvas.text(line[:end], (0, 0), 20).width
        assert drawn == canvas.width(line[:end], 20) == ruler.offset(end)
    for width in (60, 150):
        assert canvas.width(canvas.cut(words, 20, width), 20) <= width
        assert all(canvas.width(part, 20) <= width for part in canvas.wrap(words, 20, width, 3))


def test_a_text_without_spaces_is_wrapped(make: Make) -> None:
    canvas, text = make(), "红色机器人在城市里走，红色机器人在城市里走。a red cat"
    lines = canvas.wrap(text, 20, 120, 9)
    assert len(lines) > 2 and "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(canvas.width(line, 20) <= 120 for line in lines)
    assert canvas.wrap(" a red\n cat ", 20, 400, 9) == ["a red cat"]
    first, rest = canvas.wrap(text, 20, 120, 2)
    assert text.startswith(first) and rest.endswith("…")


def test_a_character_is_looked_up_once(make: Make, cyrillic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    canvas, asked = make(cyrillic), list[str]()
    has = GlyphTest.has

    def counted(test: GlyphTest, char: str) -> bool:
        asked.append(char)
        return has(test, char)

    monkeypatch.setattr(GlyphTest, "has", counted)
    canvas.text(CJK, (0, 0), 20)
    assert len(asked) == 2 * len(CJK)  # in two fonts
    canvas.text(CJK * 100, (0, 0), 20)
    canvas.width("a red cat", 20)
    assert len(asked) == 2 * len(CJK)


def test_fonts_that_cannot_be_read_are_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    monkeypatch.setattr("pygame.font.match_font", lambda name: str(tmp_path / "broken.ttf"))
    assert scripts.system_fonts() == {}
    monkeypatch.setattr("pygame.font.match_font", lambda name: None)
    assert scripts.system_fonts() == {}
