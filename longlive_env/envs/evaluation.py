"""A frozen protocol for evaluating policies, so that figures of different papers can be compared.

Protocol 1: a policy plays one episode for each seed 0, 1, ..., n - 1, with the id's own limit of steps. Each
episode begins with `env.action_space.seed(seed)` and `env.reset(seed=seed)`. Its return is the sum of the
task's own rewards, undiscounted. The score puts the mean return on a scale between two agents that learn
nothing, in the same episodes: 0 is `silent`, 1 is `asks`. Whatever changes any of this gets a new number.
Train with other seeds, say from 1,000 on; these are the ones of the published table in docs/rl.md.
`evaluation_report` holds what comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any, cast

import gymnasium as gym

from longlive_env.envs import goals
from longlive_env.envs.checks import is_number
from longlive_env.envs.evaluation_report import SCALE, Conditions, Report, Row
from longlive_env.envs.prompt_env import PromptEnv
from longlive_env.envs.seat import Agent, Env
from longlive_env.errors import ConfigError, did_you_mean
from longlive_env.provenance import provenance

_REMEDY = "evaluate such a task with baselines=False"
Policy = Callable[[Any, dict[str, Any]], Any]  # observation, info -> action


def silent(observation: Any, info: Mapping[str, Any]) -> str:
    """Keep the prompt in force."""
    return ""


def asks(observation: Any, info: Mapping[str, Any]) -> str:
    """Put the goal's values into the prompt in force, once, and again when the goal or that prompt changed.

    Raises:
        ConfigError: there is no goal, or its text names nothing that a scene can show.
    """
    if "goal" not in info:
        raise ConfigError(f"info has no 'goal' to ask for; {_REMEDY}")
    try:
        wanted = goals.parse(info["goal"])
    except ConfigError as error:
        raise ConfigError(f"{error}; {_REMEDY}") from error
    if wanted.items() <= goals.parse_first(info["prompt"]).items():
        return ""
    return goals.describe_scene(replace(goals.scene_of_prompt(info["prompt"]), **wanted))


class RandomActions:
    """An agent that draws from the action space of the env, which `evaluate` seeds."""

    def reset(self, env: Env, info: Mapping[str, Any], /) -> None:
        """Draw from this env's space from now on."""
        self._space = env.action_space

    def act(self, observation: Any, info: Mapping[str, Any], /) -> Any:
        """Draw an action."""
        return self._space.sample()


BASELINES: dict[str, Policy] = dict(zip(SCALE, (silent, asks), strict=True))


def evaluate(
    policy: Policy | Agent,
    env_id: str,
    *,
    episodes: int = 16,
    make: Callable[[], Env] | None = None,
    baselines: bool | Report = True,
) -> Report:
    """Let a policy play the episodes of the protocol.

    Args:
        policy: a function of observation and info that returns an action of the env; or, if it has to know
            the env or remembers anything, an agent with `reset(env, info)` and `act(observation, info)`.
        env_id: registered id with a task, such as `"LongLive/TinyGoal-v0"`.
        episodes: number of episodes, from 2 on.
        make: function that returns an env of that id, with other arguments of `gym.make` or with wrappers for
            observations and actions. Returns, steps and successes are those of the env inside all wrappers,
            where the baselines play too. By default the env is as it is registered.
        baselines: whether `silent` and `asks` play the same episodes, for the score; or an earlier report
            under the same conditions, whose baselines are used again.

    Raises:
        ConfigError: the id is unknown or has no task, there are too few episodes, `make` returns something
            else than such an env, a wrapper ends an episode early, the earlier report has other conditions,
            some that cannot be told, or no baselines, or `asks` finds nothing to ask for.
        Exception: whatever the env raises, such as a PromptError for an action that is no prompt.
    """
    if env_id not in gym.registry:
        known = [name for name in gym.registry if name.startswith("LongLive/")]
        remedy = did_you_mean(env_id, known, f"known ids: {', '.join(known)}")
        raise ConfigError(f"there is no env {env_id!r}; {remedy}")
    wanted = (policy.act, getattr(policy, "reset", None)) if hasattr(policy, "act") else (policy,)
    if not all(map(callable, wanted)):
        raise ConfigError(
            f"the policy is {policy!r:.60}; expected a function of observation and info, or an agent "
            "with reset(env, info) and act(observation, info)"
        )
    if not is_number(episodes, 2, whole=True):
        raise ConfigError(f"episodes is {episodes!r}; expected a whole number from 2 on")
    env = gym.make(env_id) if make is None else make()
    try:
        inside = getattr(env, "unwrapped", None)
        if not isinstance(inside, PromptEnv) or inside.spec is None or inside.spec.id != env_id:
            raise ConfigError(f"make returned {env!s:.80}; expected a single env, gym.make({env_id!r}, ...)")
        conditions = Conditions.of(env, inside, int(episodes))
        played = _reused(baselines, conditions) if isinstance(baselines, Report) else {}
        limit, seeds = conditions.max_steps, range(episodes)
        if baselines is True:  # first, as one may fail, and a policy may be slow
            for name, agent in BASELINES.items():
                played[name] = tuple(_play(agent, inside, inside, seed, limit) for seed in seeds)
        rows = tuple(_play(policy, env, inside, seed, limit) for seed in seeds)
    finally:
        if hasattr(env, "close"):  # `make` may return anything
            env.close()
    return Report(conditions, str(env), rows, played, provenance(str(inside.world.device)))


def _reused(earlier: Report, conditions: Conditions) -> dict[str, tuple[Row, ...]]:
    """Return the baselines of an earlier report, checked to be those of the same conditions."""
    was, now = asdict(earlier.conditions), asdict(conditions)
    others = [f"{name} was {was[name]!r}, here it is {now[name]!r}" for name in now if was[name] != now[name]]
    if conditions.untold:
        others.append(f"{' and '.join(conditions.untold)} may have been others of the same name")
    if others or not earlier.baselines:
        why = "; ".join(others) or "they were not played"
        raise ConfigError(f"baselines of the earlier report cannot be used ({why}); give baselines=True")
    return earlier.baselines


def _play(policy: Policy | Agent, env: Env, inside: PromptEnv, seed: int, limit: int) -> Row:
    """Play an episode of `env`, and read from the env `inside` it what came of it."""
    env.action_space.seed(seed)
    observation, info = env.reset(seed=seed)
    act = cast(Policy, getattr(policy, "act", policy))
    if act is not policy:
        cast(Agent, policy).reset(env, info)
    over = False
    while not over:
        observation, _, terminated, truncated, info = env.step(act(observation, info))
        (episode,) = inside.episodes.episodes
        over = episode.terminated or episode.steps >= limit
        if (terminated or truncated) and not over:
            raise ConfigError(
                f"a wrapper ended the episode of seed {seed} after {episode.steps} of {limit} steps, which "
                "baselines play on; evaluate without that wrapper, or give make= with max_episode_steps="
            )
    last = inside.episodes.info(0)
    success = last.get("held", last.get("success"))
    return Row(seed, episode.reward_sum, episode.steps, None if success is None else float(success))
