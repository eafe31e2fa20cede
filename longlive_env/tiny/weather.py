"""Light, sky and precipitation of each weather or time of day."""

# Everything that moves here repeats every 12 frames, one block at 16 FPS.
from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from longlive_env.tiny.scene import HEIGHT, WIDTH
from longlive_env.tiny.shapes import capsule, centres, coverage, ellipse

Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Light:
    """How a weather colours the world.

    Attributes:
        zenith: sky colour at the top.
        horizon: sky colour at the ground.
        tint: factor for scenery colours.
        haze: colour that distance fades to.
        haze_share: share of haze over the far, middle and near layer.
        subject_tint: factor for the subject's colours.
        ground_white: amount of snow on the near layer's ground.
    """

    zenith: Rgb
    horizon: Rgb
    tint: Rgb
    haze: Rgb
    haze_share: tuple[float, float, float]
    subject_tint: Rgb = (1.0, 1.0, 1.0)
    ground_white: float = 0.0


LIGHTS: dict[str, Light] = {
    "clear": Light(
        (0.30, 0.62, 0.96), (0.80, 0.93, 1.0), (1.0, 1.0, 1.0), (0.80, 0.93, 1.0), (0.25, 0.08, 0.0)
    ),
    "night": Light(
        (0.03, 0.04, 0.15),
        (0.13, 0.16, 0.38),
        (0.30, 0.34, 0.60),
        (0.10, 0.12, 0.30),
        (0.35, 0.15, 0.0),
        (0.86, 0.88, 0.98),
    ),
    "rain": Light(
        (0.36, 0.41, 0.50),
        (0.58, 0.63, 0.69),
        (0.62, 0.66, 0.74),
        (0.56, 0.61, 0.67),
        (0.45, 0.22, 0.05),
        (0.92, 0.93, 0.96),
    ),
    "snow": Light(
        (0.66, 0.74, 0.86),
        (0.90, 0.93, 0.97),
        (0.86, 0.90, 0.98),
        (0.90, 0.93, 0.97),
        (0.50, 0.30, 0.05),
        ground_white=0.75,
    ),
    "sunset": Light(
        (0.36, 0.20, 0.48),
        (1.0, 0.58, 0.30),
        (1.0, 0.70, 0.56),
        (1.0, 0.60, 0.38),
        (0.38, 0.16, 0.0),
        (1.0, 0.94, 0.90),
    ),
    "fog": Light(
        (0.80, 0.82, 0.84),
        (0.87, 0.88, 0.89),
        (0.92, 0.93, 0.94),
        (0.85, 0.87, 0.88),
        (0.88, 0.72, 0.45),
        (0.97, 0.97, 0.97),
    ),
}


def sky(weather: str, setting: str, device: torch.device, scale: int = 1) -> Tensor:
    """The sky behind all layers: a gradient, and a sun, a moon or stars.

    Args:
        weather: a member of `scene.WEATHERS`.
        setting: a member of `scene.SETTINGS`.
        device: device of the result.
        scale: picture pixels per scene pixel, along each side.

    Returns:
        `[3, HEIGHT * scale, WIDTH * scale]`, 0..1.
    """
    light = LIGHTS[weather]
    x, y = _grid(scale, device)
    zenith, horizon = (torch.tensor(c, device=device).reshape(3, 1, 1) for c in (light.zenith, light.horizon))
    share = (y / 64.0).clamp(max=1.0)
    picture = zenith + (horizon - zenith) * share
    if setting == "moon":
        picture = picture * 0.45
    if weather == "clear":
        glow = torch.exp(-(((x - 128) ** 2 + (y - 18) ** 2) / 500.0))
        picture = _over(picture, (1.0, 0.97, 0.80), 0.6 * glow)
        picture = _over(picture, (1.0, 0.95, 0.60), coverage(ellipse(x - 128, y - 18, 9, 9), 1 / scale))
    elif weather == "sunset":
        glow = torch.exp(-(((x - 36) ** 2 + (y - 50) ** 2) / 900.0))
        picture = _over(picture, (1.0, 0.80, 0.45), 0.7 * glow)
        picture = _over(picture, (1.0, 0.90, 0.62), coverage(ellipse(x - 36, y - 50, 13, 13), 1 / scale))
    elif weather == "night":
        picture = _over(picture, (0.96, 0.95, 0.86), coverage(ellipse(x - 132, y - 17, 8.5, 8.5), 1 / scale))
        bite = coverage(ellipse(x - 128.5, y - 15.5, 7.5, 7.5), 1 / scale)
        picture = picture * (1 - bite) + (zenith + (horizon - zenith) * share) * bite
        for index in range(18):
            star_x, star_y = (index * 53 + 11) % 118 + 2, (index * 29 + 7) % 46 + 3
            picture = _over(
                picture,
                (1.0, 1.0, 0.92),
                0.9 * coverage(ellipse(x - star_x, y - star_y, 0.9, 0.9), 1 / scale),
            )
    return picture.clamp(0.0, 1.0)


def precipitation(weather: str, phase: int, device: torch.device, scale: int = 1) -> tuple[Tensor, Rgb]:
    """What falls in front of the scene, in rain or snow, at frame `phase` of 12; for the rest see `sky`.

    Returns:
        Coverage `[HEIGHT * scale, WIDTH * scale]` and its colour.
    """
    x, y = _grid(scale, device)
    cover = torch.zeros_like(x)
    if weather == "rain":
        tile_x, tile_y = 40.0, 96.0
        for index in range(11):
            px = index * 3.7 - phase * tile_x / 12
            py = (index * 35.0) % tile_y + phase * tile_y / 12
            dx = (x - px + tile_x / 2) % tile_x - tile_x / 2
            dy = (y - py + tile_y / 2) % tile_y - tile_y / 2
            cover = torch.maximum(cover, coverage(capsule(dx, dy, 2.2, -5.5, -2.2, 5.5, 0.55), 1 / scale))
        return cover * 0.62, (0.86, 0.91, 0.98)
    tile = 48.0
    for index in range(7):
        sway = 2.0 * math.sin(2 * math.pi * (phase / 12 + index / 7))
        px, py = (index * 19.0) % 40 + sway, (index * 31.0) % tile + phase * tile / 12
        dx = (x - px + 20) % 40 - 20
        dy = (y - py + tile / 2) % tile - tile / 2
        cover = torch.maximum(cover, coverage(ellipse(dx, dy, 1.7, 1.7), 1 / scale))
    return cover * 0.95, (1.0, 1.0, 1.0)


def _grid(scale: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Positions of a picture's pixels in the scene, across and down; both have the picture's size."""
    x, y = centres(WIDTH, scale, device)[None, :], centres(HEIGHT, scale, device)[:, None]
    return x.expand(len(y), -1), y.expand(-1, x.shape[1])


def _over(picture: Tensor, colour: Rgb, cover: Tensor) -> Tensor:
    ink = torch.tensor(colour, device=picture.device).reshape(3, 1, 1)
    return picture * (1 - cover) + ink * cover
