"""`longlive train`: one stage of a world's training."""

from __future__ import annotations

from collections.abc import Sequence

from longlive_env.cli.parser import Parser


def main(argv: Sequence[str]) -> int:
    """Check the arguments, then train."""
    from longlive_env.training import command

    parser = command.parser()
    parser.error = Parser.error.__get__(parser)  # type: ignore[method-assign]  # one line, as elsewhere
    parser.parse_args(argv)
    return command.run_stage(argv)
