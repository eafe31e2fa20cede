"""Anti-aliased shapes: signed distances, and a canvas that paints them.

Lengths are in pixels of a scene. A picture may have several pixels (`scale`) for each, along each side.
"""

# d: signed distance [..., h, w], negative inside.  x, y: coordinates [..., h, w], y downward.
from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Colour = Sequence[float] | Tensor


def ellipse(x: Tensor, y: Tensor, rx: float, ry: float) -> Tensor:
    """Approximate distance to an axis-parallel ellipse at the origin (exact for a circle)."""
    scaled = torch.sqrt((x / rx) ** 2 + (y / ry) ** 2 + 1e-9)
    slope = torch.sqrt((x / rx**2) ** 2 + (y / ry**2) ** 2 + 1e-9)
    return scaled * (scaled - 1.0) / slope


def box(x: Tensor, y: Tensor, half_w: float, half_h: float, radius: float = 0.0) -> Tensor:
    """Distance to a box with rounded corners, centred at the origin."""
    dx = x.abs() - (half_w - radius)
    dy = y.abs() - (half_h - radius)
    outside = torch.sqrt(dx.clamp(min=0) ** 2 + dy.clamp(min=0) ** 2 + 1e-9)
    return outside + torch.maximum(dx, dy).clamp(max=0) - radius


def capsule(
    x: Tensor,
    y: Tensor,
    ax: float | Tensor,
    ay: float | Tensor,
    bx: float | Tensor,
    by: float | Tensor,
    r: float,
) -> Tensor:
    """Distance to the segment from a to b, thickened by `r`."""
    abx, aby = bx - ax, by - ay
    along = ((x - ax) * abx + (y - ay) * aby) / (abx * abx + aby * aby + 1e-6)
    along = along.clamp(0.0, 1.0)
    return torch.sqrt((x - ax - along * abx) ** 2 + (y - ay - along * aby) ** 2 + 1e-9) - r


def triangle(x: Tensor, y: Tensor, points: Sequence[tuple[float, float]]) -> Tensor:
    """Distance to a convex polygon of three or more corners, given in clockwise screen order."""
    distance = torch.full_like(x, -1e9)
    for (ax, ay), (bx, by) in zip(points, [*points[1:], points[0]], strict=True):
        ex, ey = bx - ax, by - ay
        length = math.hypot(ex, ey)
        distance = torch.maximum(distance, ((x - ax) * ey - (y - ay) * ex) / length)
    return distance


def coverage(distance: Tensor, softness: float = 1.0) -> Tensor:
    """Share of each pixel that the shape covers, 0..1."""
    return (0.5 - distance / softness).clamp(0.0, 1.0)


def centres(count: int, scale: int, device: torch.device) -> Tensor:
    """Centres of a picture's pixels, in pixels of the scene.

    Args:
        count: number of scene pixels.
        scale: picture pixels for each of them.
        device: device of the result.

    Returns:
        float32 `[count * scale]`.
    """
    return (torch.arange(count * scale, device=device).float() + 0.5) / scale


class Panorama:
    """A horizontally periodic RGBA picture that shapes are painted on.

    Attributes:
        width: width in pixels of the scene.
        scale: picture pixels per scene pixel, along each side.
        rgb: colour, not premultiplied `[3, height * scale, width * scale]`.
        alpha: coverage `[height * scale, width * scale]`.
    """

    def __init__(self, height: int, width: int, device: torch.device, scale: int = 1) -> None:
        self.width, self.scale = width, scale
        self._y = centres(height, scale, device)[:, None]
        self._x = centres(width, scale, device)[None, :]
        self.alpha = torch.zeros(height * scale, width * scale, device=device)
        self.rgb = torch.zeros(3, *self.alpha.shape, device=device)

    def at(self, cx: float, cy: float) -> tuple[Tensor, Tensor]:
        """Coordinates relative to a point, wrapped around the picture's width."""
        x = (self._x - cx + self.width / 2) % self.width - self.width / 2
        return x.expand_as(self.alpha), (self._y - cy).expand_as(self.alpha)

    def paint(self, distance: Tensor, colour: Colour) -> None:
        """Paint a shape over what is there."""
        cover = coverage(distance, 1 / self.scale)
        total = cover + self.alpha * (1 - cover)
        ink = torch.as_tensor(colour, device=self.rgb.device).reshape(3, 1, 1)
        share = torch.where(total > 0, cover / total.clamp(min=1e-6), torch.zeros_like(total))
        self.rgb = self.rgb * (1 - share) + ink * share
        self.alpha = total

    def circle(self, cx: float, cy: float, r: float, colour: Colour, ry: float | None = None) -> None:
        """Paint a circle, or an ellipse when `ry` is given."""
        x, y = self.at(cx, cy)
        self.paint(ellipse(x, y, r, ry or r), colour)

    def rect(self, left: float, top: float, w: float, h: float, colour: Colour, radius: float = 0.0) -> None:
        """Paint a rectangle from its top-left corner."""
        x, y = self.at(left + w / 2, top + h / 2)
        self.paint(box(x, y, w / 2, h / 2, radius), colour)

    def tri(self, cx: float, base: float, half_w: float, height: float, colour: Colour) -> None:
        """Paint an upright triangle standing on `base`."""
        x, y = self.at(cx, base)
        self.paint(triangle(x, y, [(-half_w, 0.0), (0.0, -height), (half_w, 0.0)]), colour)

    def line(self, cx: float, cy: float, dx: float, dy: float, r: float, colour: Colour) -> None:
        """Paint a thick line from a point to that point plus (dx, dy)."""
        x, y = self.at(cx, cy)
        self.paint(capsule(x, y, 0.0, 0.0, dx, dy, r), colour)

    def hills(self, top: float, waves: Sequence[tuple[int, float, float]], colour: Colour) -> None:
        """Fill everything below a sum of sines `(cycles, amplitude, phase)` around the height `top`."""
        angle = self._x / self.width * 2 * math.pi
        edge = top + sum((a * torch.sin(angle * n + p) for n, a, p in waves), torch.zeros_like(self._x))
        self.paint((edge - self._y).expand_as(self.alpha), colour)
