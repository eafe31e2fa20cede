"""Make the README's film from a scenario as the tiny world plays it: `python docs/make_film.py`.

Every frame is shown, at the world's own rate; a new prompt is bright at first. The film is an animated WebP,
which pages show without a player.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from longlive_env.envs.world_cache import shared_world
from longlive_env.scenario import load_scenario
from longlive_env.scenario.playback import Block, play

WIDTH = 480  # pixels
BAR = 44  # pixels under the picture, for the prompt
HERE = Path(__file__).parent
FONT = HERE.parent / "longlive_env" / "viewer" / "fonts" / "Inter-SemiBold.otf"
BACKGROUND, FRESH, SETTLED = "#14151a", "#ffd479", "#c9cad2"
FRESH_BLOCKS = 2


def draw(block: Block, age: int, font: ImageFont.FreeTypeFont) -> Iterator[Image.Image]:
    """The frames of a block with its prompt, which has been in force for `age` blocks."""
    for frame in block.frames:
        rows = frame.shape[0] * WIDTH // frame.shape[1]
        out = Image.new("RGB", (WIDTH, rows + BAR), BACKGROUND)
        out.paste(Image.fromarray(frame).resize((WIDTH, rows), Image.Resampling.BICUBIC))
        colour = FRESH if age < FRESH_BLOCKS else SETTLED
        ImageDraw.Draw(out).text((12, rows + 12), block.prompt, colour, font)
        yield out


def main() -> None:
    """Play the scenario and save the film."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenario", default=str(HERE / "film.yaml"), help="name or file")
    parser.add_argument("--quality", type=int, default=40, help="of the WebP, 0 to 100")
    parser.add_argument("--out", type=Path, default=HERE / "images" / "film.webp")
    args = parser.parse_args()
    scenario = load_scenario(args.scenario)
    world = shared_world(scenario.world)
    plan = scenario.plan(world.config)
    font = ImageFont.truetype(FONT, 15)
    pictures: list[Image.Image] = []
    prompt, since = "", 0
    for block in play(world, plan):
        if block.prompt != prompt:
            prompt, since = block.prompt, block.index
        pictures += draw(block, block.index - since, font)
    pictures[0].save(
        args.out,
        save_all=True,
        append_images=pictures[1:],
        duration=round(1000 / world.config.fps),
        loop=0,
        quality=args.quality,
        method=4,
    )
    print(f"{args.out}: {len(pictures)} frames, {args.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
