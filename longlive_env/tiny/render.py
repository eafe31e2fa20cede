"""Renders the takes that the tiny world is trained on and that its probe learns to read."""

# T pixel frames; H, W = 96, 160 times the scale: pixels of the picture for one of the scene, along each side.
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from longlive_env.tiny import settings, subjects, weather
from longlive_env.tiny.scene import (
    ACTIONS,
    BLOCK_FRAMES,
    CAMERA_STEP,
    FRAMES_PER_LATENT,
    HEIGHT,
    WIDTH,
    Scene,
    Take,
)
from longlive_env.tiny.shapes import centres

PERIOD = BLOCK_FRAMES  # every cyclic movement repeats once a block
WALK_SPEED = CAMERA_STEP / PERIOD  # pixels a frame
FADE_FRAMES = 8  # a prompt change takes half a second to show fully
FEET = 82.0  # pixel row the subject stands on
JUMP_HEIGHT = 26.0
PATCH = 80  # width of the strip around the centre that the subject is drawn in


@dataclass(frozen=True)
class Motion:
    """What moves in a take, one value per frame.

    Attributes:
        camera: horizontal position in pixels `[T]`.
        facing: 1 faces right, -1 left, in between while turning `[T]`.
        weights: share of each action `[T, len(ACTIONS)]`; rows sum to 1.
        phase: position in the 12-frame cycle, an integer `[T]`.
    """

    camera: np.ndarray
    facing: np.ndarray
    weights: np.ndarray
    phase: np.ndarray


def motion(take: Take, frames: int) -> Motion:
    """Integrates the movement of a take over its first `frames` pixel frames.

    Poses take a few frames to change, but the camera starts and stops at once, so every block begins on the
    grid of camera positions.
    """
    first = take.scene_at(0).action
    pose, side = np.eye(len(ACTIONS))[ACTIONS.index(first)], np.array([-1.0 if first == "left" else 1.0])
    lacking = FRAMES_PER_LATENT - 1  # frames, in the first block
    position = take.camera + lacking * camera_speed(first)
    weights, facing, camera = np.empty((frames, len(ACTIONS))), np.empty((frames, 1)), np.empty(frames)
    starts = [start for start, _ in take.segments]
    for (start, scene), end in zip(take.segments, [*starts[1:], frames], strict=True):
        part, length = slice(start, end), min(end, frames) - start
        if length <= 0:
            continue
        toward = {"left": -1.0, "right": 1.0}.get(scene.action, 1.0 if side >= 0 else -1.0)
        weights[part] = _approach(pose, np.eye(len(ACTIONS))[ACTIONS.index(scene.action)], 0.25, length)
        facing[part] = _approach(side, np.array([toward]), 0.4, length)
        camera[part] = position + camera_speed(scene.action) * np.arange(length)
        pose, side = weights[part][-1], facing[part][-1]
        position += camera_speed(scene.action) * length
    phase = (np.arange(frames) + FRAMES_PER_LATENT - 1) % PERIOD
    return Motion(camera, facing[:, 0], weights / weights.sum(axis=1, keepdims=True), phase)


def _approach(start: np.ndarray, end: np.ndarray, step: float, frames: int) -> np.ndarray:
    """Values `[N]` on their way from a start to an end, at most a step further each frame `[frames, N]`."""
    reach = step * np.arange(1, frames + 1)[:, None]
    way: np.ndarray = start + np.clip(end - start, -reach, reach)
    return way


def camera_speed(action: str) -> float:
    """Movement of the camera in pixels per frame."""
    return {"left": -WALK_SPEED, "right": WALK_SPEED}.get(action, 0.0)


def render_take(
    take: Take, start: int, frames: int, device: torch.device | str = "cpu", scale: int = 1
) -> Tensor:
    """Renders part of a take.

    Args:
        take: the take to render.
        start: first pixel frame to render.
        frames: number of frames to render.
        device: device to compute on.
        scale: picture pixels per scene pixel, along each side.

    Returns:
        uint8 `[frames, 96 * scale, 160 * scale, 3]`.
    """
    device = torch.device(device)
    whole = motion(take, start + frames)
    out = torch.empty(frames, 3, HEIGHT * scale, WIDTH * scale, device=device)
    ends = [begin for begin, _ in take.segments[1:]] + [start + frames]
    offsets = take.offsets or (0.0,) * len(ends)
    previous: tuple[Scene, float] | None = None
    for (begin, scene), offset, end in zip(take.segments, offsets, ends, strict=True):
        low, high = max(begin, start), min(end, start + frames)
        if low < high:
            out[low - start : high - start] = _render_scene(
                scene, whole, offset, range(low, high), device, scale
            )
            fading = range(low, min(high, begin + FADE_FRAMES))
            if previous is not None and len(fading) and _looks(previous[0]) != _looks(scene):
                old = _render_scene(previous[0], whole, previous[1], fading, device, scale)
                share = (torch.arange(fading.start, fading.stop, device=device) - begin + 1) / (
                    FADE_FRAMES + 1
                )
                share = (share * share * (3 - 2 * share)).reshape(-1, 1, 1, 1)
                rows = slice(fading.start - start, fading.stop - start)
                out[rows] = old * (1 - share) + out[rows] * share
        previous = scene, offset
    return (out.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def render_scene(scene: Scene, frames: int = BLOCK_FRAMES, camera: float = 0.0, scale: int = 1) -> Tensor:
    """Renders one unchanging scene: uint8 `[frames, 96 * scale, 160 * scale, 3]`."""
    return render_take(Take(((0, scene),), camera), 0, frames, scale=scale)


def contact_sheet(scenes: Sequence[Scene], columns: int = 8, scale: int = 1) -> Tensor:
    """One frame of each scene in a grid: uint8 `[rows * 96 * scale, columns * 160 * scale, 3]`."""
    middle = BLOCK_FRAMES // 2
    pictures = [
        render_scene(scene, middle + 1, 37.0 * index, scale)[middle] for index, scene in enumerate(scenes)
    ]
    blank = torch.zeros_like(pictures[0])
    pictures += [blank] * (-len(pictures) % columns)
    rows = [torch.cat(pictures[at : at + columns], dim=1) for at in range(0, len(pictures), columns)]
    return torch.cat(rows, dim=0)


def _looks(scene: Scene) -> tuple[str, str, str, str]:
    return scene.subject, scene.colour, scene.setting, scene.weather


def _render_scene(
    scene: Scene, whole: Motion, offset: float, frames: range, device: torch.device, scale: int
) -> Tensor:
    """Frames of one scene `[T, 3, H, W]` in 0..1."""
    picture = _backdrop(scene.setting, scene.weather, device, scale).expand(len(frames), -1, -1, -1)
    camera = torch.tensor(whole.camera[frames.start : frames.stop] + offset, dtype=torch.float32)
    for depth in range(3):
        rgba = _lit_layer(scene.setting, scene.weather, depth, device, scale)
        seen = _scroll(rgba, camera * settings.PARALLAX[depth] * scale, WIDTH * scale)
        picture = picture * (1 - seen[:, 3:]) + seen[:, :3]
    picture = _add_subject(picture, scene, whole, frames, scale)
    return _add_precipitation(picture, scene.weather, whole.phase[frames.start : frames.stop], scale)


@cache
def _backdrop(setting: str, sky_weather: str, device: torch.device, scale: int) -> Tensor:
    return weather.sky(sky_weather, setting, device, scale)


@cache
def _lit_layer(setting: str, light_name: str, depth: int, device: torch.device, scale: int) -> Tensor:
    """A layer's premultiplied RGBA `[4, H, width]` under the light of a weather."""
    layer, light = settings.layers(setting, device, scale)[depth], weather.LIGHTS[light_name]
    tint, haze = (torch.tensor(c, device=device).reshape(3, 1, 1) for c in (light.tint, light.haze))
    rgb = layer.rgb
    if depth == 2 and light.ground_white:
        rows = centres(HEIGHT, scale, device).reshape(1, -1, 1)
        rgb = rgb + (1.0 - rgb) * light.ground_white * (rows >= settings.GROUND)
    lit = rgb * tint
    if light_name == "night":
        glowing = ((rgb[0] > 0.97) & (rgb[2] < 0.75) & (rgb[1] > 0.6)).float()
        lit = lit + (rgb - lit) * glowing
    lit = lit + (haze - lit) * light.haze_share[depth]
    return torch.cat([lit * layer.alpha, layer.alpha.unsqueeze(0)])


def _scroll(rgba: Tensor, offset: Tensor, seen: int) -> Tensor:
    """Windows of a periodic picture that begin at fractional columns `[T]` (host): `[T, 4, H, seen]`."""
    whole = torch.floor(offset)
    share = (offset - whole).reshape(-1, 1, 1, 1).to(rgba.device)
    width = rgba.shape[-1]
    begins = [int(begin) % width for begin in whole]
    endless = rgba.repeat(1, 1, 2 + seen // width)
    strip = torch.stack([endless[..., begin : begin + seen + 1] for begin in begins])
    return strip[..., :-1] * (1 - share) + strip[..., 1:] * share


def _add_subject(picture: Tensor, scene: Scene, whole: Motion, frames: range, scale: int) -> Tensor:
    device, part = picture.device, slice(frames.start, frames.stop)

    def column(values: np.ndarray) -> Tensor:
        return torch.tensor(values, device=device, dtype=torch.float32).reshape(-1, 1, 1)

    left, right, still, jump, dance = (column(whole.weights[part, index]) for index in range(5))
    angle = column(whole.phase[part]) * (2 * math.pi / PERIOD)
    cycle = column(whole.phase[part]) / PERIOD
    arc = 4 * cycle * (1 - cycle)
    walking = left + right
    height = (
        jump * JUMP_HEIGHT * arc
        + walking * 1.5 * torch.sin(2 * angle).abs()
        + dance * 4 * torch.sin(angle).abs()
    )
    stretch = 1 + jump * 0.16 * (arc - 0.35) + still * 0.02 * torch.sin(angle)
    tilt = dance * 0.34 * torch.sin(angle)
    facing = column(whole.facing[part])
    facing = torch.where(facing < 0, facing.clamp(max=-0.2), facing.clamp(min=0.2))

    sway = dance * 6 * torch.sin(angle)
    x = (centres(PATCH, scale, device) - PATCH / 2).reshape(1, 1, -1) - sway
    feet_y = (centres(HEIGHT, scale, device) - FEET).reshape(1, -1, 1)
    y = feet_y + height
    turned_x = x * torch.cos(tilt) + y * torch.sin(tilt)
    turned_y = y * torch.cos(tilt) - x * torch.sin(tilt)
    stride = walking * torch.sin(angle) + dance * 0.5 * torch.sin(angle)
    rgb, cover = subjects.draw(
        scene.subject, scene.colour, turned_x / facing * stretch, turned_y / stretch, stride, 1 / scale
    )
    light = weather.LIGHTS[scene.weather]
    rgb = rgb * torch.tensor(light.subject_tint, device=device).reshape(1, 3, 1, 1)

    shadow_x = (centres(WIDTH, scale, device) - WIDTH / 2).reshape(1, 1, -1) - sway
    spread = 1 - 0.35 * jump * arc
    shadow = (1 - (shadow_x / (20 * spread)) ** 2 - (feet_y / 4.0) ** 2).clamp(0, 1).unsqueeze(1)
    picture, side = picture * (1 - 0.38 * shadow), (WIDTH - PATCH) // 2 * scale
    middle = slice(side, side + PATCH * scale)
    picture[..., middle] = picture[..., middle] * (1 - cover) + rgb * cover
    return picture


@cache
def _falling(name: str, phase: int, device: torch.device, scale: int) -> tuple[Tensor, Tensor]:
    cover, colour = weather.precipitation(name, phase, device, scale)
    return cover, torch.tensor(colour, device=device).reshape(3, 1, 1)


def _add_precipitation(picture: Tensor, name: str, phases: np.ndarray, scale: int) -> Tensor:
    if name not in ("rain", "snow"):
        return picture
    falling = [_falling(name, int(phase), picture.device, scale) for phase in phases]
    cover = torch.stack([item[0] for item in falling]).unsqueeze(1)
    return picture * (1 - cover) + falling[0][1] * cover
