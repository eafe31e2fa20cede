"""PPO on the tiny world's tasks in one file, in the style of CleanRL.

    python examples/ppo.py --seeds 1 2 3 --out goal
    python examples/ppo.py --task hold --eyes conv --blocks 24 --steps 12000 --learning-rate 1e-3 --out hold

An agent sees blocks of generated video and a goal, and chooses which setting and which weather the prompt
should name. In the goal task it also sees the prompt in force; a change costs, and takes a block or more to
show. In the hold task the scene changes by itself, which only the video tells, and every prompt costs.

For each seed, a policy is trained from scratch. Then all agents play the same episodes: each seed's policy
before and after training, sampling its actions as in training; the trained policy again, always taking the
likeliest action; and four agents that do not learn: one keeps the prompt, one asks at random, one for the
first thing that it does not see, one for the whole goal in every block. The folder gets `learning.png`,
`scores.csv`, `episodes.csv`, and for each seed, such as 1, `learning-1.csv` and `policy-1.safetensors`.

A seed whose policy is in the folder is not trained again. So a stopped run resumes with the next seed, and
seeds can be trained in parallel: one command per seed with `--evaluate 0`, then one for all. The policy's
file records the options of its training; the program stops if they differ from the current ones.

`--eyes probe` sees through the classifier that ships with the tiny world, so only a policy of a few layers
has to be learned; `--eyes conv` also learns to see, from the newest frame; `--eyes none` is blind, to show
what seeing is worth.

Shapes: N worlds, S steps of a rollout, T frames, H rows, W columns, V values of all attributes, D features.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import longlive_env  # noqa: F401  registers the envs
from longlive_env.engine.world_files import read_config
from longlive_env.envs.wrappers import vector
from longlive_env.errors import ConfigError, LongLiveError, MissingExtraError
from longlive_env.tiny.probe import Probe
from longlive_env.tiny.scene import ATTRIBUTES

# An action is one number for each of these: 0 leaves it as it is, n asks for its n-th value.
SLOTS = ("setting", "weather")
SIZES = [len(values) for values in ATTRIBUTES.values()]
PLACES = [list(ATTRIBUTES).index(name) for name in SLOTS]  # of the slots among the attributes
# The scene to hold changes more often than by default, only blocks that show it pay, and a prompt costs half
# of what they pay. So looking pays more than keeping silent or asking all the time.
TASKS: dict[str, dict[str, Any]] = {
    "goal": {"id": "LongLive/TinyGoal-v0"},
    "hold": {
        "id": "LongLive/TinyHold-v0",
        "task": {"name": "hold", "reward": "sparse", "calm": (3, 6), "prompt_cost": 0.5},
    },
}
# frames uint8 [N, T, H, W, 3]; goal and, in the goal task, prompt int64 [N, 5], 0 where left open
Observation = dict[str, Any]
Player = Callable[[Observation], Any]


@dataclass(frozen=True)
class Config:
    """Settings of a run; each is a command-line option."""

    steps: int = 4_000  # total over all worlds
    worlds: int = 16
    rollout: int = 16  # steps between two updates
    epochs: int = 10
    minibatches: int = 4
    learning_rate: float = 3e-3
    gamma: float = 0.95
    gae_lambda: float = 0.9
    clip: float = 0.2
    entropy: float = 0.01
    value: float = 0.5
    evaluate: int = 64  # episodes of each agent in the end; 0 only trains
    task: str = "goal"
    eyes: str = "probe"
    world: str = "tiny"
    codec: str = "light"  # half-size frames without the world's detail; "full" includes it
    precision: str = "fp32"
    blocks: int = 12  # steps of an episode


def make_envs(config: Config) -> Any:
    """Make a batch of worlds with goals, whose actions are numbers."""
    envs: Any = gym.make_vec(
        **TASKS[config.task],
        num_envs=config.worlds,
        world=config.world,
        codec=codec_of(config),
        precision=None if config.precision == "fp32" else config.precision,
        max_episode_steps=config.blocks,
    )
    envs = vector.SlotPrompts(RecordEpisodeStatistics(envs), SLOTS)
    return vector.GoalInObservation(envs, prompt=config.task == "goal")


def codec_of(config: Config) -> str | None:
    """Return the codec to load the world with; None for its own, also if that draws no detail to omit."""
    return "light" if config.codec == "light" and read_config(config.world).draws_detail else None


class ProbeEyes(nn.Module):
    """The shipped probe's reading of the frames."""

    def __init__(self) -> None:
        super().__init__()
        self._probe = [Probe.load()]  # in a list, so that its weights are not part of the policy

    def prepare(self, frames: Any) -> Tensor:
        """Map frames, uint8 [N, T, H, W, 3], to the probability of each value [N, V]."""
        return torch.cat(list(self._probe[0].probabilities(torch.from_numpy(frames)).values()), dim=1)

    def forward(self, kept: Tensor) -> Tensor:
        """Return the input [N, V] unchanged."""
        return kept


class ConvEyes(nn.Module):
    """A small convolutional network that learns to see."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 32, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d((4, 6)),
            nn.Flatten(),
            nn.Linear(64 * 4 * 6, sum(SIZES)),
        )

    def prepare(self, frames: Any) -> Tensor:
        """Map frames, uint8 [N, T, H, W, 3], to the newest at half size, float [N, 3, H/2, W/2]."""
        return F.avg_pool2d(torch.from_numpy(frames[:, -1]).movedim(-1, 1).float() / 255, 2)

    def forward(self, kept: Tensor) -> Tensor:
        """Map pictures [N, 3, h, w] to one learned number per value [N, V]."""
        features: Tensor = self.net(kept)
        return features


class NoEyes(nn.Module):
    """Sees nothing."""

    def prepare(self, frames: Any) -> Tensor:
        """Map frames, uint8 [N, T, H, W, 3], to zeros [N, V]."""
        return torch.zeros(len(frames), sum(SIZES))

    def forward(self, kept: Tensor) -> Tensor:
        """Return the input [N, V] unchanged."""
        return kept


EYES: dict[str, type[ProbeEyes | ConvEyes | NoEyes]] = {"probe": ProbeEyes, "conv": ConvEyes, "none": NoEyes}


class SlotActions:
    """A distribution over actions: an independent choice for each slot.

    Args:
        logits: logits of each slot [N, values + 1], the first for leaving it as it is.
    """

    def __init__(self, logits: list[Tensor]) -> None:
        self.slots = [torch.distributions.Categorical(logits=one) for one in logits]

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Sample actions [N, 2], by the global generator if none is given."""
        drawn = [torch.multinomial(slot.probs, 1, generator=generator) for slot in self.slots]
        return torch.cat(drawn, dim=1)

    def likeliest(self) -> Tensor:
        """Return the likeliest actions [N, 2]; on ties the first, which leaves things as they are."""
        return torch.stack([slot.logits.argmax(dim=1) for slot in self.slots], dim=1)

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return the log probability [N] of actions [N, 2]."""
        each = [slot.log_prob(action) for slot, action in zip(self.slots, actions.unbind(1), strict=True)]
        return torch.stack(each).sum(dim=0)

    def entropy(self) -> Tensor:
        """Return the entropy [N]."""
        return torch.stack([slot.entropy() for slot in self.slots]).sum(dim=0)


class Policy(nn.Module):
    """Policy and value function of what is seen, what is wanted and what the prompt says.

    Learning separately for each setting when to ask for it would take long. So one small network is applied
    to every value alike, as a convolution is to every place: how likely the value is seen, whether it is
    wanted, whether the prompt has it. A second network sees all of that, summed for each attribute.

    This also creates a shortcut: the mark of a wanted value is at the very action that asks for it, and
    random weights may happen to prefer marked values, which would be knowing the task before any training. So
    the last layers start at zero, where every action has the same probability, whatever is seen or wanted.
    """

    def __init__(self, eyes: str, width: int = 32) -> None:
        super().__init__()
        self.eyes = EYES[eyes]()
        self.look = nn.Sequential(nn.Linear(3, width), nn.Tanh())  # applied to each value
        self.context = nn.Sequential(nn.Linear(len(SIZES) * width, 64), nn.Tanh())
        self.weigh = nn.Sequential(nn.Linear(2 * width + 64, width), nn.Tanh())  # for each value of a slot
        self.pick, self.keep, self.critic = nn.Linear(width, 1), nn.Linear(64, len(SLOTS)), nn.Linear(64, 1)
        for head in (self.pick, self.keep):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(self, kept: Tensor, goals: Tensor, prompts: Tensor) -> tuple[SlotActions, Tensor]:
        """Map kept frames [N, ...], goals and prompts, int64 [N, 5], to a distribution and values [N]."""
        looks = self.look(
            torch.stack([self.eyes(kept), one_hot(goals), one_hot(prompts)], dim=2)
        )  # [N, V, D]
        attributes = looks.split(SIZES, dim=1)
        sums = [look.sum(dim=1) for look in attributes]  # [N, D] each
        context = self.context(torch.cat(sums, dim=1))
        keep, logits = self.keep(context), []
        for slot, place in enumerate(PLACES):
            around = torch.cat([sums[place], context], dim=1)[:, None].expand(-1, SIZES[place], -1)
            picks = self.pick(self.weigh(torch.cat([attributes[place], around], dim=2)))[..., 0]
            logits.append(torch.cat([keep[:, slot : slot + 1], picks], dim=1))
        return SlotActions(logits), self.critic(context)[:, 0]

    def read(self, observation: Observation) -> tuple[Tensor, Tensor, Tensor]:
        """Convert observations of N worlds to the arguments of `forward`."""
        goals = torch.from_numpy(observation["goal"])
        prompts = torch.from_numpy(observation.get("prompt", np.zeros_like(observation["goal"])))
        return self.eyes.prepare(observation["frames"]), goals, prompts

    @torch.no_grad()
    def judge(self, observation: Observation) -> SlotActions:
        """Return the distribution over actions in N worlds."""
        actions: SlotActions = self(*self.read(observation))[0]
        return actions


def one_hot(numbers: Tensor) -> Tensor:
    """Map value numbers, int64 [N, 5], 0 for none, to a mark at each named value, float [N, V]."""
    marks = [
        F.one_hot(column, size + 1)[:, 1:] for column, size in zip(numbers.unbind(1), SIZES, strict=True)
    ]
    return torch.cat(marks, dim=1).float()


class Progress:
    """Tracks finished episodes, for one row per update."""

    def __init__(self, seed: int) -> None:
        self.seed, self.begin = seed, time.perf_counter()
        self.rows: list[dict[str, float]] = []
        self._returns: list[float] = []
        self._successes: list[float] = []

    def see(self, done: Any, infos: dict[str, Any]) -> None:
        """Record the episodes that ended with this step."""
        for world in np.flatnonzero(done):
            self._returns.append(float(infos["episode"]["r"][world]))
            self._successes.append(success(infos, world))

    def row(self, steps: int) -> None:
        """Summarise the newest episodes, at most a hundred."""
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


def success(infos: dict[str, Any], world: int) -> float:
    """Return whether an episode that has ended was a success, or the share of blocks that held a scene."""
    return float(infos.get("held", infos["success"])[world])


def untrained(config: Config, seed: int) -> Policy:
    """Return the policy that training with this seed starts from."""
    torch.manual_seed(seed)
    return Policy(config.eyes)


def train(config: Config, seed: int) -> tuple[Policy, list[dict[str, float]]]:
    """Train a policy from scratch; returns it and its learning curve."""
    envs = make_envs(config)
    policy = untrained(config, seed)
    optimizer = torch.optim.Adam(policy.parameters(), lr=config.learning_rate, eps=1e-5)
    progress, steps = Progress(seed), 0
    observation, _ = envs.reset(seed=seed * 1000)
    starting = np.zeros(config.worlds, np.bool_)  # worlds whose next step only starts an episode
    while steps < config.steps:
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * (1 - steps / config.steps)
        seen: dict[str, list[Any]] = {
            name: [] for name in ("kept", "goal", "prompt", "action", "logp", "value")
        }
        rewards, terminated, done, valid = [], [], [], []
        for _ in range(config.rollout):
            situation = policy.read(observation)
            with torch.no_grad():
                actions, values = policy(*situation)
                action = actions.sample()
                logp = actions.log_prob(action)
            for name, value in zip(seen, (*situation, action, logp, values), strict=True):
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
            last = policy(*policy.read(observation))[1]
        values = torch.stack(seen["value"])
        advantages = estimate_advantages(
            config, table(rewards), table(terminated), table(done), torch.cat([values, last[None]])
        )
        batch = {name: torch.stack(items).flatten(0, 1) for name, items in seen.items()}
        batch |= {"advantage": advantages.flatten(), "return": (advantages + values).flatten()}
        used = torch.from_numpy(np.stack(valid)).flatten()  # without steps that only started an episode
        update(config, policy, optimizer, {name: column[used] for name, column in batch.items()})
        progress.row(steps)
    envs.close()
    return policy, progress.rows


def table(rows: list[Any]) -> Tensor:
    """Stack rows [N] of S steps as float32 [S, N]."""
    return torch.from_numpy(np.stack(rows)).float()


def estimate_advantages(
    config: Config, rewards: Tensor, terminated: Tensor, done: Tensor, values: Tensor
) -> Tensor:
    """Return generalised advantages [S, N] from columns [S, N] and values [S + 1, N].

    A truncated episode is bootstrapped with the value of its last observation, which is at the next index,
    since worlds restart one step later.
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
    """Run some epochs of clipped policy gradient over a batch of transitions."""
    count = len(batch["action"])
    for _ in range(config.epochs):
        for rows in torch.randperm(count).chunk(config.minibatches):
            part = {name: column[rows] for name, column in batch.items()}
            actions, values = policy(part["kept"], part["goal"], part["prompt"])
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


def sampling_player(policy: Policy, seed: int) -> Player:
    """Make a player that samples actions from the policy, as in training."""
    generator = torch.Generator().manual_seed(seed)
    return lambda observation: policy.judge(observation).sample(generator).numpy()


def likeliest_player(policy: Policy) -> Player:
    """Make a player that always takes the policy's likeliest action."""
    return lambda observation: policy.judge(observation).likeliest().numpy()


def silent_player() -> Player:
    """Make a player that keeps the prompt."""
    return lambda observation: np.zeros((len(observation["goal"]), len(SLOTS)), np.int64)


def random_player(seed: int) -> Player:
    """Make a player that asks for anything, or nothing, at random."""
    rng = np.random.default_rng(seed)
    sizes = [SIZES[place] + 1 for place in PLACES]
    return lambda observation: rng.integers(sizes, size=(len(observation["goal"]), len(SLOTS)))


def greedy_player() -> Player:
    """Make a player that asks for the first part of the goal that it does not see: setting, then weather."""
    probe = Probe.load()

    def play(observation: Observation) -> Any:
        seen = probe.predict(torch.from_numpy(observation["frames"]))
        actions = np.zeros((len(observation["goal"]), len(SLOTS)), np.int64)
        for world, goal in enumerate(observation["goal"]):
            for slot, (name, place) in enumerate(zip(SLOTS, PLACES, strict=True)):
                wanted = goal[place]
                if wanted and ATTRIBUTES[name][wanted - 1] != seen[name][world]:
                    actions[world, slot] = wanted
                    break
        return actions

    return play


def at_once_player() -> Player:
    """Make a player that always asks for the whole goal; in the goal task a repeated prompt costs nothing."""
    return lambda observation: observation["goal"][:, PLACES]


def evaluate(config: Config, player: Player, seed: int) -> list[dict[str, Any]]:
    """Evaluate an agent in episodes unseen in training, which start alike for every agent.

    Every world plays the same number of episodes, since the first ones to end would be the successful ones.
    """
    envs = make_envs(config)
    observation, _ = envs.reset(seed=seed)
    each = -(-config.evaluate // config.worlds)
    played = np.zeros(config.worlds, np.int64)
    rows: list[dict[str, Any]] = []
    while (played < each).any():
        observation, _, terminations, truncations, infos = envs.step(player(observation))
        for world in np.flatnonzero((terminations | truncations) & (played < each)):
            rows.append(
                {
                    "world": int(world),
                    "episode": int(played[world]),
                    "return": float(infos["episode"]["r"][world]),
                    "steps": int(infos["episode"]["l"][world]),
                    "success": success(infos, world),
                }
            )
            played[world] += 1
    envs.close()
    return sorted(rows, key=lambda row: (row["world"], row["episode"]))


def summary(rows: list[dict[str, Any]], greedy: list[dict[str, Any]]) -> dict[str, float]:
    """Return means over episodes, and the lead over the greedy agent's returns in the same episodes."""
    returns, theirs = (np.array([row["return"] for row in one]) for one in (rows, greedy))
    above = returns - theirs
    return {
        "episodes": len(rows),
        "mean_return": round(float(returns.mean()), 4),
        "standard_error": round(float(returns.std() / len(rows) ** 0.5), 4),
        "above_greedy": round(float(above.mean()), 4),
        "above_greedy_error": round(float(above.std() / len(rows) ** 0.5), 4),
        "success": round(float(np.mean([row["success"] for row in rows])), 4),
        "steps": round(float(np.mean([row["steps"] for row in rows])), 2),
    }


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows with the same names as a table."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)


def markdown(scores: list[dict[str, Any]]) -> str:
    """Return the scores as rows of a Markdown table; ± is a standard error."""
    lines = [
        "| agent | return | above greedy in the same episodes | success | steps |",
        "|---|---|---|---|---|",
    ]
    for score in scores:
        agent = score["agent"] if score["seed"] is None else f"{score['agent']}, seed {score['seed']}"
        own = f"{score['mean_return']:.3f} ± {score['standard_error']:.3f}"
        above = f"{score['above_greedy']:+.3f} ± {score['above_greedy_error']:.3f}"
        lines.append(f"| {agent} | {own} | {above} | {100 * score['success']:.0f} % | {score['steps']:.2f} |")
    return "\n".join(lines)


def plot(path: Path, title: str, rows: list[dict[str, float]], scores: list[dict[str, Any]]) -> None:
    """Plot the learning curve of every seed, beside the other agents' returns."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for seed in sorted({row["seed"] for row in rows}):
        own = [row for row in rows if row["seed"] == seed]
        axes.plot(
            [row["steps"] for row in own], [row["mean_return"] for row in own], label=f"PPO, seed {seed:g}"
        )
    others = [score for score in scores if score["seed"] is None]
    for score, style in zip(others, ("--", "-.", ":", (0, (1, 4))), strict=True):
        axes.axhline(score["mean_return"], color="grey", linestyle=style, label=score["agent"])
    axes.set(
        xlabel="steps of all worlds",
        ylabel="return, mean of the last 100 episodes",
        title=title,
    )
    axes.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def parse() -> tuple[Config, list[int], Path]:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Train PPO on a task of the tiny world.")
    known = {
        "task": tuple(TASKS),
        "eyes": tuple(EYES),
        "precision": ("fp32", "bf16"),
        "codec": ("light", "full"),
    }
    for option in fields(Config):
        name, kind = "--" + option.name.replace("_", "-"), type(option.default)
        choices = known.get(option.name)
        parser.add_argument(
            name, type=kind, default=option.default, choices=choices, help=f"({option.default})"
        )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="one training run for each (1)")
    parser.add_argument("--out", type=Path, default=Path("out/ppo"), help="folder of the results")
    args = vars(parser.parse_args())
    seeds, out = args.pop("seeds"), args.pop("out")
    return Config(**args), seeds, out


def settings(config: Config) -> dict[str, Any]:
    """Return what training depends on: all options except those of the evaluation."""
    return {name: value for name, value in asdict(config).items() if name != "evaluate"}


def check_settings(config: Config, weights: Path) -> None:
    """Refuse a policy file, if there is one, that was trained with other settings.

    Raises:
        ConfigError: its settings differ, or it records none.
    """
    if not weights.exists():
        return
    with safe_open(weights, "pt") as file:
        noted = json.loads((file.metadata() or {}).get("settings", "null"))
    remedy = "give another --out, or delete the file to train this seed again"
    if noted is None:
        raise ConfigError(f"{weights} does not note the settings of its training, as files now do; {remedy}")
    asked = settings(config)
    differ = [name for name in asked | noted if asked.get(name) != noted.get(name)]
    if differ:
        theirs, ours = (", ".join(f"{name} {of.get(name)}" for name in differ) for of in (noted, asked))
        raise ConfigError(f"{weights} was trained with {theirs}, but {ours} is asked for; {remedy}")


def trained(config: Config, seed: int, out: Path) -> tuple[Policy, list[dict[str, float]]]:
    """Return a seed's policy and learning curve, from the folder `out` if they are there."""
    weights, learning = policy_file(out, seed), out / f"learning-{seed}.csv"
    if not weights.exists():
        policy, rows = train(config, seed)
        write_csv(learning, rows)
        save_file(policy.state_dict(), weights, {"settings": json.dumps(settings(config))})
        return policy, rows
    policy = Policy(config.eyes)
    policy.load_state_dict(load_file(weights))
    with learning.open(newline="", encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    return policy, rows


def policy_file(out: Path, seed: int) -> Path:
    """Return the path of a seed's policy."""
    return out / f"policy-{seed}.safetensors"


def compare(config: Config, policies: dict[int, Policy], out: Path) -> list[dict[str, Any]]:
    """Let all agents play the same episodes, write the results, and summarise them."""
    players: list[tuple[str, int | None, Player]] = [
        *(("untrained", seed, sampling_player(untrained(config, seed), seed)) for seed in policies),
        *(("PPO", seed, sampling_player(policy, seed)) for seed, policy in policies.items()),
        *(("PPO's likeliest", seed, likeliest_player(policy)) for seed, policy in policies.items()),
        ("silent", None, silent_player()),
        ("random", None, random_player(0)),
        ("greedy", None, greedy_player()),
        ("at once", None, at_once_player()),
    ]
    played = {(name, seed): evaluate(config, player, seed=10**6) for name, seed, player in players}
    write_csv(
        out / "episodes.csv",
        [{"agent": name, "seed": seed, **row} for (name, seed), rows in played.items() for row in rows],
    )
    scores = [
        {"agent": name, "seed": seed, **summary(episodes, played["greedy", None])}
        for (name, seed), episodes in played.items()
    ]
    write_csv(out / "scores.csv", scores)
    return scores


def main() -> None:
    """Train, compare, write."""
    config, seeds, out = parse()
    if config.evaluate and find_spec("matplotlib") is None:
        raise MissingExtraError.of("the learning curve needs matplotlib", "rl")
    out.mkdir(parents=True, exist_ok=True)
    for seed in seeds:  # check all before the first is trained
        check_settings(config, policy_file(out, seed))
    runs = {seed: trained(config, seed, out) for seed in seeds}
    if not config.evaluate:
        return
    scores = compare(config, {seed: policy for seed, (policy, _) in runs.items()}, out)
    print(markdown(scores))
    title = f"PPO on {TASKS[config.task]['id']}, in training; grey: agents that do not learn"
    plot(out / "learning.png", title, [row for _, rows in runs.values() for row in rows], scores)
    print(f"results are in {out}")


if __name__ == "__main__":
    try:
        main()
    except LongLiveError as error:
        sys.exit(f"ppo.py: {error}")
