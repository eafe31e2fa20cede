"""Scale of the layout: pixels per unit, on ordinary and on dense screens.

SDL counts windows and mouse in points on macOS, on Wayland and, with `PREPARED`, on Windows; a dense screen
has several pixels to a point there. On X11 a point is a pixel, and a dense screen is simply a large one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from longlive_env.errors import ConfigError

Size = tuple[int, int]

DESIGN_SIZE: Size = (1280, 720)  # window that sizes are designed for, in units
TIGHTEST_SIZE: Size = (640, 360)  # smallest size in units that fits everything
SMALLEST_WINDOW: Size = (480, 300)  # points
ORDINARY_SCREEN: Size = (1920, 1080)
STEP = 0.125
SMALLEST, LARGEST = 0.625, 6.0  # pixels per unit
GREATEST_DENSITY = 4.0
PREPARED = {"SDL_WINDOWS_DPI_SCALING": "1", "SDL_IME_SHOW_UI": "1"}  # environment, before SDL opens a display
TOLD_BY = ("GDK_SCALE", "QT_SCALE_FACTOR")  # where desktops on X11 give the density of their screen


@dataclass(frozen=True)
class UIScale:
    """The number of pixels per unit of the layout.

    Attributes:
        factor: requested points per unit; None scales with the window.
    """

    factor: float | None = None

    def __post_init__(self) -> None:
        if self.factor is not None and not 0.5 <= self.factor <= LARGEST:
            raise ConfigError(
                f"the UI scale is {self.factor:g}; expected auto, or a number from 0.5 to {LARGEST:g}"
            )

    @classmethod
    def parse(cls, text: str) -> UIScale:
        """Parse `auto` or a number.

        Raises:
            ConfigError: it is neither, or a number out of range.
        """
        if text.strip().lower() == "auto":
            return cls()
        try:
            return cls(float(text.strip().removesuffix("x")))
        except ValueError as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"the UI scale is {text!r}; expected auto, or a number such as 1.5") from error

    def on(self, desktop: Size, driver: str, environment: Mapping[str, str]) -> float:
        """Return the points per ordinary point, as requested or as the screen suggests.

        Args:
            desktop: size of the screen in points.
            driver: SDL driver, such as "x11".
            environment: environment variables, in which desktops on X11 give their scale.
        """
        if self.factor is not None:
            return self.factor
        told = [_number(environment.get(name, "")) for name in TOLD_BY] if driver == "x11" else []
        large = math.floor(2 * _fit(desktop, ORDINARY_SCREEN)) / 2
        return min(GREATEST_DENSITY, max(1.0, large, *told))

    def pixels(self, surface: Size, density: float = 1.0) -> float:
        """Return the pixels per unit on a surface; never so many that things do not fit.

        Args:
            surface: size in pixels.
            density: pixels per ordinary pixel.
        """
        wanted = density if self.factor is not None else max(_fit(surface, DESIGN_SIZE), SMALLEST * density)
        most = max(SMALLEST, min(_fit(surface, TIGHTEST_SIZE), LARGEST))
        return min(most, round(wanted / STEP) * STEP)


def opening_size(desktop: Size, factor: float) -> Size:
    """Return the size of a new window in points, on a screen with `factor` points per ordinary point.

    Args:
        desktop: size of the screen in points.
        factor: see `UIScale.on`.
    """
    wanted = round(DESIGN_SIZE[0] * factor), round(DESIGN_SIZE[1] * factor)
    share = min(1.0, max(_fit(desktop, wanted), _fit(DESIGN_SIZE, wanted)))
    return round(wanted[0] * share), round(wanted[1] * share)


def _fit(size: Size, inside: Size) -> float:
    return min(size[0] / inside[0], size[1] / inside[1])


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 1.0
    return value if math.isfinite(value) else 1.0
