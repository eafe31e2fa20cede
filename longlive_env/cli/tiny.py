"""`longlive tiny`: a contact sheet of the tiny world's rendered scenes, and the words that it knows."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from longlive_env.cli.parser import Parser, as_seed
from longlive_env.cli.writable import check_writable

if TYPE_CHECKING:
    from longlive_env.tiny.scene import Scene

COLUMNS = 8
LINE, INDENT = 100, 14  # characters


def main(argv: Sequence[str]) -> int:
    """Parse the arguments and draw."""
    parser = Parser(
        "longlive tiny",
        "Draw a contact sheet of the scenes that the tiny world is trained on, as they are rendered:\n"
        "every subject in every setting, or random scenes. Or print the words that it knows.",
        (
            "longlive tiny --out out/scenes.png",
            "longlive tiny --seed 3 --out out/random.png",
            "longlive tiny --words",
        ),
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="picture to write (out/scenes.png)",
    )
    parser.add_argument("--seed", type=as_seed, metavar="N", help="draw 64 scenes at random instead")
    parser.add_argument(
        "--words", action="store_true", help="print the words that prompts may use, and draw nothing"
    )
    args = parser.parse_args(argv)
    if args.words:
        if args.out or args.seed is not None:
            parser.error("--words draws nothing; leave --out and --seed out")
        _print_words()
        return 0

    from PIL import Image

    args.out = args.out or Path("out/scenes.png")
    kind = Image.registered_extensions().get(args.out.suffix.lower())
    if kind not in Image.SAVE:
        parser.error(f"--out is {args.out}; expected a picture's file name, such as out/scenes.png")
    check_writable(args.out)

    from longlive_env.tiny.render import contact_sheet

    scenes = _grid() if args.seed is None else _random(args.seed)
    Image.fromarray(contact_sheet(scenes, columns=COLUMNS, scale=2).numpy()).save(args.out)
    print(f"{len(scenes)} scenes -> {args.out}")
    return 0


def _print_words() -> None:
    """Print each value with its phrases, and the other words of captions."""
    from longlive_env.tiny import captions

    rest = dict.fromkeys(captions.known_words())
    for attribute in captions.PHRASES:
        print(attribute)
        table = captions.phrases_of(attribute)
        if attribute == "action":
            table |= {"either way": captions.WALKS, "other way": captions.TURN_AROUND}
        for value, phrases in table.items():
            lines = textwrap.wrap(", ".join(phrases), LINE - INDENT, break_on_hyphens=False)
            print(f"  {value:<{INDENT - 2}}" + ("\n" + " " * INDENT).join(lines))
            for word in captions.words(" ".join(phrases)):
                rest.pop(word, None)
    print("besides: " + ", ".join(filter(str.isalnum, rest)))


def _grid() -> list[Scene]:
    """Arrange scenes: a row per setting, a column per subject; colours, weathers and actions alternate."""
    from longlive_env.tiny.scene import ACTIONS, COLOURS, SETTINGS, SUBJECTS, WEATHERS, Scene

    return [
        Scene(
            subject,
            COLOURS[(row + column) % len(COLOURS)],
            setting,
            WEATHERS[(row + column) % len(WEATHERS)],
            ACTIONS[(2 * row + column) % len(ACTIONS)],
        )
        for row, setting in enumerate(SETTINGS)
        for column, subject in enumerate(SUBJECTS)
    ]


def _random(seed: int) -> list[Scene]:
    import numpy as np

    from longlive_env.tiny.scene import sample_scene

    rng = np.random.default_rng(seed)
    return [sample_scene(rng) for _ in range(COLUMNS * COLUMNS)]
