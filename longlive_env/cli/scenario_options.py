"""The scenario of commands that play one: a file or a name, or a prompt alone."""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np

from longlive_env.envs.vocabulary import vocabulary_of, world_name
from longlive_env.scenario import Moment, Scenario, load_scenario


def chosen_scenario(args: argparse.Namespace, name: str, duration: Moment) -> Scenario:
    """The scenario with the world, the seed and the prompt that the arguments say instead.

    Args:
        args: with scenario, world, seed and prompt, each of which may be None.
        name: of the scenario that a prompt alone is; one is drawn where there is none.
        duration: of that.

    Raises:
        ScenarioError: there is no such scenario, or it is wrong.
    """
    if args.scenario is not None:
        scenario = load_scenario(args.scenario)
    else:
        world = args.world or "tiny"
        prompt = args.prompt or vocabulary_of(world_name(world)).sample(np.random.default_rng(args.seed))
        scenario = Scenario(name=name, prompt=prompt, duration=duration, world=world)
    changes = {key: getattr(args, key) for key in ("world", "seed", "prompt")}
    return dataclasses.replace(
        scenario, **{key: value for key, value in changes.items() if value is not None}
    )
