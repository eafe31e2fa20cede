"""DQN with and without hindsight replay on the tiny world's goal task, with Stable-Baselines3.

    python examples/her.py --out her

Goal and starting scene differ in three of subject, colour, setting and weather. An action names one value of
one of them, or nothing; each block that does not show the whole goal costs 1. Chance hardly ever finds the
goal, so plain DQN has little to learn from. Hindsight experience replay (HER, arXiv 1707.01495) also learns
from episodes that failed, as if what they showed had been their goal.

Then all agents play the same episodes: both networks, an agent that asks for anything, and a rule that asks
for the first part of the goal that it does not see. The folder gets `scores.csv`, `learning.png`, and each
network's `.zip` and `.monitor.csv`, a table of its episodes in training.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

import longlive_env  # noqa: F401  registers the envs
from longlive_env.engine.world_files import read_config
from longlive_env.envs.goals import LOOKS
from longlive_env.envs.wrappers import attribute_prompts, vector
from longlive_env.errors import LongLiveError, MissingExtraError
from longlive_env.tiny.scene import ATTRIBUTES

TASK = {"name": "goal", "reward": "sparse", "varied": LOOKS, "changes": 3}
STEPS = 12  # of an episode
SIZES = [len(ATTRIBUTES[name]) for name in LOOKS]
FIRST = np.cumsum([1, *SIZES])[:-1]  # the action that names the first value of each attribute; 0 names none


@dataclass
class Agent:
    """An agent that does not learn, with the method by which Stable-Baselines3 plays a model.

    Attributes:
        rng: source of actions that name any value; None asks for the first part of the goal not seen.
    """

    rng: np.random.Generator | None = None

    def predict(self, observation: dict[str, Any], *_: Any, **__: Any) -> tuple[Any, None]:
        """Return the actions of N worlds, int64 [N], given what is achieved and desired, int64 [N, 4]."""
        achieved, desired = observation["achieved_goal"], observation["desired_goal"]
        if self.rng is not None:
            return self.rng.integers(1 + sum(SIZES), size=len(desired)), None
        differs = (desired != 0) & (achieved != desired)
        place = differs.argmax(axis=1)
        wanted = FIRST[place] + desired[np.arange(len(desired)), place] - 1
        return np.where(differs.any(axis=1), wanted, 0), None


def make_envs(args: argparse.Namespace, monitor: Path | None = None) -> Any:
    """Make a batch of worlds as goal envs of Stable-Baselines3."""
    from stable_baselines3.common.vec_env import VecMonitor

    from longlive_env.envs.wrappers.sb3 import SB3VecEnv

    envs = gym.make_vec(
        "LongLive/TinyGoal-v0",
        num_envs=args.worlds,
        world=args.world,
        codec="light" if read_config(args.world).draws_detail else None,
        precision=None if args.precision == "fp32" else args.precision,
        task=TASK,
        max_episode_steps=STEPS,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    goal_envs = vector.HindsightGoals(vector.ProbeFeatures(envs))
    menu = vector.DiscretePrompts(goal_envs, attribute_prompts(*LOOKS), partial=True)
    name = None if monitor is None else str(monitor)
    return VecMonitor(SB3VecEnv(menu), name, info_keywords=("is_success",))


def train(args: argparse.Namespace, name: str) -> Any:
    """Train a network, with hindsight replay if that is its name, and save it."""
    from stable_baselines3 import DQN, HerReplayBuffer

    envs = make_envs(args, args.out / name)
    model = DQN(
        "MultiInputPolicy",
        envs,
        learning_rate=5e-4,
        buffer_size=50_000,
        learning_starts=max(STEPS * args.worlds, min(500, args.steps // 4)),  # hindsight needs whole episodes
        batch_size=256,
        gamma=0.9,
        train_freq=1,
        gradient_steps=4,
        target_update_interval=200,
        exploration_fraction=0.5,
        exploration_final_eps=0.05,
        replay_buffer_class=HerReplayBuffer if name == "hindsight" else None,
        policy_kwargs={"net_arch": [256, 256]},
        seed=args.seed,
        device="cpu",
    )
    begin = time.perf_counter()
    model.learn(args.steps, log_interval=None)
    print(f"{name}: {args.steps} steps in {(time.perf_counter() - begin) / 60:.1f} minutes", flush=True)
    model.save(args.out / name)
    envs.close()
    return model


def evaluate(args: argparse.Namespace, player: Any) -> dict[str, float]:
    """Let an agent play episodes that training has not seen, the same for every agent."""
    from stable_baselines3.common.evaluation import evaluate_policy

    envs, successes = make_envs(args), list[bool]()
    envs.seed(10**6)

    def see(step: dict[str, Any], _: dict[str, Any]) -> None:
        if step["done"]:
            successes.append(step["info"]["is_success"])

    returns, lengths = evaluate_policy(player, envs, args.evaluate, callback=see, return_episode_rewards=True)
    envs.close()
    return {
        "episodes": len(returns),
        "mean_return": round(float(np.mean(returns)), 3),
        "standard_error": round(float(np.std(returns) / len(returns) ** 0.5), 3),
        "success": round(float(np.mean(successes)), 3),
        "steps": round(float(np.mean(lengths)), 2),
    }


def plot(args: argparse.Namespace, names: list[str]) -> None:
    """Plot the share of successes among the newest 50 episodes, over the steps of training."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for name in names:
        with (args.out / f"{name}.monitor.csv").open(newline="", encoding="utf-8") as file:
            file.readline()  # a comment
            rows = list(csv.DictReader(file))
        steps = np.cumsum([int(row["l"]) for row in rows])
        won = np.array([row["is_success"] == "True" for row in rows], float)
        newest = [won[max(0, end - 50) : end].mean() for end in range(1, len(won) + 1)]
        axes.plot(steps, newest, label={"hindsight": "DQN with HER", "plain": "DQN"}[name])
    axes.set(
        xlabel="steps of all worlds",
        ylabel="share of successes, last 50 episodes",
        ylim=(0, 1),
        title="Three of four attributes to change, in training, exploration included",
    )
    axes.legend()
    figure.savefig(args.out / "learning.png", dpi=120)
    pyplot.close(figure)


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Train DQN with and without hindsight replay.")
    parser.add_argument("--steps", type=int, default=12_000, help="total over all worlds, per network")
    parser.add_argument("--worlds", type=int, default=8, help="number of worlds in a batch")
    parser.add_argument("--evaluate", type=int, default=64, help="episodes of each agent in the end")
    parser.add_argument("--seed", type=int, default=1, help="seed of networks, worlds and exploration")
    parser.add_argument("--world", default="tiny", help="name or folder of the world")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--out", type=Path, default=Path("out/her"), help="folder of the results")
    return parser.parse_args()


def main() -> None:
    """Train, compare, write."""
    args = parse()
    for module in ("stable_baselines3", "matplotlib"):
        if find_spec(module) is None:
            raise MissingExtraError.of(f"this example needs {module}", "rl")
    args.out.mkdir(parents=True, exist_ok=True)
    names = ["hindsight", "plain"]
    players: dict[str, Any] = {name: train(args, name) for name in names}
    plot(args, names)
    players |= {"random": Agent(np.random.default_rng(0)), "greedy": Agent()}
    scores = [{"agent": name, **evaluate(args, player)} for name, player in players.items()]
    with (args.out / "scores.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(scores[0]))
        writer.writeheader()
        writer.writerows(scores)
    print("| agent | return | success | steps |\n|---|---|---|---|")
    for score in scores:
        own = f"{score['mean_return']:.2f} ± {score['standard_error']:.2f}"
        print(f"| {score['agent']} | {own} | {100 * score['success']:.0f} % | {score['steps']:.1f} |")
    print(f"results are in {args.out}")


if __name__ == "__main__":
    try:
        main()
    except LongLiveError as error:
        sys.exit(f"her.py: {error}")
