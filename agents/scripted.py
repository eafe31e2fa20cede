"""An agent that follows a timeline and ignores what it sees."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from longlive_env.agents.base import seat
from longlive_env.envs.seat import Env, Info
from longlive_env.frames import Frames
from longlive_env.scenario import Scenario, load_scenario


class ScriptedAgent:
    """Gives prompts at fixed blocks.

    Args:
        prompts: block index -> prompt that takes effect with that block, or a scenario, whose timeline is
            laid out for the world that is played. `env.reset` generates block 0, under the prompt in its
            options.
    """

    def __init__(self, prompts: Mapping[int, str] | Scenario) -> None:
        self._scenario = prompts if isinstance(prompts, Scenario) else None
        self._prompts = {} if isinstance(prompts, Scenario) else dict(prompts)

    @classmethod
    def from_scenario(cls, name: str) -> ScriptedAgent:
        """An agent that gives the prompts of a scenario, by its name or file.

        Raises:
            ScenarioError: there is no such scenario, or it has an error.
        """
        return cls(load_scenario(name))

    def reset(self, env: Env, info: Info) -> None:
        """Lay out a scenario's timeline for the world of this env."""
        if self._scenario is not None:
            words = dataclasses.replace(self._scenario, frames="")  # a picture changes no prompt
            plan = words.plan(seat(env).world.config)
            self._prompts = {0: plan.prompt, **plan.switches}

    def act(self, observation: Frames, info: Info) -> str:
        """The prompt of the next block, or `""`."""
        return self._prompts.get(info["block"] + 1, "")
