"""An agent that follows a timeline and looks at nothing."""

from __future__ import annotations

from collections.abc import Mapping

from longlive_env.agents.base import Env, Frames, Info
from longlive_env.scenario import Plan


class ScriptedAgent:
    """Gives prompts at fixed blocks.

    Args:
        prompts: block index -> prompt that takes effect with that block. Block 0 is what `env.reset`
            generates, under the prompt in its options.
    """

    def __init__(self, prompts: Mapping[int, str]) -> None:
        self._prompts = dict(prompts)

    @classmethod
    def from_plan(cls, plan: Plan) -> ScriptedAgent:
        """The agent that gives a plan's prompts, as far as they are known before anything is seen."""
        return cls({0: plan.prompt, **plan.switches})

    @property
    def options(self) -> dict[str, str]:
        """Options for `env.reset`: the prompt of block 0, if there is one."""
        return {"prompt": self._prompts[0]} if 0 in self._prompts else {}

    def reset(self, env: Env, info: Info) -> None:
        """Nothing to forget: the timeline goes by the block index in `info`."""

    def act(self, observation: Frames, info: Info) -> str:
        """The prompt of the next block, or `""`."""
        return self._prompts.get(info["block"] + 1, "")
