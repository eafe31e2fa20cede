"""Teach words to a trained tiny world: each new one begins as another that it knows.

The vocabulary of captions has grown since the shipped world's text encoder was trained. A new word gets the
embedding of one that means the same, after the words that are there, so that nothing else changes; training
may then go on from it.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from longlive_env.engine.tokenizer import Tokenizer
from longlive_env.engine.world import World
from longlive_env.errors import ConfigError, LongLiveError
from longlive_env.terminal import OneLineParser, fail
from longlive_env.tiny.captions import vocabulary

LIKE: Mapping[str, str] = {  # new word -> known word
    "bot": "robot",
    "cactus": "cacti",
    "chicken": "chick",
    "coast": "shore",
    "dance": "dances",
    "daytime": "daylight",
    "garden": "meadow",
    "go": "goes",
    "gold": "golden",
    "head": "heads",
    "hills": "mountains",
    "hop": "hops",
    "jump": "jumps",
    "leap": "leaps",
    "lilac": "violet",
    "midnight": "night",
    "pyramid": "pyramids",
    "raining": "rains",
    "ruby": "crimson",
    "run": "runs",
    "running": "moving",
    "seaside": "sea",
    "snowfall": "snow",
    "snowing": "snows",
    "space": "moon",
    "stand": "stands",
    "starry": "stars",
    "stay": "stays",
    "stop": "stops",
    "storm": "rain",
    "streets": "street",
    "sunlight": "sunshine",
    "sway": "sways",
    "twilight": "dusk",
    "vehicle": "car",
    "wait": "waits",
    "walk": "walks",
    "walking": "moving",
    "wiggle": "wiggles",
}


def with_words(world: World, like: Mapping[str, str] = LIKE) -> World:
    """A world that knows more words.

    Args:
        world: world with a text encoder, and a tokenizer of whole words.
        like: for each new word, one that the world knows; words that it knows already are passed over.

    Returns:
        A world that shares everything but tokenizer and text encoder with `world`.

    Raises:
        ConfigError: the world has no text encoder, knows neither of two words, or has no room for more.
    """
    encoder, tokenizer = world.text_encoding.model, world.tokenizer
    if encoder is None or tokenizer is None:
        raise ConfigError(f"world {world.config.name!r} has no text encoder; give one that has")
    new = {word: known for word, known in like.items() if tokenizer.unknown_words(word)}
    for word, known in new.items():
        if tokenizer.unknown_words(known):
            raise ConfigError(
                f"{word!r} should begin as {known!r}, which the world does not know; choose another"
            )
    spec, encoder = copy.deepcopy(tokenizer.spec), copy.deepcopy(encoder)
    pieces, weight = spec["model"]["vocab"], encoder.token_embedding.weight
    if len(pieces) + len(new) > len(weight):
        raise ConfigError(
            f"the text encoder has {len(weight)} embeddings, and {len(pieces)} are in use: "
            f"{len(new)} new words do not fit; add fewer"
        )
    with torch.no_grad():
        for word, known in new.items():
            (number,) = tokenizer.encode(known)
            weight[len(pieces)] = weight[number]
            pieces.append([f"▁{word}", -1.0])
    return World(world.config, world.transformer, world.codec, encoder, Tokenizer(spec))


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m longlive_env.training.words [--start WORLD] --out DIR`."""
    parser = OneLineParser(
        prog="python -m longlive_env.training.words",
        description="Add to a tiny world the words of captions that it does not know yet.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--start", default="tiny", help="name or folder of the world")
    parser.add_argument("--out", type=Path, required=True, help="world folder to write")
    args = parser.parse_args(argv)
    try:
        lacking = [word for word in vocabulary() if word.isalnum() and word not in LIKE]
        world = with_words(World.load(args.start))
        assert world.tokenizer is not None
        unknown = world.tokenizer.unknown_words(" ".join(lacking))
        if unknown:
            raise ConfigError(f"no known word is given for {', '.join(unknown)}; add them to LIKE")
        world.save(args.out, torch.float16, packed=True)
    except (LongLiveError, OSError) as error:
        raise SystemExit(fail(parser.prog, error)) from error
    print(f"wrote {args.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
