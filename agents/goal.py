"""An agent that looks ahead: it tries prompts in forks of the world and takes the one that turns out best.

Shapes: N forks, T = 12 pixel frames of a block, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from longlive_env.agents.base import Seat, generator, seat
from longlive_env.envs import goals
from longlive_env.envs.rewards import ProbeReward, RewardFn, scores
from longlive_env.envs.seat import Env, Info
from longlive_env.envs.torch_settings import plain_settings
from longlive_env.errors import AgentError, ConfigError
from longlive_env.frames import Frames
from longlive_env.tiny import captions

if TYPE_CHECKING:
    from longlive_env.engine.rollout import Rollout


@plain_settings()
def look_ahead(rollout: Rollout, prompts: Sequence[str], blocks: int) -> Frames:
    """What running world 0 would show under each of some prompts; the world itself does not move.

    Forks share the noise of the world, so what a fork shows is what the world will show, within rounding.

    Args:
        rollout: the running world.
        prompts: one prompt for each fork; `""` keeps the one in force.
        blocks: number of blocks to look ahead, at least 1.

    Returns:
        The last block of each fork, uint8 [N, T, H, W, 3].
    """
    fork = rollout.fork([0] * len(prompts))
    changed = [index for index, prompt in enumerate(prompts) if prompt not in ("", rollout.prompts[0])]
    if changed:
        fork.switch_prompt([prompts[index] for index in changed], worlds=changed)
    for _ in range(blocks):
        frames = fork.step()
    seen: Frames = frames.numpy()
    return seen


class GoalAgent:
    """Steers towards a goal text by looking ahead.

    While the picture falls short of the goal, it forks the world, tries several prompts for `horizon` blocks,
    scores what they show, and takes the best; then it waits for `horizon` blocks. If no prompt is better than
    the present one by `margin`, it keeps that.

    Args:
        goal: what the picture should show, such as "a red robot in the city at night"; empty takes the goal
            of the env's task from `info`.
        horizon: number of blocks to look ahead.
        branches: number of prompts to try, the present one included.
        enough: score from which on the agent leaves the world alone.
        margin: how much better than the present prompt a new one must be.
        reward_fn: scores blocks against the goal; None reads the tiny world's scenes with the probe.

    Raises:
        AgentError: an argument is invalid.
    """

    def __init__(
        self,
        goal: str = "",
        *,
        horizon: int = 3,
        branches: int = 5,
        enough: float = 0.9,
        margin: float = 0.02,
        reward_fn: RewardFn | None = None,
    ) -> None:
        if horizon < 1 or branches < 2:
            raise AgentError(
                f"horizon is {horizon} and branches is {branches}; look at least 1 block ahead on 2 branches"
            )
        if goal and reward_fn is None:
            goals.parse_wholly(goal)  # says at once what the probe cannot read
        self._given_goal = goal
        self._horizon, self._branches = horizon, branches
        self._enough, self._margin = enough, margin
        self._reward_fn = reward_fn or ProbeReward()
        self._goal = goal
        self._wait = 0
        self._seat: Seat | None = None
        self._rng = np.random.default_rng()

    def reset(self, env: Env, info: Info) -> None:
        """Take the goal of the new episode.

        Raises:
            AgentError: it has none.
        """
        self._goal = self._given_goal or info.get("goal", "")
        if not self._goal:
            raise AgentError('there is no goal; give one, as in --agent "goal:a red robot at night"')
        self._seat, self._rng, self._wait = seat(env), generator(env), 0

    def act(self, observation: Frames, info: Info) -> str:
        """The prompt that turned out best, or `""`."""
        goal = self._given_goal or info.get("goal", self._goal)
        if goal != self._goal:  # a tour's goal is its next stop
            self._goal, self._wait = goal, 0
        self._wait -= 1
        if self._wait > 0 or self._score(observation[None])[0] >= self._enough:
            return ""
        assert self._seat is not None, "reset comes first"
        rollout = self._seat.rollout
        prompts = self.candidates(info["prompt"], rollout.whole_prompts[0])
        found = self._score(look_ahead(rollout, prompts, self._horizon))
        best = int(np.argmax(found))
        if best == 0 or found[best] < found[0] + self._margin:  # the first comes next anyway
            return ""
        self._wait = self._horizon
        return prompts[best]

    def candidates(self, prompt: str, whole: str = "") -> list[str]:
        """Prompts to try: the present one, the goal at once, one step towards it, the goal in other words.

        Args:
            prompt: the present prompt.
            whole: what it stands for, if it does not name everything itself.
        """
        try:
            wanted = goals.parse(self._goal)
            now = goals.scene_of_prompt(whole or prompt)
        except ConfigError:  # words of another world
            return [prompt, self._goal]
        scene = replace(now, **wanted)
        steps = [
            replace(now, **{name: value}) for name, value in wanted.items() if now.attribute(name) != value
        ]
        texts = [prompt, *map(goals.describe_scene, (scene, *steps))]
        texts += [captions.caption(scene, self._rng) for _ in range(self._branches)]
        return list(dict.fromkeys(texts))[: self._branches]

    def _score(self, frames: Frames) -> list[float]:
        return scores(self._reward_fn, frames, [self._goal] * len(frames))
