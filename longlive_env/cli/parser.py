"""The argument parser that all commands share."""

from __future__ import annotations

import argparse

from longlive_env.engine.seeds import checked_seed
from longlive_env.errors import ConfigError
from longlive_env.terminal import OneLineParser

AGENT_NAMES = "random, scripted:SCENARIO, goal:GOAL, llm[:GOAL], sb3:FILE.zip, or your own file.py:ClassName"


class Parser(OneLineParser):
    """An argument parser with examples at the end of its help and one-line errors.

    Args:
        prog: command as it is typed.
        description: what the command does.
        examples: working command lines.
    """

    def __init__(self, prog: str, description: str, examples: tuple[str, ...]) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog="\n".join(
                ["examples:" if len(examples) > 1 else "example:", *(f"  {one}" for one in examples)]
            ),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,  # --prompt must not be taken for --prompts
        )


def as_prompt(text: str) -> str:
    """Parse `--prompt`, which must not be empty, since empty actions keep the prompt."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the prompt is empty; leave --prompt out, or say what is to be seen")
    return text


def as_seed(text: str) -> int:
    """Parse `--seed`, with errors as argparse expects them."""
    if not text.removeprefix("-").isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a seed; give a whole number from 0 on")
    try:
        return checked_seed(int(text))
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
