"""What agents that learn nothing earn in the tiny world's tasks: a scale for agents that do.

    python benchmarks/returns.py --out benchmarks/results/tiny-returns.json

Envs are registered ids as they are, at full size, with their own limit of steps; every agent plays the
episodes of protocol 1 of `longlive_env.envs.evaluation`. `silent` keeps the prompt, `random` draws prompts
from the action space, and `asks` puts the values of `info["goal"]` into the prompt in force, once, and again
when the goal or that prompt has changed.
"""

from __future__ import annotations

from typing import Any

from report import command_line, parsed, write

from longlive_env.envs.evaluation import Policy, RandomActions, asks, evaluate, silent
from longlive_env.envs.seat import Agent
from longlive_env.provenance import files_digest, provenance

IDS = ("LongLive/TinyGoal-v0", "LongLive/TinyTour-v0", "LongLive/TinyHold-v0")
POLICIES: dict[str, Policy | Agent] = {"silent": silent, "random": RandomActions(), "asks": asks}


def measure(env_id: str, episodes: int) -> dict[str, Any]:
    """Mean and standard error of what each policy reaches in an env."""
    found = dict[str, Any]()
    for name, policy in POLICIES.items():
        report = evaluate(policy, env_id, episodes=episodes, baselines=False)
        assert report.success is not None  # these tasks tell
        figures = {"return": report.returns, "steps": report.steps, "success": report.success}
        found[name] = {
            key: {"mean": round(figure.mean, 3), "standard_error": round(figure.standard_error, 3)}
            for key, figure in figures.items()
        }
        print(env_id, name, found[name], flush=True)
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
