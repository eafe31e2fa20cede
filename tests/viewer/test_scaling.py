"""Sizes on ordinary and on dense screens, and everything inside the window at any of them."""

from collections.abc import Callable

import pygame
import pytest
from viewer_player import Player

from longlive_env.errors import ConfigError
from longlive_env.viewer.canvas import Canvas, Typeface
from longlive_env.viewer.scaling import UIScale, opening_size
from longlive_env.viewer.theme import DOCK, DOCK_HEIGHT


def test_sizes_follow_the_window() -> None:
    auto = UIScale()
    assert auto.pixels((1280, 720)) == 1 and auto.pixels((2560, 1440)) == 2
    assert auto.pixels((1920, 800)) == 1.125 and auto.pixels((480, 300)) == 0.625
    assert auto.pixels((1600, 900), density=2.0) == 1.25  # small windows on dense screens can be read


def test_sizes_can_be_chosen() -> None:
    twice = UIScale.parse("2")
    assert twice == UIScale(2.0) == UIScale.parse("2x") and UIScale.parse(" Auto ") == UIScale()
    assert twice.on((800, 600), "x11", {"GDK_SCALE": "3"}) == 2
    assert twice.pixels((2560, 1440), density=2.0) == 2 == twice.pixels((1280, 720), density=2.0)
    assert twice.pixels((3840, 2160), density=4.0) == 4  # two pixels to a point
    assert twice.pixels((960, 540), density=2.0) == 1.5  # more would not fit
    for text in ("0.3", "9", "big", "nan"):
        with pytest.raises(ConfigError, match="expected auto"):
            UIScale.parse(text)


@pytest.mark.parametrize(
    ("desktop", "driver", "environment", "factor", "size"),
    [
        ((1920, 1080), "x11", {}, 1.0, (1280, 720)),
        ((1366, 768), "x11", {}, 1.0, (1280, 720)),
        ((3840, 2160), "x11", {}, 2.0, (2560, 1440)),
        ((2560, 1600), "x11", {"GDK_SCALE": "2"}, 2.0, (2560, 1440)),
        ((2560, 1440), "x11", {"QT_SCALE_FACTOR": "nonsense"}, 1.0, (1280, 720)),
        ((1920, 1080), "windows", {"GDK_SCALE": "2"}, 1.0, (1280, 720)),  # points: SDL does the rest
        ((1920, 1080), "x11", {"GDK_SCALE": "2"}, 2.0, (1920, 1080)),  # no more than there is
    ],
)
def test_windows_open_as_screens_are(
    desktop: tuple[int, int], driver: str, environment: dict[str, str], factor: float, size: tuple[int, int]
) -> None:
    assert UIScale().on(desktop, driver, environment) == factor
    assert opening_size(desktop, factor) == size


def test_a_sheet_shrinks_into_its_place() -> None:
    canvas = Canvas(pygame.Surface((640, 360)), Typeface(), 1.0)
    assert canvas.fitting(300, 200, pygame.Rect(0, 0, 640, 360)) is canvas
    assert canvas.fitting(1280, 200, pygame.Rect(0, 0, 640, 360)).scale == 0.5


@pytest.mark.parametrize(
    ("size", "chosen", "scale"),
    [
        ((1280, 720), "auto", 1.0),
        ((2560, 1440), "auto", 2.0),
        ((1280, 720), "2", 2.0),
        ((2560, 1440), "1.5", 1.5),
        ((480, 300), "auto", 0.625),
        ((700, 1000), "1", 1.0),
    ],
)
def test_everything_is_inside_the_window(
    start: Callable[..., Player],
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    chosen: str,
    scale: float,
) -> None:
    player = start(options={"size": size, "ui_scale": UIScale.parse(chosen)})
    player.wait(12)
    sheets: list[pygame.Rect] = []
    panel = Canvas.panel

    def seen(self: Canvas, rect: pygame.Rect, *, alpha: int = 236) -> None:
        sheets.append(rect)
        panel(self, rect, alpha=alpha)

    monkeypatch.setattr(Canvas, "panel", seen)
    for keys in (["f2", "f3"], ["t"], ["escape", "f1"]):
        for key in keys:
            player.press(key)
        surface = player.app.draw()
        assert sheets and all(surface.get_rect().contains(rect) for rect in sheets), keys
        sheets.clear()
    assert surface.get_size() == size
    player.press("f1")
    for key in ("f2", "f3"):
        player.press(key)
    surface = player.app.draw()
    dock = [y for y in range(size[1]) if surface.get_at((2, y))[:3] == DOCK]
    assert size[1] - dock[0] == pytest.approx(DOCK_HEIGHT * scale, abs=2)


def test_a_window_lower_than_the_dock_shows_the_picture_alone(start: Callable[..., Player]) -> None:
    """Some window managers tile windows below their least size."""
    player = start()
    player.wait(12)
    low = pygame.Surface((300, 60))
    player.app.screen.draw(low, player.app._scene())
    assert all(low.get_at((2, y))[:3] != DOCK for y in range(60))
