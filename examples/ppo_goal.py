"""PPO on LongLive/TinyGoal-v0 in one file, in the manner of CleanRL.

    python examples/ppo_goal.py --steps 20000 --seeds 1 2 3 --out out/ppo-goal

An agent sees blocks of generated video and a goal, and says what the world should become. For each seed it is
trained from nothing; then it plays against an agent that asks at random and one that asks for the first thing
that it misses. The folder gets `learning.csv`, `learning.png`, `scores.csv` and the policies.

`--eyes probe` sees through the classifier that ships with the tiny world, so that a policy of a few layers is
left to learn; `--eyes conv` learns to see as well, from the newest frame, and needs many more steps.

Shapes: N worlds, S steps of a rollout, T frames, H rows, W columns, D features.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from safetensors.torch import save_file
from torch import Tensor, nn

import longlive_env  # noqa: F401  registers the envs
from longlive_env.envs.wrappers import attribute_prompts, vector
from longlive_env.tiny.probe import Probe
from longlive_env.tiny.scene import ATTRIBUTES

PROMPTS = attribute_prompts("setting", "weather")  # action 0 keeps the prompt, n asks for the n-th of these
GOAL_SIZES = [len(values) + 1 for values in ATTRIBUTES.values()]
Observation = dict[str, Any]  # frames uint8 [N, T, H, W, 3], goal int64 [N, 5]
Player = Callable[[Observation], Any]


@dataclass(frozen=True)
class Config:
    """What a run is made of; each is an option of the command line."""

    steps: int = 20_000  # of all worlds together
    worlds: int = 16
    rollout: int = 24  # steps between two updates
    epochs: int = 4
    minibatches: int = 4
    learning_rate: float = 1e-3
    gamma: float = 0.97
    gae_lambda: float = 0.95
    clip: float = 0.2
    entropy: float = 0.01
    value: float = 0.5
    evaluate: int = 64  # episodes of each agent in the end
    eyes: str = "probe"
    world: str = "tiny"
    blocks: int = 24  # steps of an episode


def make_envs(config: Config) -> Any:
    """A batch of worlds with goals, whose actions are numbers."""
    envs: Any = gym.make_vec(
        "LongLive/TinyGoal-v0",
        num_envs=config.worlds,
        world=config.world,
        max_episode_steps=config.blocks,
    )
    envs = vector.DiscretePrompts(RecordEpisodeStatistics(envs), PROMPTS, partial=True)
    return vector.GoalInObservation(envs)


class ProbeEyes(nn.Module):
    """What the shipped probe thinks it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.features = sum(len(values) for values in ATTRIBUTES.values())
        self._probe = [Probe.load()]  # in a list: its weights are not the policy's

    def prepare(self, frames: Any) -> Tensor:
        """Frames uint8 [N, T, H, W, 3] -> what is kept of them [N, D]."""
        return torch.cat(list(self._probe[0].probabilities(torch.from_numpy(frames)).values()), dim=1)

    def forward(self, kept: Tensor) -> Tensor:
        """[N, D] -> features [N, D]."""
        return kept


class ConvEyes(nn.Module):
    """A small convolutional network that learns to see."""

    def __init__(self) -> None:
        super().__init__()
        self.features = 128
        self.net = nn.Sequential(
            nn.Conv2d(3, 32, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d((4, 6)),
            nn.Flatten(),
            nn.Linear(64 * 4 * 6, self.features),
            nn.ReLU(),
        )

    def prepare(self, frames: Any) -> Tensor:
        """Frames uint8 [N, T, H, W, 3] -> the newest at half its size, float [N, 3, H/2, W/2]."""
        return F.avg_pool2d(torch.from_numpy(frames[:, -1]).movedim(-1, 1).float() / 255, 2)

    def forward(self, kept: Tensor) -> Tensor:
        """Pictures [N, 3, h, w] -> features [N, D]."""
        features: Tensor = self.net(kept)
        return features


class Policy(nn.Module):
    """Chances of actions and the value of a situation, from what is seen and what is wanted."""

    def __init__(self, eyes: str, actions: int) -> None:
        super().__init__()
        self.eyes: ProbeEyes | ConvEyes = ProbeEyes() if eyes == "probe" else ConvEyes()
        inputs = self.eyes.features + sum(GOAL_SIZES)
        self.trunk = nn.Sequential(nn.Linear(inputs, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh())
        self.actor, self.critic = nn.Linear(128, actions), nn.Linear(128, 1)
        nn.init.orthogonal_(self.actor.weight, 0.01)  # begins by choosing evenly

    def forward(self, kept: Tensor, goals: Tensor) -> tuple[torch.distributions.Categorical, Tensor]:
        """Kept frames [N, ...] and goals int64 [N, 5] -> actions' distribution, values [N]."""
        wanted = [F.one_hot(goals[:, i], size) for i, size in enumerate(GOAL_SIZES)]
        hidden = self.trunk(torch.cat([self.eyes(kept), *(one.float() for one in wanted)], dim=1))
        return torch.distributions.Categorical(logits=self.actor(hidden)), self.critic(hidden)[:, 0]

    @torch.no_grad()
    def play(self, observation: Observation) -> Any:
        """The likeliest actions [N]."""
        kept, goals = self.eyes.prepare(observation["frames"]), torch.from_numpy(observation["goal"])
        return self(kept, goals)[0].logits.argmax(dim=1).numpy()


class Progress:
    """Episodes that ended, and a row for each update."""

    def __init__(self, seed: int) -> None:
        self.seed, self.begin = seed, time.perf_counter()
        self.rows: list[dict[str, float]] = []
        self._returns: list[float] = []
        self._successes: list[float] = []

    def see(self, done: Any, infos: dict[str, Any]) -> None:
        """Note the episodes that ended with this step."""
        for world in np.flatnonzero(done):
            self._returns.append(float(infos["episode"]["r"][world]))
            self._successes.append(float(infos["success"][world]))

    def row(self, steps: int) -> None:
        """Sum up the newest episodes, a hundred at most."""
        if self._returns:
            row = {
                "seed": self.seed,
                "steps": steps,
                "seconds": round(time.perf_counter() - self.begin, 1),
                "episodes": len(self._returns),
                "mean_return": round(float(np.mean(self._returns[-100:])), 4),
                "success": round(float(np.mean(self._successes[-100:])), 4),
            }
            self.rows.append(row)
            print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)


def train(config: Config, seed: int) -> tuple[Policy, list[dict[str, float]]]:
    """A policy trained from nothing, and how it went."""
    torch.manual_seed(seed)
    envs = make_envs(config)
    policy = Policy(config.eyes, int(envs.single_action_space.n))
    optimizer = torch.optim.Adam(policy.parameters(), lr=config.learning_rate, eps=1e-5)
    progress, steps = Progress(seed), 0
    observation, _ = envs.reset(seed=seed * 1000)
    starting = np.zeros(config.worlds, np.bool_)  # whose next step starts an episode and ignores the action
    while steps < config.steps:
        seen: dict[str, list[Any]] = {name: [] for name in ("kept", "goal", "action", "logp", "value")}
        rewards, terminated, done, valid = [], [], [], []
        for _ in range(config.rollout):
            kept, goals = policy.eyes.prepare(observation["frames"]), torch.from_numpy(observation["goal"])
            with torch.no_grad():
                actions, values = policy(kept, goals)
                action = actions.sample()
                logp = actions.log_prob(action)
            for name, value in zip(seen, (kept, goals, action, logp, values), strict=True):
                seen[name].append(value)
            observation, reward, terminations, truncations, infos = envs.step(action.numpy())
            valid.append(~starting)
            starting = terminations | truncations
            rewards.append(reward)
            terminated.append(terminations)
            done.append(starting)
            progress.see(starting, infos)
        steps += int(np.sum(valid))
        with torch.no_grad():
            kept, goals = policy.eyes.prepare(observation["frames"]), torch.from_numpy(observation["goal"])
            last = policy(kept, goals)[1]
        values = torch.stack(seen["value"])
        advantages = estimate_advantages(
            config, table(rewards), table(terminated), table(done), torch.cat([values, last[None]])
        )
        batch = {name: torch.stack(items).flatten(0, 1) for name, items in seen.items()}
        batch |= {"advantage": advantages.flatten(), "return": (advantages + values).flatten()}
        used = torch.from_numpy(np.stack(valid)).flatten()  # steps that only started an episode teach nothing
        update(config, policy, optimizer, {name: column[used] for name, column in batch.items()})
        progress.row(steps)
    envs.close()
    return policy, progress.rows


def table(rows: list[Any]) -> Tensor:
    """Rows [N] of S steps as float32 [S, N]."""
    return torch.from_numpy(np.stack(rows)).float()


def estimate_advantages(
    config: Config, rewards: Tensor, terminated: Tensor, done: Tensor, values: Tensor
) -> Tensor:
    """Generalised advantages [S, N] from columns [S, N] and values [S + 1, N].

    An episode that is cut off, rather than over, is worth what its last observation promises; that is the
    observation of the step after, since worlds start anew one step later.
    """
    advantages, running = torch.zeros_like(rewards), torch.zeros(rewards.shape[1])
    for step in reversed(range(len(rewards))):
        promised = config.gamma * values[step + 1] * (1 - terminated[step])
        surprise = rewards[step] + promised - values[step]
        running = surprise + config.gamma * config.gae_lambda * (1 - done[step]) * running
        advantages[step] = running
    return advantages


def update(
    config: Config, policy: Policy, optimizer: torch.optim.Optimizer, batch: dict[str, Tensor]
) -> None:
    """Some epochs of clipped policy gradient over a batch of transitions."""
    count = len(batch["action"])
    for _ in range(config.epochs):
        for rows in torch.randperm(count).chunk(config.minibatches):
            part = {name: column[rows] for name, column in batch.items()}
            actions, values = policy(part["kept"], part["goal"])
            ratio = (actions.log_prob(part["action"]) - part["logp"]).exp()
            advantage = part["advantage"]
            advantage = (advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-8)
            clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
            policy_loss = -torch.min(ratio * advantage, clipped * advantage).mean()
            value_loss = F.mse_loss(values, part["return"])
            loss = policy_loss + config.value * value_loss - config.entropy * actions.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(policy.parameters(), 0.5)
            optimizer.step()


def random_player(seed: int) -> Player:
    """Asks for anything."""
    rng = np.random.default_rng(seed)
    return lambda observation: rng.integers(len(PROMPTS) + 1, size=len(observation["goal"]))


def greedy_player() -> Player:
    """Asks for the first thing of the goal that it does not see: the setting, then the weather."""
    probe = Probe.load()

    def play(observation: Observation) -> Any:
        seen = probe.predict(torch.from_numpy(observation["frames"]))
        actions = np.zeros(len(observation["goal"]), np.int64)
        for world, goal in enumerate(observation["goal"]):
            number = 1
            for name in ("setting", "weather"):
                wanted = goal[list(ATTRIBUTES).index(name)]
                if actions[world] == 0 and wanted and ATTRIBUTES[name][wanted - 1] != seen[name][world]:
                    actions[world] = number + wanted - 1
                number += len(ATTRIBUTES[name])
        return actions

    return play


def evaluate(config: Config, player: Player, seed: int) -> dict[str, float]:
    """Mean return and success of an agent over episodes that training has not seen.

    Every world plays the same number of them: the first to end would be those that succeed.
    """
    envs = make_envs(config)
    observation, _ = envs.reset(seed=seed)
    each = -(-config.evaluate // config.worlds)
    played = np.zeros(config.worlds, np.int64)
    returns: list[float] = []
    successes: list[float] = []
    while (played < each).any():
        observation, _, terminations, truncations, infos = envs.step(player(observation))
        for world in np.flatnonzero((terminations | truncations) & (played < each)):
            played[world] += 1
            returns.append(float(infos["episode"]["r"][world]))
            successes.append(float(infos["success"][world]))
    envs.close()
    return {
        "episodes": len(returns),
        "mean_return": round(float(np.mean(returns)), 4),
        "standard_error": round(float(np.std(returns) / len(returns) ** 0.5), 4),
        "success": round(float(np.mean(successes)), 4),
    }


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Rows with the same names, as a table."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)


def plot(path: Path, rows: list[dict[str, float]], scores: list[dict[str, Any]]) -> None:
    """The learning curve of every seed, with what the other agents reach."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for seed in sorted({row["seed"] for row in rows}):
        own = [row for row in rows if row["seed"] == seed]
        axes.plot(
            [row["steps"] for row in own], [row["mean_return"] for row in own], label=f"PPO, seed {seed}"
        )
    for score, style in zip([one for one in scores if one["agent"] != "ppo"], ("--", ":"), strict=True):
        axes.axhline(score["mean_return"], color="grey", linestyle=style, label=score["agent"])
    axes.set(
        xlabel="steps of all worlds", ylabel="return, mean of 100 episodes", title="LongLive/TinyGoal-v0"
    )
    axes.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def parse() -> tuple[Config, list[int], Path]:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train PPO on LongLive/TinyGoal-v0.")
    for option in fields(Config):
        kind = type(option.default)
        choices = ("probe", "conv") if option.name == "eyes" else None
        name = "--" + option.name.replace("_", "-")
        parser.add_argument(
            name, type=kind, default=option.default, choices=choices, help=f"({option.default})"
        )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="one training run for each (1)")
    parser.add_argument("--out", type=Path, default=Path("out/ppo-goal"), help="folder of the results")
    args = vars(parser.parse_args())
    seeds, out = args.pop("seeds"), args.pop("out")
    return Config(**args), seeds, out


def main() -> None:
    """Train, compare, write."""
    config, seeds, out = parse()
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, float]] = []
    scores: list[dict[str, Any]] = []
    for seed in seeds:
        policy, progress = train(config, seed)
        rows += progress
        write_csv(out / "learning.csv", rows)
        save_file(policy.state_dict(), out / f"policy-{seed}.safetensors")
        scores.append({"agent": "ppo", "seed": seed, **evaluate(config, policy.play, seed=10**6)})
    for name, player in (("random", random_player(0)), ("greedy", greedy_player())):
        scores.append({"agent": name, "seed": 0, **evaluate(config, player, seed=10**6)})
    write_csv(out / "scores.csv", scores)
    plot(out / "learning.png", rows, scores)
    for score in scores:
        print("  ".join(f"{name} {value}" for name, value in score.items()))
    print(f"results are in {out}")


if __name__ == "__main__":
    main()
