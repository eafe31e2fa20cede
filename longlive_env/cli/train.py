"""`longlive train`: one stage of a world's training."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from longlive_env.cli.parser import Parser

WHAT_STAGES_TRAIN = {
    "probe": "the network that reads what frames show",
    "codec": "pixels to latents and back",
    "base": "a bidirectional teacher for distill and stream",
    "causal": "the causal transformer and its text encoder, by teacher forcing",
    "distill": "the causal transformer on its own rollouts, towards the base",
    "stream": "the same on long takes with prompt switches",
    "oracle": "the causal transformer towards what the renderer may draw",
    "follow": "the causal transformer on its own takes, towards what the renderer draws next",
    "decoder": "the codec's decoder on what the world draws",
}


def main(argv: Sequence[str]) -> int:
    """Check the arguments, then train."""
    from longlive_env.training import command

    parser = command.parser()
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = _description()
    parser.error = Parser.error.__get__(parser)  # type: ignore[method-assign]  # one line, as elsewhere
    parser.parse_args(argv)
    return command.run_stage(argv)


def _description() -> str:
    stages = "\n".join(f"  {name:<8} {what}" for name, what in WHAT_STAGES_TRAIN.items())
    return (
        "Train one stage of a world; a folder that holds a checkpoint is resumed.\n\n"
        f"stages:\n{stages}\n\n"
        "A wrong name, as in --config tiny --set foo=1, prints the options of a stage."
    )
