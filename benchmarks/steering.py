"""How the tiny world follows inputs other than text: vectors in place of prompts, and initial frames.

    python benchmarks/steering.py --out benchmarks/results/tiny-steering.json

The probe reads what blocks show; results are shares of worlds for each attribute.

Shapes: N worlds, T pixel frames, H rows, W columns.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from report import command_line, parsed, write
from torch import Tensor

from longlive_env.engine.world import World
from longlive_env.envs.goals import LOOKS, describe_scene
from longlive_env.envs.prompts import embeddings
from longlive_env.envs.wrappers.embeddings import PromptEmbeddings, sampled_prompts
from longlive_env.provenance import provenance
from longlive_env.tiny.probe import Probe
from longlive_env.tiny.render import render_take
from longlive_env.tiny.scene import Scene, Take, block_start, picture_scale, sample_camera, sample_scene

CLIP_BLOCKS = 2


def shares(probe: Probe, frames: Tensor, scenes: list[Scene]) -> dict[str, float]:
    """Return the shares of worlds whose block, uint8 [N, T, H, W, 3], shows each look of its scene."""
    seen = probe.predict(frames)
    return {
        name: round(float(np.mean([seen[name][i] == s.attribute(name) for i, s in enumerate(scenes)])), 3)
        for name in LOOKS
    }


def vectors(world: World, probe: Probe, scenes: list[Scene], table: int) -> dict[str, Any]:
    """Measure the second block of worlds that get a scene as a vector in the text encoder's space.

    The scenes need not be in the table. `text` gives the scene in words; `nearest` uses the nearest prompt of
    the table; `direct` uses the tokens of that prompt, moved to the vector.
    """
    prompts = sampled_prompts(world.config.vocabulary, table)
    texts = [describe_scene(scene) for scene in scenes]
    found: dict[str, Any] = {"worlds": len(scenes), "table": table}
    for name in ("text", "nearest", "direct"):
        menu = PromptEmbeddings(world, prompts, direct=name == "direct")
        said = texts if name == "text" else [menu.prompt(menu.place(text), "") for text in texts]
        text, whole = embeddings(world, said)
        rollout = world.start([str(one) for one in said], 0, text=text, whole=whole)
        rollout.step()
        found[name] = shares(probe, rollout.step(), scenes)
    return found


def frames(world: World, probe: Probe, scenes: list[Scene], rng: np.random.Generator) -> dict[str, Any]:
    """Measure the first block after rendered frames, under a prompt that says what they show.

    `jump` is the mean absolute difference, in grey levels, between its first frame and the last given one;
    `rendered` is the same between neighbouring frames of the clips, and `prompt alone` is for worlds without
    the frames.
    """
    takes = [Take(((0, scene),), sample_camera(rng)) for scene in scenes]
    scale = picture_scale(world.config.height)
    clips = torch.stack([render_take(take, 0, block_start(CLIP_BLOCKS), scale=scale) for take in takes])
    steps = (clips[:, 1:].float() - clips[:, :-1].float()).abs().mean()
    found: dict[str, Any] = {"worlds": len(scenes), "rendered": {"jump": round(float(steps), 2)}}
    prompts = [describe_scene(scene) for scene in scenes]
    for name, given in (("prompt alone", None), ("picture", clips[:, -1]), ("clip", clips)):
        each = None if given is None else list(given)
        block = world.start(prompts, 0, frames=each).step()
        if block.shape[1] < world.config.block_pixel_frames:  # a first block is shorter
            lead = world.config.block_pixel_frames - block.shape[1]
            block = torch.cat([block[:, :1].expand(-1, lead, -1, -1, -1), block], dim=1)
        jump = (block[:, 0].float() - clips[:, -1].float()).abs().mean()
        found[name] = {"jump": round(float(jump), 2), **shares(probe, block, scenes)}
    return found


def main() -> None:
    """Measure, print, write."""
    parser = command_line(__doc__)
    parser.add_argument("--world", default="tiny", help="name or folder (tiny)")
    parser.add_argument("--worlds", type=int, default=48, help="how many scenes (48)")
    parser.add_argument("--table", type=int, default=256, help="prompts of the table (256)")
    args = parsed(parser)
    world, probe, rng = World.load(args.world), Probe.load(), np.random.default_rng(0)
    scenes = [sample_scene(rng) for _ in range(args.worlds)]
    report = {
        "fingerprint": world.fingerprint,
        "vectors": vectors(world, probe, scenes, args.table),
        "frames": frames(world, probe, scenes, rng),
        **provenance(),
    }
    print(json.dumps(report, indent=2))
    write(report, args.out)


if __name__ == "__main__":
    main()
