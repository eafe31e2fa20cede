"""`longlive download`: download published weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

from longlive_env.cli.parser import Parser


def main(argv: Sequence[str]) -> int:
    """Parse the arguments, download what is missing, and print where it is."""
    args = _parser().parse_args(argv)
    from longlive_env.hub import download

    with ExitStack() as bars:

        def progress(what: str, total_bytes: int) -> Callable[[int], object]:
            bars.close()  # that of the phase before
            bar = tqdm(total=total_bytes, desc=what, unit="B", unit_scale=True, disable=None)
            bars.enter_context(bar)
            return lambda count: bar.update(count)

        folder = download(args.world, args.dir, progress=progress)
    print(f"{args.world}: complete and verified in {folder}")
    print("try: longlive play lighthouse --device cuda --compile graphs --rope relative")
    return 0


def _parser() -> Parser:
    parser = Parser(
        "longlive download",
        "Download the published weights of a world (20.4 GB for 1.3b), or verify and remember those that\n"
        "you have. An interrupted download is resumed. HF_ENDPOINT names a mirror.\n\n"
        "The weights come under the licences of their publishers: huggingface.co/Wan-AI/Wan2.1-T2V-1.3B\n"
        "(Apache-2.0) and huggingface.co/Efficient-Large-Model/LongLive-1.3B (originally CC BY-NC 4.0,\n"
        "which excludes commercial use; read what its page says today).",
        ("longlive download 1.3b", "longlive download 1.3b --dir ~/LongLive"),
    )
    parser.add_argument("world", help="name of a published world: 1.3b")
    parser.add_argument(
        "--dir",
        type=Path,
        metavar="DIR",
        help="where the weights are or will be; a LongLive 1.0 checkout with wan_models/ and "
        "longlive_models/ is used as it is (default: a folder in the user's cache)",
    )
    return parser
