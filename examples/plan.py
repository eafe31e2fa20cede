"""Planning on the tiny world's tasks: the cross-entropy method imagines futures in copies of the world.

    python examples/plan.py --out plan
    python examples/plan.py --task hold --episodes 8 --out plan-hold

The planner learns nothing in advance, and nobody tells it the goal or what words mean. Before each step it
forks the world, tries sequences of prompts in the copies, and sees their rewards. From the best it estimates
how likely each value of each attribute belongs into each step of the prompts, draws new sequences from that,
and so on; then it takes the first step of the best sequence, and plans again (model predictive control). It
is the cross-entropy method (de Boer et al. 2005, doi 10.1007/s10479-005-5724-z) on categorical distributions.

Copies have futures of their own: noise and disturbances that the world will meet are not given away.

Episodes are those of the evaluation protocol (`longlive_env.envs.evaluation`), but shorter, and so is the
scale of the score: 0 for an agent that keeps the prompt, 1 for one that reads the goal and asks for it. The
folder gets `report.json`, and `imagined.png`, a picture of the first episode: what the planner chose, and
what it saw in copies and turned down.

Shapes: C candidates, S steps that are planned, A attributes.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

import longlive_env  # noqa: F401  registers the envs
from longlive_env.engine.world_files import read_config
from longlive_env.envs.evaluation import evaluate
from longlive_env.envs.goals import LOOKS
from longlive_env.envs.stateful import clone_state, fork, restore_state
from longlive_env.envs.wrappers import SlotPrompts, vector
from longlive_env.errors import LongLiveError, MissingExtraError
from longlive_env.tiny.scene import ATTRIBUTES

IDS = {"goal": "LongLive/TinyGoal-v0", "tour": "LongLive/TinyTour-v0", "hold": "LongLive/TinyHold-v0"}
# An action is one number for each look: 0 leaves it as it is, n asks for its n-th value.
SIZES = [len(ATTRIBUTES[name]) for name in LOOKS]

Actions = NDArray[np.int64]


@dataclass(frozen=True)
class Future:
    """A sequence of prompts that was tried in a copy.

    Attributes:
        prompt: what it first asks for; `""` keeps the prompt.
        value: sum of its rewards.
        frame: the last that was seen of it, uint8 [H, W, 3].
    """

    prompt: str
    value: float
    frame: NDArray[np.uint8]


class Planner:
    """The cross-entropy method over sequences of actions; an agent, see `longlive_env.envs.seat`.

    Args:
        candidates: number of copies of the world, C.
        elites: how many of the best sequences the next are drawn from.
        rounds: how often sequences are drawn and tried before each step.
        horizon: steps that are planned, S.
        seed: seed of the draws, and of the copies' futures.

    Attributes:
        futures: what was tried before the last step, the chosen first, then the best.
        decisions: `futures` of the first steps of the first episode.
        goal: goal of the first episode, for a title; the planner does not read it.
        seconds: how long each decision has taken.
    """

    def __init__(self, candidates: int, elites: int, rounds: int, horizon: int, seed: int) -> None:
        self.candidates, self.elites, self.rounds, self.horizon = candidates, elites, rounds, horizon
        self.rng = np.random.default_rng(seed)
        self.futures: list[Future] = []
        self.decisions: list[list[Future]] = []
        self.goal = ""
        self.seconds: list[float] = []

    def reset(self, env: gym.Env[Any, Any], info: Mapping[str, Any], /) -> None:
        """Begin an episode of an env."""
        self._env, self._first = env, not self.goal
        self.goal = self.goal or info["goal"]

    def act(self, observation: Any, info: Mapping[str, Any], /) -> Any:
        """Return the first action [A] of the best sequence that was tried."""
        begin = time.perf_counter()
        action = self.plan(self._env)
        self.seconds.append(time.perf_counter() - begin)
        if self._first and len(self.decisions) < 4:
            self.decisions.append(self.futures)
        return action

    def plan(self, env: gym.Env[Any, Any]) -> Actions:
        """Plan in copies of an env; returns as `act`."""
        copies = fork(env, self.candidates, include_rng=False, seed=int(self.rng.integers(2**31)))
        branches = vector.SlotPrompts(copies, LOOKS)
        start = clone_state(branches)
        chances = [np.full((self.horizon, 1 + size), 1 / (1 + size)) for size in SIZES]
        best: Actions = np.zeros(
            (1, self.horizon, len(SIZES)), np.int64
        )  # keeping the prompt is always tried
        self.futures = []
        for turn in range(self.rounds):
            if turn:
                restore_state(branches, start)
            drawn = self._draw(chances, self.candidates - len(best))
            sequences = np.concatenate([best, drawn])
            values = self._imagine(branches, sequences)
            order = np.argsort(-values, kind="stable")[: self.elites]
            best, chances = sequences[order], fitted(sequences[order])
        chosen = self.futures[order[0] - self.candidates].prompt
        branches.close()
        self.futures.sort(key=lambda future: (future.prompt != chosen, -future.value))
        first: Actions = best[0, 0]
        return first

    def _draw(self, chances: list[NDArray[np.float64]], count: int) -> Actions:
        """Draw sequences [count, S, A] from the probabilities [S, 1 + values] of each attribute."""
        drawn = [[self.rng.choice(len(row), size=count, p=row) for row in rows] for rows in chances]
        return np.array(drawn).transpose(2, 1, 0)

    def _imagine(self, branches: Any, sequences: Actions) -> NDArray[np.float64]:
        """Play sequences [C, S, A] in the copies; returns the sum of each one's rewards [C]."""
        values, alive = np.zeros(len(sequences)), np.ones(len(sequences), np.bool_)
        frames: list[Any] = [None] * len(sequences)
        prompts = branches.actions(sequences[:, 0])
        for step in range(self.horizon):
            blocks, rewards, terminated, truncated, _ = branches.step(sequences[:, step])
            values += rewards * alive
            for copy in np.flatnonzero(alive):
                frames[copy] = blocks[copy, -1].copy()
            alive &= ~(terminated | truncated)
        self.futures += [Future(*one) for one in zip(prompts, values.tolist(), frames, strict=True)]
        return values


def fitted(elites: Actions, rest: float = 0.1) -> list[NDArray[np.float64]]:
    """Estimate each attribute's probabilities [S, 1 + values] from the best sequences [E, S, A].

    A share of `rest` stays uniform, so that no value is ever given up.
    """
    chances = []
    for attribute, size in enumerate(SIZES):
        marks = elites[:, :, attribute, None] == np.arange(1 + size)
        chances.append((1 - rest) * marks.mean(axis=0) + rest / (1 + size))
    return chances


def make_env(args: argparse.Namespace) -> gym.Env[Any, Any]:
    """Make the env of a task, whose actions are one number for each attribute."""
    env = gym.make(
        IDS[args.task],
        world=args.world,
        codec="light" if read_config(args.world).draws_detail else None,
        precision=None if args.precision == "fp32" else args.precision,
        max_episode_steps=args.steps,
    )
    return SlotPrompts(env, LOOKS)


def draw(decisions: list[list[Future]], goal: str, path: Path, columns: int = 5) -> None:
    """Draw decisions, one per row: the chosen future, runners-up, and the worst."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows, size = len(decisions), (3.2 * columns, 2.9 * len(decisions) + 0.5)
    figure, grid = pyplot.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    figure.suptitle(f"What the planner imagined; unknown to it, the goal: {goal}")
    for axes, futures in zip(grid, decisions, strict=True):
        best: dict[str, Future] = {}  # of each prompt
        for future in futures:
            best.setdefault(future.prompt, future)
        shown = list(best.values())
        shown = [*shown[: columns - 1], *shown[columns - 1 :][-1:]]
        for place, cell in enumerate(axes):
            cell.set_axis_off()
            if place < len(shown):
                cell.imshow(shown[place].frame)
                label = shown[place].prompt or "(keeps the prompt)"
                worth = f"{shown[place].value:+.2f}" + (", chosen" if place == 0 else "")
                cell.set_title("\n".join([worth, *textwrap.wrap(label, 38)]), fontsize=9)
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Plan by the cross-entropy method.")
    parser.add_argument("--task", choices=tuple(IDS), default="goal")
    parser.add_argument("--episodes", type=int, default=16, help="2 or more (16)")
    parser.add_argument("--steps", type=int, default=12, help="of an episode, at most (12)")
    parser.add_argument("--candidates", type=int, default=24, help="copies of the world (24)")
    parser.add_argument("--elites", type=int, default=4, help="sequences that the next are drawn from (4)")
    parser.add_argument("--rounds", type=int, default=4, help="rounds of sequences before each step (4)")
    parser.add_argument("--horizon", type=int, default=2, help="steps that are planned (2)")
    parser.add_argument("--seed", type=int, default=0, help="of the planner; episodes are the same (0)")
    parser.add_argument("--world", default="tiny", help="name or folder of the world")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--out", type=Path, default=Path("out/plan"), help="folder of the results")
    args = parser.parse_args()
    if args.episodes < 2 or not 1 <= args.elites < args.candidates or min(args.rounds, args.horizon) < 1:
        parser.error("needed: 2 episodes, 1 round, 1 step or more of each, and fewer elites than candidates")
    return args


def main() -> None:
    """Plan, compare, write."""
    args = parse()
    if find_spec("matplotlib") is None:
        raise MissingExtraError.of("this example needs matplotlib", "rl")
    args.out.mkdir(parents=True, exist_ok=True)
    planner = Planner(args.candidates, args.elites, args.rounds, args.horizon, args.seed)
    report = evaluate(planner, IDS[args.task], episodes=args.episodes, make=lambda: make_env(args))
    draw(planner.decisions, planner.goal, args.out / "imagined.png")
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()}
    figures = {
        "planner": settings,
        "seconds_a_decision": float(np.median(planner.seconds)),
        **report.to_json(),
    }
    (args.out / "report.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(report)
    print(f"a decision took {figures['seconds_a_decision']:.1f} s (median); results are in {args.out}")


if __name__ == "__main__":
    try:
        main()
    except LongLiveError as error:
        sys.exit(f"plan.py: {error}")
