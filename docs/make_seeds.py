"""Draw how seeds differ: `python docs/make_seeds.py`. Each row shows one prompt, each column one seed."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from longlive_env.engine.world import World

PROMPTS = (
    "a red robot walks right through the city",
    "a white ghost dances on the beach in the rain",
    "a green car drives left through the forest at sunset",
)
SEEDS = (0, 1, 8, 3, 2)  # whose noise tells of the five places in turn


def main() -> None:
    """Begin a take of each prompt with each seed, and save the newest frames of the first blocks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images" / "seeds.webp")
    args = parser.parse_args()
    world = World.load("tiny")
    rows = [world.start([prompt] * len(SEEDS), seed=SEEDS).step()[:, -1].numpy() for prompt in PROMPTS]
    picture = Image.fromarray(np.concatenate([np.concatenate(list(row), axis=1) for row in rows]))
    picture.resize((picture.width * 2 // 3, picture.height * 2 // 3), Image.Resampling.LANCZOS).save(
        args.out, quality=85, method=6
    )
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
