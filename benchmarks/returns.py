"""What agents that learn nothing earn in the tiny world's tasks: a scale for agents that do.

    python benchmarks/returns.py --out benchmarks/results/tiny-returns.json

Envs are registered ids as they are, at full size, with their own limit of steps; every agent plays the same
episodes. `silent` keeps the prompt, `random` draws prompts from the action space, and `asks` puts the values
of `info["goal"]` into the prompt in force, once, and again when the goal or that prompt has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from report import command_line, parsed, write

import longlive_env  # noqa: F401  registers the envs
from longlive_env.envs import goals
from longlive_env.provenance import files_digest, provenance

IDS = ("LongLive/TinyGoal-v0", "LongLive/TinyTour-v0", "LongLive/TinyHold-v0")

Policy = Callable[[gym.Env[Any, str], dict[str, Any]], str]


def asks(env: gym.Env[Any, str], info: dict[str, Any]) -> str:
    """The prompt in force with the goal's values, `""` if it has them."""
    wanted = goals.parse(info["goal"])
    if wanted.items() <= goals.parse_first(info["prompt"]).items():
        return ""
    return goals.describe_scene(replace(goals.scene_of_prompt(info["prompt"]), **wanted))


POLICIES: dict[str, Policy] = {
    "silent": lambda env, info: "",
    "random": lambda env, info: env.action_space.sample(),
    "asks": asks,
}


def play(env: gym.Env[Any, str], policy: Policy, seed: int) -> dict[str, float]:
    """Play an episode.

    Returns:
        Its `return`, its number of `steps`, and `success`: whether the task has ended with it or, in a task
        that never ends, the share of blocks that show the goal.
    """
    env.action_space.seed(seed)
    _, info = env.reset(seed=seed)
    total, steps, over = 0.0, 0, False
    while not over:
        _, reward, terminated, truncated, info = env.step(policy(env, info))
        total, steps, over = total + float(reward), steps + 1, terminated or truncated
    return {"return": total, "steps": steps, "success": float(info.get("held", info["success"]))}


def measure(env_id: str, episodes: int) -> dict[str, Any]:
    """Mean and standard error of what each policy reaches in an env."""
    env, found = gym.make(env_id), dict[str, Any]()
    for name, policy in POLICIES.items():
        played = [play(env, policy, seed) for seed in range(episodes)]
        columns = {key: np.array([one[key] for one in played]) for key in played[0]}
        found[name] = {
            key: {
                "mean": round(float(column.mean()), 3),
                "standard_error": round(float(column.std(ddof=1) / episodes**0.5), 3),
            }
            for key, column in columns.items()
        }
        print(env_id, name, found[name], flush=True)
    env.close()
    return found


def main() -> None:
    """Measure, print, write."""
    parser = command_line(__doc__)
    parser.add_argument("--ids", nargs="+", default=IDS, help="registered ids of tasks (all three)")
    parser.add_argument("--episodes", type=int, default=16, help="of each policy in each env, 2 or more (16)")
    args = parsed(parser)
    report = {
        "episodes": args.episodes,
        "files_digest": files_digest("tiny"),
        "envs": {env_id: measure(env_id, args.episodes) for env_id in args.ids},
        **provenance(),
    }
    write(report, args.out)


if __name__ == "__main__":
    main()
