"""The eight subjects, drawn from anti-aliased shapes in a pose, facing right."""

# x, y: local coordinates [T, h, w] in pixels, y downward, the origin between the feet.
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from longlive_env.tiny.shapes import Colour, box, capsule, coverage, ellipse, triangle

PALETTE: dict[str, tuple[float, float, float]] = {
    "red": (0.90, 0.16, 0.15),
    "orange": (0.98, 0.52, 0.08),
    "yellow": (0.99, 0.87, 0.16),
    "green": (0.20, 0.72, 0.28),
    "blue": (0.16, 0.42, 0.95),
    "purple": (0.52, 0.24, 0.82),
    "pink": (0.99, 0.52, 0.76),
    "white": (0.97, 0.97, 0.98),
}
INK = (0.12, 0.11, 0.16)
LIGHT = (0.98, 0.98, 0.96)
OUTLINE_PX = 1.3

Part = tuple[Tensor, Colour]


def _robot(x: Tensor, y: Tensor, stride: Tensor, main: Tensor) -> list[Part]:
    swing = stride * 4
    return [
        (box(x + 5 - swing, y + 5, 3.5, 5.5, 1.5), INK),
        (box(x - 5 + swing, y + 5, 3.5, 5.5, 1.5), INK),
        (capsule(x, y, 0, -38, 0, -46, 1.1), INK),
        (ellipse(x, y + 47, 2.8, 2.8), (1.0, 0.85, 0.25)),
        (box(x, y + 18, 13, 9.5, 3), main),
        (box(x, y + 33, 11, 7, 3), main * 0.82),
        (box(x - 2, y + 33, 7.5, 4, 2), INK),
        (ellipse(x - 5.5, y + 33, 1.8, 1.8), (0.55, 0.95, 1.0)),
        (ellipse(x + 1.0, y + 33, 1.8, 1.8), (0.55, 0.95, 1.0)),
        (capsule(x, y, -2 - swing, -22, -2 + swing, -12, 2.4), main * 0.66),
    ]


def _cat(x: Tensor, y: Tensor, stride: Tensor, main: Tensor) -> list[Part]:
    swing = stride * 4
    shade = main * 0.78
    return [
        (capsule(x, y, -16, -18, -24, -32, 2.6), shade),
        (capsule(x, y, -10, -12, -10 - swing, -2, 2.7), shade),
        (capsule(x, y, 9, -12, 9 + swing, -2, 2.7), shade),
        (capsule(x, y, -13, -12, -13 + swing, -2, 2.7), main),
        (capsule(x, y, 6, -12, 6 - swing, -2, 2.7), main),
        (ellipse(x + 3, y + 17, 17, 9.5), main),
        (triangle(x - 8, y + 34, [(-4.0, 3.0), (-4.0, -9.0), (5.0, 0.0)]), main),
        (triangle(x - 19, y + 34, [(-4.0, 0.0), (4.0, -9.0), (4.0, 3.0)]), main),
        (ellipse(x - 14, y + 28, 11, 9.5), main),
        (ellipse(x - 11, y + 29, 1.7, 2.4), INK),
        (ellipse(x - 19, y + 29, 1.7, 2.4), INK),
        (ellipse(x - 15.5, y + 24.5, 1.8, 1.3), (0.95, 0.55, 0.60)),
    ]


def _rabbit(x: Tensor, y: Tensor, stride: Tensor, main: Tensor) -> list[Part]:
    swing = stride * 3
    shade = main * 0.80
    return [
        (ellipse(x + 15, y + 10, 4.5, 4.5), LIGHT),
        (capsule(x, y, 3, -34, -4, -52, 3.4), shade),
        (capsule(x, y, 9, -34, 9, -53, 3.6), main),
        (capsule(x, y, 9, -37, 9, -50, 1.5), (0.99, 0.75, 0.78)),
        (ellipse(x + 2 - swing, y + 3, 7.5, 3.4), shade),
        (ellipse(x, y + 14, 13.5, 12.5), main),
        (ellipse(x - 6, y + 12, 5.5, 7.5), LIGHT),
        (ellipse(x - 7 + swing, y + 3, 6, 3.2), main),
        (ellipse(x - 7, y + 31, 10, 9), main),
        (ellipse(x - 10, y + 32, 1.8, 2.6), INK),
        (ellipse(x - 17, y + 29, 1.6, 1.3), (0.95, 0.50, 0.55)),
    ]


def _chick(x: Tensor, y: Tensor, stride: Tensor, main: Tensor) -> list[Part]:
    swing = stride * 4
    beak = (0.99, 0.62, 0.12)
    return [
        (capsule(x, y, -4, -10, -4 - swing, -1, 1.5), beak),
        (capsule(x, y, 4, -10, 4 + swing, -1, 1.5), beak),
        (triangle(x + 15, y + 20, [(-7.0, -8.0), (6.0, 0.0), (4.0, 7.0)]), main * 0.8),
        (ellipse(x, y + 21, 16.5, 14.5), main),
        (triangle(x - 20, y + 26, [(-6.0, -6.0), (7.0, 0.0), (-6.0, 6.0)]), beak),
        (ellipse(x - 5, y + 32, 11.5, 10.5), main),
        (ellipse(x - 9, y + 34, 2.1, 2.9), INK),
        (ellipse(x - 9.6, y + 35, 0.8, 1.0), LIGHT),
        (ellipse(x + 4, y + 20, 8, 6), main * 0.78),
        (capsule(x, y, -6, -42, -9, -47, 1.6), main),
    ]


def _car(x: Tensor, y: Tensor, stride: Tensor, main: Tensor) -> list[Part]:
    hub = stride * 1.6
    glass = (0.70, 0.88, 0.97)
    return [
        (box(x + 2, y + 25, 14, 9, 6), main * 0.88),
        (box(x - 5, y + 25.5, 5, 5, 2), glass),
        (box(x + 8, y + 25.5, 5, 5, 2), glass),
        (box(x, y + 14, 25, 8, 5), main),
        (box(x, y + 9, 25, 2.2, 1), main * 0.6),
        (ellipse(x - 22.5, y + 15.5, 2.6, 2.8), (1.0, 0.96, 0.70)),
        (ellipse(x - 13, y + 6.5, 6.6, 6.6), INK),
        (ellipse(x + 13, y + 6.5, 6.6, 6.6), INK),
        (ellipse(x - 13 - hub, y + 6.5, 2.8, 2.8), (0.80, 0.80, 0.84)),
        (ellipse(x + 13 - hub, y + 6.5, 2.8, 2.8), (0.80, 0.80, 0.84)),
    ]


def _ghost(x: Tensor, y: Tensor, stride: Tensor, main: Tensor) -> list[Part]:
    hem = 3.0 * torch.sin(x * 0.62 + stride * 1.5)
    body = torch.maximum(torch.minimum(ellipse(x, y + 32, 15, 15), box(x, y + 20, 15, 14)), y + 8 + hem)
    return [
        (body, main),
        (capsule(x, y, -14, -22, -19, -18 - stride * 2, 3.0), main),
        (capsule(x, y, 14, -22, 19, -18 + stride * 2, 3.0), main),
        (ellipse(x - 9, y + 34, 2.7, 3.8), INK),
        (ellipse(x - 0, y + 34, 2.7, 3.8), INK),
        (ellipse(x - 4.5, y + 25, 2.6, 3.2), INK),
    ]


def _snail(x: Tensor, y: Tensor, stride: Tensor, main: Tensor) -> list[Part]:
    skin = (0.93, 0.80, 0.62)
    reach = stride * 1.6
    return [
        (capsule(x, y, 17, -20, 15, -31 + reach, 1.3), skin),
        (capsule(x, y, 20, -20, 23, -30 - reach, 1.3), skin),
        (ellipse(x - 15, y + 32 - reach, 2.3, 2.3), INK),
        (ellipse(x - 23, y + 31 + reach, 2.3, 2.3), INK),
        (capsule(x, y, -21, -4, 15, -4, 4.2), skin),
        (capsule(x, y, 15, -5, 19, -17, 5.2), skin),
        (ellipse(x + 5, y + 21, 16.5, 16), main),
        (ellipse(x + 4, y + 20, 11, 10.5), main * 0.68),
        (ellipse(x + 4.5, y + 19.5, 7.5, 7), main),
        (ellipse(x + 4, y + 19, 3.2, 3.0), main * 0.68),
        (ellipse(x - 22, y + 16, 0.9, 1.2), INK),
    ]


def _dinosaur(x: Tensor, y: Tensor, stride: Tensor, main: Tensor) -> list[Part]:
    swing = stride * 4
    shade = main * 0.76
    spikes = [
        (triangle(x + dx, y + dy, [(-4.0, 4.0), (0.0, -6.0), (4.0, 4.0)]), main * 0.55)
        for dx, dy in ((-3, 42), (5, 33), (11, 26))
    ]
    return [
        *spikes,
        (capsule(x, y, -8, -13, -25, -5, 4.0), main),
        (capsule(x, y, -6, -12, -6 - swing, -3, 4.2), shade),
        (capsule(x, y, 5, -12, 5 + swing, -3, 4.2), main),
        (ellipse(x + 1, y + 18, 13, 12), main),
        (capsule(x, y, 4, -24, 7, -38, 6.5), main),
        (box(x - 12, y + 40, 11, 6.5, 5), main),
        (ellipse(x - 3, y + 16, 6.5, 8), main * 0.4 + 0.6),
        (ellipse(x - 10, y + 42.5, 1.8, 2.2), INK),
        (capsule(x, y, 14, -37, 22, -37, 0.7), INK),
        (capsule(x, y, 11, -24, 16, -20 + stride, 2.0), shade),
    ]


_PARTS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], list[Part]]] = {
    "robot": _robot,
    "cat": _cat,
    "rabbit": _rabbit,
    "chick": _chick,
    "car": _car,
    "ghost": _ghost,
    "snail": _snail,
    "dinosaur": _dinosaur,
}


def draw(
    subject: str, colour: str, x: Tensor, y: Tensor, stride: Tensor, softness: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Paint a subject.

    Args:
        subject: a member of `scene.SUBJECTS`.
        colour: a member of `scene.COLOURS`.
        x: local horizontal coordinates in pixels `[T, h, w]`; the subject faces positive x.
        y: local vertical coordinates in pixels `[T, h, w]`, downward, 0 at the feet.
        stride: swing of the legs in each frame, -1..1 `[T, 1, 1]`.
        softness: width of an edge in the same pixels: that of one picture pixel.

    Returns:
        Colour `[T, 3, h, w]` and coverage `[T, 1, h, w]`, both 0..1.
    """
    main = torch.tensor(PALETTE[colour], device=x.device)
    parts = _PARTS[subject](x, y, stride, main)
    silhouette = torch.stack([part[0].expand_as(x) for part in parts]).amin(dim=0)
    rgb = torch.tensor(INK, device=x.device).reshape(1, 3, 1, 1).expand(x.shape[0], 3, *x.shape[1:])
    for distance, ink in parts:
        cover = coverage(distance, softness).unsqueeze(1)
        rgb = rgb + (torch.as_tensor(ink, device=x.device).reshape(1, 3, 1, 1) - rgb) * cover
    return rgb, coverage(silhouette - OUTLINE_PX, softness).unsqueeze(1)
