"""Scenario options of commands: a file, a name, or a single prompt."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from longlive_env.cli.parser import Parser, as_prompt, as_seed
from longlive_env.envs.vocabulary import named_by, vocabulary_of
from longlive_env.scenario import Moment, Scenario, load_scenario


def add_scenario_options(parser: Parser) -> None:
    """Add a scenario, --prompt, --world, --seed and --frames, which `chosen_scenario` reads."""
    parser.add_argument(
        "scenario", nargs="?", help="name of a scenario (see longlive scenarios) or a .yaml file"
    )
    parser.add_argument(
        "--prompt",
        type=as_prompt,
        metavar="TEXT",
        help="starting prompt instead of the scenario's; for the tiny world a few words will do",
    )
    parser.add_argument("--world", help="name of a world or folder of weights instead of the scenario's")
    parser.add_argument("--seed", type=as_seed, help="seed of the world instead of the scenario's")
    parser.add_argument("--frames", type=_file, metavar="FILE", help="a picture or a video to go on from")


def _file(text: str) -> str:
    """Parse an existing file, so that errors come before a world is loaded."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text!r}")
    return text


def chosen_scenario(args: argparse.Namespace, name: str, duration: Moment) -> Scenario:
    """Return the scenario, with world, seed, prompt and frames replaced by those of the arguments.

    Args:
        args: options that `add_scenario_options` adds.
        name: name for a scenario of a single prompt; without a prompt, one is drawn.
        duration: duration of a single prompt.

    Raises:
        ScenarioError: there is no such scenario, or it is invalid.
    """
    if args.scenario is not None:
        scenario = load_scenario(args.scenario)
    else:
        world = args.world or "tiny"
        prompt = args.prompt or vocabulary_of(named_by(world)).sample(np.random.default_rng(args.seed))
        scenario = Scenario(name=name, prompt=prompt, duration=duration, world=world)
    return with_arguments(scenario, args, "world", "seed", "prompt", "frames")


def with_arguments(scenario: Scenario, args: argparse.Namespace, *names: str) -> Scenario:
    """Return the scenario with the given arguments, as far as they are not None, in place of its own.

    Messages about them name the options.
    """
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    places = {**scenario.places, **{name: f"--{name}" for name in given}}
    return dataclasses.replace(scenario, **given, places=places)
