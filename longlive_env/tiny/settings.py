"""The eight settings, each of three periodic panoramas (far, middle, near) scrolling at different speeds."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch

from longlive_env.tiny.scene import HEIGHT, SCENERY_WIDTH
from longlive_env.tiny.shapes import Panorama, triangle

GROUND = 72.0  # pixel row where the near ground begins
WIDTHS = (80, 160, SCENERY_WIDTH)  # far, middle, near
PARALLAX = (0.25, 0.5, 1.0)  # all three return to their start together, every 320 pixels

Layers = tuple[Panorama, Panorama, Panorama]


def _city(far: Panorama, mid: Panorama, near: Panorama) -> None:
    for left, top, width in ((0, 34, 15), (17, 44, 12), (31, 28, 13), (46, 40, 16), (64, 36, 13)):
        far.rect(left, top, width, 60, (0.58, 0.66, 0.78))
    for left, top, width, colour in (
        (2, 36, 30, (0.78, 0.52, 0.44)),
        (38, 26, 24, (0.46, 0.50, 0.62)),
        (68, 42, 36, (0.84, 0.72, 0.56)),
        (112, 30, 34, (0.55, 0.58, 0.55)),
    ):
        mid.rect(left, top, width, 60, colour)
        for row in range(int(top) + 5, 70, 9):
            for column in range(left + 4, left + width - 4, 8):
                mid.rect(column, row, 4, 5, (0.99, 0.90, 0.60))
    near.rect(-160, GROUND, 320, 30, (0.62, 0.62, 0.64))
    near.rect(-160, GROUND, 320, 3, (0.80, 0.79, 0.77))
    for left in range(0, 320, 40):
        near.rect(left, 86, 20, 2.5, (0.95, 0.94, 0.88))
    for left in (20, 180):
        near.rect(left, 30, 2.5, 43, (0.25, 0.27, 0.32))
        near.line(left + 1, 31, 9, 0, 1.4, (0.25, 0.27, 0.32))
        near.circle(left + 10, 33, 3, (1.0, 0.92, 0.62))
    for left in (100, 260):
        near.rect(left, 56, 3, 17, (0.45, 0.32, 0.22))
        near.circle(left + 1.5, 50, 10, (0.33, 0.60, 0.34))


def _forest(far: Panorama, mid: Panorama, near: Panorama) -> None:
    far.hills(42, [(1, 4, 0.3), (3, 3, 1.0)], (0.45, 0.66, 0.52))
    for cx, height in ((8, 40), (30, 48), (54, 42), (76, 50), (100, 38), (122, 46), (146, 44)):
        mid.rect(cx - 1.5, 68, 3, 8, (0.36, 0.26, 0.18))
        for step in range(3):
            mid.tri(
                cx,
                70 - step * height * 0.24,
                12 - step * 2.6,
                height * 0.45,
                (0.16, 0.42 + step * 0.05, 0.28),
            )
    near.hills(GROUND, [(4, 1, 0.0)], (0.33, 0.52, 0.24))
    for cx in (26, 186, 262):
        near.rect(cx - 5, -2, 10, 76, (0.38, 0.26, 0.17))
        near.circle(cx, 6, 22, (0.20, 0.46, 0.22))
        near.circle(cx - 14, 2, 14, (0.24, 0.52, 0.26))
    for cx in (80, 130, 230, 305):
        near.circle(cx, 73, 11, (0.22, 0.50, 0.24), 7)
        near.circle(cx + 8, 74, 8, (0.28, 0.58, 0.28), 5)
    for cx in (105, 285):
        near.rect(cx - 1, 74, 2.5, 6, (0.95, 0.92, 0.85))
        near.circle(cx, 74, 4.5, (0.85, 0.20, 0.16), 3)


def _beach(far: Panorama, mid: Panorama, near: Panorama) -> None:
    far.rect(-40, 46, 80, 60, (0.20, 0.58, 0.76))
    far.rect(-40, 46, 80, 1.5, (0.55, 0.80, 0.90))
    for left, top in ((6, 53), (44, 58), (24, 64)):
        far.rect(left, top, 16, 1.5, (0.62, 0.86, 0.92), 0.7)
    mid.circle(40, 50, 20, (0.36, 0.56, 0.36), 6)
    mid.tri(118, 48, 8, 18, (0.98, 0.97, 0.94))
    mid.rect(108, 49, 18, 3.5, (0.66, 0.30, 0.22), 1.5)
    mid.hills(68, [(2, 1, 0.0)], (0.86, 0.94, 0.94))
    near.hills(GROUND - 2, [(2, 1.2, 0.4)], (0.95, 0.85, 0.62))
    for cx, lean in ((40, 8), (215, -9)):
        near.line(cx, 76, lean, -44, 2.2, (0.55, 0.38, 0.22))
        for dx, dy in ((-17, -2), (17, -2), (-13, 9), (13, 9), (-7, -10), (8, -10)):
            near.line(cx + lean, 31, dx, dy, 2.3, (0.22, 0.56, 0.30))
    for cx, colour in ((120, (0.90, 0.34, 0.30)), (290, (0.24, 0.50, 0.80))):
        near.rect(cx - 0.8, 52, 1.6, 26, (0.92, 0.92, 0.90))
        near.tri(cx, 58, 17, 12, colour)
    for cx in (84, 165, 262):
        near.circle(cx, 88, 3.0, (0.92, 0.56, 0.44), 2.0)


def _desert(far: Panorama, mid: Panorama, near: Panorama) -> None:
    far.rect(8, 42, 26, 40, (0.78, 0.48, 0.36))
    far.rect(52, 48, 18, 40, (0.80, 0.52, 0.40))
    far.hills(58, [(1, 3, 0.0)], (0.88, 0.64, 0.44))
    for cx, half, height in ((42, 30, 32), (112, 22, 24)):
        mid.tri(cx, 70, half, height, (0.86, 0.68, 0.40))
        x, y = mid.at(cx, 70)
        mid.paint(triangle(x, y, [(0.0, 0.0), (0.0, -height), (half, 0.0)]), (0.74, 0.55, 0.32))
    mid.hills(67, [(2, 2, 1.0)], (0.92, 0.74, 0.48))
    near.hills(GROUND, [(3, 1.6, 0.5)], (0.93, 0.70, 0.40))
    near.hills(85, [(2, 2.0, 2.0)], (0.88, 0.63, 0.34))
    for cx, height in ((30, 34), (140, 24), (235, 38)):
        near.line(cx, 78, 0, -height, 4.0, (0.24, 0.50, 0.30))
        near.line(cx, 70, -10, 0, 2.6, (0.24, 0.50, 0.30))
        near.line(cx - 10, 70, 0, -10, 2.6, (0.24, 0.50, 0.30))
        near.line(cx, 64, 9, 0, 2.6, (0.24, 0.50, 0.30))
        near.line(cx + 9, 64, 0, -9, 2.6, (0.24, 0.50, 0.30))
    for cx in (90, 190, 295):
        near.circle(cx, 77, 8, (0.66, 0.46, 0.34), 4.5)


def _mountains(far: Panorama, mid: Panorama, near: Panorama) -> None:
    for cx, half, height in ((20, 30, 44), (58, 34, 52)):
        far.tri(cx, 76, half, height, (0.48, 0.56, 0.70))
        far.tri(cx, 76 - height * 0.66, half * 0.34, height * 0.34, (0.95, 0.97, 1.0))
    for cx, half, height in ((16, 30, 26), (66, 36, 34), (122, 34, 28)):
        mid.tri(cx, 76, half, height, (0.40, 0.46, 0.52))
        mid.tri(cx, 76 - height * 0.75, half * 0.25, height * 0.25, (0.88, 0.92, 0.96))
    near.hills(GROUND, [(3, 2, 0.2), (5, 1, 1.0)], (0.50, 0.54, 0.48))
    for cx, size in ((50, 12), (128, 8), (205, 13), (282, 9)):
        near.circle(cx, 75, size, (0.56, 0.57, 0.60), size * 0.65)
        near.circle(cx - size * 0.25, 72.5, size * 0.55, (0.68, 0.69, 0.72), size * 0.35)
    for cx in (90, 168, 245, 315):
        near.rect(cx - 1.2, 70, 2.4, 8, (0.34, 0.26, 0.20))
        for step in range(3):
            near.tri(cx, 72 - step * 7, 9 - step * 2, 13, (0.20, 0.38, 0.34))


def _meadow(far: Panorama, mid: Panorama, near: Panorama) -> None:
    far.hills(50, [(1, 5, 0.0), (2, 2, 1.0)], (0.62, 0.82, 0.56))
    mid.hills(60, [(1, 6, 2.0), (2, 2, 0.0)], (0.50, 0.76, 0.40))
    mid.rect(52, 38, 9, 26, (0.96, 0.93, 0.88))
    mid.tri(56.5, 39, 7, 8, (0.78, 0.32, 0.26))
    for dx, dy in ((11, 11), (-11, 11), (11, -11), (-11, -11)):
        mid.line(56.5, 38, dx, dy, 1.3, (0.85, 0.80, 0.72))
    near.hills(GROUND, [(4, 1.2, 0.0)], (0.45, 0.78, 0.28))
    near.hills(84, [(5, 1.5, 1.0)], (0.38, 0.70, 0.24))
    for left in range(0, 320, 16):
        near.rect(left, 60, 3, 14, (0.97, 0.96, 0.93), 1)
    near.rect(-160, 63, 320, 2, (0.97, 0.96, 0.93))
    near.rect(-160, 69, 320, 2, (0.97, 0.96, 0.93))
    flowers = ((0.95, 0.35, 0.40), (0.99, 0.85, 0.30), (0.80, 0.50, 0.90), (0.98, 0.98, 0.98))
    for index, cx in enumerate(range(10, 320, 22)):
        near.circle(cx, 80 + (index * 5) % 11, 2.4, flowers[index % 4])


def _castle(far: Panorama, mid: Panorama, near: Panorama) -> None:
    far.hills(48, [(1, 6, 1.0), (2, 3, 0.0)], (0.60, 0.56, 0.72))
    stone, dark, roof = (0.70, 0.68, 0.70), (0.40, 0.38, 0.44), (0.36, 0.34, 0.62)
    mid.rect(-80, 46, 160, 40, stone)
    for left in range(0, 160, 10):
        mid.rect(left, 42, 5, 6, stone)
    for cx, top in ((24, 26), (104, 20)):
        mid.rect(cx - 9, top, 18, 60, (0.78, 0.76, 0.77))
        mid.tri(cx, top + 0.5, 12, 17, roof)
        mid.rect(cx - 2, top + 8, 4, 8, dark, 2)
    mid.rect(56, 54, 16, 30, dark, 7)
    near.rect(-160, GROUND, 320, 30, (0.66, 0.60, 0.54))
    near.rect(-160, GROUND, 320, 2.5, (0.52, 0.46, 0.42))
    for index, left in enumerate(range(0, 320, 20)):
        near.rect(left + 1, 77, 17, 6, (0.74, 0.68, 0.61), 2)
        near.rect(left + 9 * (index % 2 == 0), 86, 17, 6, (0.74, 0.68, 0.61), 2)
    for cx, colour in ((40, (0.82, 0.22, 0.26)), (200, (0.92, 0.76, 0.26))):
        near.rect(cx - 1, 26, 2, 48, (0.42, 0.32, 0.24))
        near.rect(cx + 1, 28, 16, 12, colour)
    for cx in (120, 280):
        near.rect(cx - 1.5, 56, 3, 18, (0.36, 0.28, 0.22))
        near.circle(cx, 53, 4, (1.0, 0.72, 0.28), 5)


def _moon(far: Panorama, mid: Panorama, near: Panorama) -> None:
    far.hills(56, [(1, 4, 0.0), (3, 2, 1.0)], (0.42, 0.42, 0.48))
    mid.circle(70, 26, 11, (0.30, 0.56, 0.86))
    mid.circle(67, 24, 5.0, (0.44, 0.74, 0.46), 3.4)
    mid.circle(74, 30, 4.0, (0.44, 0.74, 0.46), 2.4)
    mid.hills(64, [(1, 4, 1.0)], (0.55, 0.55, 0.60))
    mid.circle(36, 66, 17, (0.78, 0.86, 0.92), 15)
    mid.circle(31, 60, 6, (0.92, 0.96, 0.99), 4)
    mid.rect(108, 34, 11, 28, (0.93, 0.93, 0.95), 5)
    mid.tri(113.5, 38, 5.5, 11, (0.86, 0.30, 0.28))
    mid.tri(108, 66, 6, 12, (0.86, 0.30, 0.28))
    mid.tri(119, 66, 6, 12, (0.86, 0.30, 0.28))
    near.hills(GROUND, [(2, 1.5, 0.0)], (0.74, 0.74, 0.77))
    for cx, cy, r in ((26, 80, 11), (84, 88, 8), (140, 79, 9), (196, 87, 12), (250, 80, 10), (300, 89, 7)):
        near.circle(cx, cy, r, (0.60, 0.60, 0.64), r * 0.32)
        near.circle(cx, cy + 0.8, r * 0.8, (0.66, 0.66, 0.70), r * 0.2)


_PAINTERS: dict[str, Callable[[Panorama, Panorama, Panorama], None]] = {
    "city": _city,
    "forest": _forest,
    "beach": _beach,
    "desert": _desert,
    "mountains": _mountains,
    "meadow": _meadow,
    "castle": _castle,
    "moon": _moon,
}


@cache
def layers(setting: str, device: torch.device, scale: int = 1) -> Layers:
    """The far, middle and near panoramas of a setting, painted once per device and scale."""
    far, mid, near = (Panorama(HEIGHT, width, device, scale) for width in WIDTHS)
    _PAINTERS[setting](far, mid, near)
    return far, mid, near
