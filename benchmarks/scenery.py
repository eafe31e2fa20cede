"""How close the tiny world's scenery is to the renderer's, and whether it moves on correctly.

    python benchmarks/scenery.py --out benchmarks/results/tiny-scenery.json

The renderer draws each block at all twenty places of the camera. The nearest one, by the mean squared
distance of standardised latents, is where the block shows the camera; the distance is its error, from haze or
anything else. A block moves on correctly if it shows the camera where a take that began at the place of the
previous block would. Scenes and wording are held out.

Takes are of two kinds: ten blocks whose setting changes half-way, and long walks under one prompt. For the
former, the decoded frames are also compared with the nearest rendered ones: their PSNR, the PSNR and grain
of the subject's strip where it jumps or dances, which is hardest, and their relative sharpness (1 is as
sharp; mean squared gradients). Frames of a world with detail are compared at their own size, and averaged to
the scene's size, which is that of worlds without detail.

Shapes: N worlds, P places, F latent frames of a block, C latent channels, h x w latent size.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from report import command_line, parsed, write
from torch import Tensor

from longlive_env.engine.codec import Codec
from longlive_env.engine.codec.patch_vae import PatchVAE
from longlive_env.engine.world import World
from longlive_env.provenance import provenance
from longlive_env.tiny.captions import caption
from longlive_env.tiny.probe import to_pixels
from longlive_env.tiny.render import PATCH, camera_speed
from longlive_env.tiny.scene import (
    CAMERA_STEP,
    LIVELY,
    SCENERY_WIDTH,
    WIDTH,
    Scene,
    Take,
    block_start,
    sample_scene,
)
from longlive_env.training.latents import draw_each, encode_each
from longlive_env.training.losses import grain, sharpness

Played = Callable[[World, list[Any], int], tuple[np.ndarray, ...]]

PLACES = tuple(float(place) for place in range(0, SCENERY_WIDTH, CAMERA_STEP))
TURN, BLOCKS = 5, 10  # block at which the setting changes, and length of a take
BATCH = 8
WALK, STRETCH = 20, 5  # blocks of a long walk, and of its separately reported parts
NEAR = tuple(float(CAMERA_STEP * steps) for steps in (0, -1, 1, -2, 2))  # where a walk may have got to
STRIP = (WIDTH - PATCH) // 2, (WIDTH + PATCH) // 2  # columns in which the subject is drawn


def pairs(count: int) -> list[tuple[Scene, Scene]]:
    """Return held-out scenes, each paired with one in another setting."""
    rng, found = np.random.default_rng(0), list[tuple[Scene, Scene]]()
    while len(found) < count:
        before, after = sample_scene(rng, "held_out"), sample_scene(rng, "held_out")
        if before.setting != after.setting:
            found.append((before, after))
    return found


def locate(latents: Tensor, takes: list[Take], block: int, codec: Codec) -> tuple[int, float]:
    """Return which take a block `[F, C, h, w]` is nearest to, and its error."""
    drawn = encode_each(takes, block, codec)
    distances = (drawn - latents).square().flatten(1).mean(dim=1)
    return int(distances.argmin()), float(distances.min())


def look(shown: Tensor, take: Take, block: int) -> tuple[float, ...]:
    """Compare a block's frames, `[1, T, 3, H, W]` in [-1, 1], with rendered ones.

    Returns:
        Squared errors of the whole frame and of the subject's strip, the squared `grain` of that strip, and
        `sharpness` of both.
    """
    scale = shown.shape[-1] // WIDTH
    rendered, strip = draw_each([take], block, scale=scale), slice(STRIP[0] * scale, STRIP[1] * scale)
    within = shown[..., strip], rendered[..., strip]
    error, off = F.mse_loss(shown, rendered).item(), F.mse_loss(*within).item()
    return error, off, grain(*within) ** 2, sharpness(shown), sharpness(rendered)


def sizes(frames: Tensor) -> list[Tensor]:
    """Return frames, uint8 `[T, H, W, 3]`, as pixels `[1, T, 3, H, W]`; if larger, also at scene size."""
    shown = to_pixels(frames[None])
    scale = shown.shape[-1] // WIDTH
    return [shown] if scale == 1 else [shown, F.avg_pool2d(shown[0], scale)[None]]


def light(codec: Codec) -> Codec:
    """Return the codec that encodes rendered frames of a scene's size to latents of a world."""
    assert isinstance(codec, PatchVAE)
    return codec.light()


def play(world: World, scenes: list[tuple[Scene, Scene]], first: int) -> tuple[np.ndarray, ...]:
    """Play takes, numbered from `first` on, which seeds them.

    Returns:
        Places and distances `[N, BLOCKS]`, and results of `look` at each of `sizes` `[N, BLOCKS, sizes, 5]`.
    """
    said, codec = [], light(world.codec)
    for number, (before, after) in enumerate(scenes, first):
        rng = np.random.default_rng((1, number))
        said.append((caption(before, rng, "held_out"), caption(after, rng, "held_out")))
    rollout = world.start([before for before, _ in said], list(range(first, first + len(scenes))))
    places, distances = np.zeros((len(scenes), BLOCKS), int), np.zeros((len(scenes), BLOCKS))
    looks = np.zeros((len(scenes), BLOCKS, 1 if world.config.width == WIDTH else 2, 5))
    for block in range(BLOCKS):
        if block == TURN:
            rollout.switch_prompt([after for _, after in said])
        latents = rollout.step_latents()
        frames = rollout.decode(latents)
        for index, (before, after) in enumerate(scenes):
            segments = ((0, before), (block_start(TURN), after))
            takes = [Take(segments, place) for place in PLACES]
            if block >= TURN:  # a fading scene stays where it was last seen
                seen = PLACES[places[index, TURN - 1]]
                takes = [Take(segments, seen, (0.0, place - seen)) for place in PLACES]
            nearest, distances[index, block] = locate(latents[index], takes, block, codec)
            places[index, block] = nearest
            looks[index, block] = [look(shown, takes[nearest], block) for shown in sizes(frames[index])]
    return places, distances, looks


def walk(world: World, scenes: list[Scene], first: int) -> tuple[np.ndarray, ...]:
    """Return which blocks of long walks move on, and distances `[N, WALK]`; numbered from `first` on."""
    said = [
        caption(scene, np.random.default_rng((2, number)), "held_out")
        for number, scene in enumerate(scenes, first)
    ]
    codec = light(world.codec)
    rollout = world.start(said, list(range(first, first + len(scenes))))
    moves, distances = np.ones((len(scenes), WALK), bool), np.zeros((len(scenes), WALK))
    seen = [0.0] * len(scenes)  # place at which each walk seems to have begun
    for block in range(WALK):
        latents = rollout.step_latents()
        for index, scene in enumerate(scenes):
            places = [seen[index] + shift for shift in NEAR] if block else list(PLACES)
            takes = [Take(((0, scene),), place) for place in places]
            nearest, distances[index, block] = locate(latents[index], takes, block, codec)
            moves[index, block] = block == 0 or nearest == 0
            seen[index] = places[nearest]
    return moves, distances


def walkers(count: int) -> list[Scene]:
    """Return held-out scenes of walks."""
    rng, found = np.random.default_rng(3), list[Scene]()
    while len(found) < count:
        scene = sample_scene(rng, "held_out")
        if walks(scene):
            found.append(scene)
    return found


def walks(scene: Scene) -> bool:
    """Return whether the camera should move."""
    return bool(camera_speed(scene.action))


def in_batches(played: Played, world: World, scenes: list[Any]) -> tuple[np.ndarray, ...]:
    """Run `play` or `walk` on all scenes, a few worlds at a time."""
    starts = range(0, len(scenes), BATCH)
    parts = [played(world, scenes[first : first + BATCH], first) for first in starts]
    return tuple(np.concatenate(found) for found in zip(*parts, strict=True))


@torch.no_grad()
def measure_walks(world: World, count: int) -> dict[str, Any]:
    """Play long walks, and compare every block with the renderer's."""
    scenes = walkers(count)
    moves, distances = in_batches(walk, world, scenes)
    stretches = [slice(first, min(first + STRETCH, WALK)) for first in range(0, WALK, STRETCH)]
    return {
        "walks": count,
        "blocks": [f"{part.start + 1} to {part.stop}" for part in stretches],
        "distance": [rounded(distances[:, part]) for part in stretches],
        "moves on as it should": [rounded(moves[:, max(1, part.start) : part.stop]) for part in stretches],
    }


@torch.no_grad()
def measure(world: World, count: int) -> dict[str, Any]:
    """Play takes whose setting changes once, and compare every block with the renderer's."""
    scenes = pairs(count)
    places, distances, looks = in_batches(play, world, scenes)
    lively = np.array([[scene.action in LIVELY for scene in pair] for pair in scenes])
    lively = np.repeat(lively, (TURN, BLOCKS - TURN), axis=1)
    frames = [seen(looks[:, :, size], lively) for size in range(looks.shape[2])]
    names = ("frames", f"frames averaged to {WIDTH} columns")
    same = places[:, 1:] == places[:, :-1]  # since places are where the take began
    walking = np.array([[walks(scene) for scene in pair] for pair in scenes])
    moving = np.repeat(walking, (TURN - 1, BLOCKS - TURN), axis=1)
    follows = np.arange(1, BLOCKS) != TURN  # a new setting may be at any place
    same, moving = same[:, follows], moving[:, follows]
    return {
        "takes": count,
        "distance": {
            "first block": rounded(distances[:, 0]),
            "blocks after it": rounded(distances[:, 1:TURN]),
            "first block of a new setting": rounded(distances[:, TURN]),
            "blocks after that": rounded(distances[:, TURN + 1 :]),
        },
        "moves on as it should": {"walking": rounded(same[moving]), "at rest": rounded(same[~moving])},
        **dict(zip(names, frames, strict=False)),
    }


def seen(looks: np.ndarray, lively: np.ndarray) -> dict[str, float | None]:
    """Sum up results of `look` `[N, BLOCKS, 5]`, given which blocks show jumps and dances `[N, BLOCKS]`."""
    error, *_, shown, rendered = looks.mean(axis=(0, 1))
    strips = looks[lively]
    return {
        "PSNR": decibels(error),
        "PSNR around jumps and dances": decibels(strips[:, 1].mean()) if strips.size else None,
        "grain around jumps and dances": round(float(strips[:, 2].mean() ** 0.5), 2) if strips.size else None,
        "sharpness": round(shown / rendered, 3),
    }


def decibels(error: float) -> float:
    """Return the PSNR of pixels in [-1, 1]."""
    return round(float(10 * np.log10(4 / error)), 2)


def rounded(values: np.ndarray) -> float | None:
    """Return the rounded mean of some figures, or None for none."""
    return round(float(values.mean()), 3) if values.size else None


def main() -> None:
    """Measure, print, write."""
    parser = command_line(__doc__)
    parser.add_argument("--world", default="tiny", help="name or folder (tiny)")
    parser.add_argument("--takes", type=int, default=32, help="how many of each kind (32)")
    parser.add_argument("--steps", type=int, help="denoising steps of a block (the world's)")
    args = parsed(parser)
    world = World.load(args.world, steps=args.steps)
    steps = len(world.config.sampler.steps)
    report = {
        "world": args.world,
        "steps": steps,
        "fingerprint": world.fingerprint,
        **measure(world, args.takes),
        "long walks": measure_walks(world, args.takes),
        **provenance(),
    }
    print(json.dumps(report, indent=2))
    write(report, args.out)


if __name__ == "__main__":
    main()
