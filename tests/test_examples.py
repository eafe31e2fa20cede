"""The examples run."""

import csv
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from longlive_env.tiny.render import render_take
from longlive_env.tiny.scene import BLOCK_FRAMES, Scene, Take

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def ppo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ppo_goal", EXAMPLES / "ppo_goal.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ppo_goal"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("eyes", ["probe", "conv"])
def test_ppo_writes_a_learning_curve(
    ppo: ModuleType,
    small_world_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    eyes: str,
) -> None:
    pytest.importorskip("matplotlib", reason="the learning curve needs matplotlib")
    sizes = "--steps 20 --worlds 2 --rollout 6 --blocks 3 --evaluate 3 --minibatches 2"
    places = ["--world", str(small_world_folder), "--out", str(tmp_path)]
    options = [*sizes.split(" "), *places, "--eyes", eyes]
    if eyes == "probe":  # a seed is trained by itself, by the file as a program, and then not again
        program = [sys.executable, EXAMPLES / "ppo_goal.py", *options, "--seeds", "1", "--evaluate", "0"]
        done = subprocess.run(program, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert "seed 1" in done.stdout and not (tmp_path / "scores.csv").exists()
    monkeypatch.setattr(sys, "argv", ["ppo_goal.py", *options, "--seeds", "1", "2"])
    ppo.main()
    training = capsys.readouterr().out.split("agent")[0]
    assert ("seed 1" in training) == (eyes == "conv") and "seed 2" in training
    for seed in (1, 2):
        with (tmp_path / f"learning-{seed}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert {row["seed"] for row in rows} == {str(seed)} and int(rows[-1]["steps"]) >= 20
    with (tmp_path / "scores.csv").open(newline="") as file:
        scores = list(csv.DictReader(file))
    assert [score["agent"] for score in scores] == ["ppo", "ppo", "random", "greedy", "at once"]
    assert {score["episodes"] for score in scores} == {"4"} and float(scores[3]["above_greedy"]) == 0
    with (tmp_path / "episodes.csv").open(newline="") as file:
        episodes = list(csv.DictReader(file))
    assert len(episodes) == 20 and all(1 <= int(episode["steps"]) <= 3 for episode in episodes)
    with Image.open(tmp_path / "learning.png") as picture:
        assert picture.size == (960, 540) and len(set(picture.convert("L").tobytes())) > 10
    assert (tmp_path / "policy-2.safetensors").stat().st_size > 1000


def test_advantages_stop_where_episodes_do(ppo: ModuleType) -> None:
    config = ppo.Config(gamma=0.5, gae_lambda=1.0)
    rewards = torch.tensor([[1.0], [1.0], [4.0]])
    values = torch.tensor([[0.0], [0.0], [0.0], [8.0]])
    ends, none = torch.tensor([[0.0], [1.0], [0.0]]), torch.zeros(3, 1)
    terminated = ppo.estimate_advantages(config, rewards, ends, ends, values)[:, 0]
    assert terminated.tolist() == [1.5, 1.0, 8.0]
    values[2] = 6  # what the last observation of an episode that is cut off promises
    cut_off = ppo.estimate_advantages(config, rewards, none, ends, values)[:, 0]
    assert cut_off.tolist() == [1 + 0.5 * 4, 1 + 0.5 * 6, 4 + 0.5 * 8 - 6]


def test_every_update_of_ppo_has_a_learning_rate(
    ppo: ModuleType, small_world_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []

    def update(config: Any, policy: Any, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        rates.append(optimizer.param_groups[0]["lr"])

    monkeypatch.setattr(ppo, "update", update)
    ppo.train(ppo.Config(steps=24, worlds=2, rollout=4, blocks=3, world=str(small_world_folder)), seed=1)
    assert rates[0] == ppo.Config().learning_rate and rates == sorted(rates, reverse=True)
    assert len(rates) > 2 and rates[-1] > 0


def test_ppo_learns_what_pays(ppo: ModuleType) -> None:
    torch.manual_seed(0)
    config, policy = ppo.Config(learning_rate=3e-3), ppo.Policy("probe")
    optimizer = torch.optim.Adam(policy.parameters(), lr=config.learning_rate)
    kept, (goals, prompts) = torch.rand(256, sum(ppo.SIZES)), torch.randint(0, 6, (2, 256, 5))
    wanted = torch.where(goals == prompts, 0, goals)[:, ppo.PLACES]  # what is in force need not be said
    for _ in range(10):
        with torch.no_grad():
            actions, values = policy(kept, goals, prompts)
            action = actions.sample()
        reward = (action == wanted).float().mean(dim=1)
        batch = {"kept": kept, "goal": goals, "prompt": prompts, "action": action}
        batch |= {"logp": actions.log_prob(action), "advantage": reward - values, "return": reward}
        ppo.update(config, policy, optimizer, batch)
    with torch.no_grad():
        likeliest = policy(kept, goals, prompts)[0].likeliest()
    assert (likeliest == wanted).float().mean() > 0.9


def test_agents_that_do_not_learn_ask_for_the_goal(ppo: ModuleType) -> None:
    scene = Scene("robot", "red", "city", "night", "still")
    take = Take(((0, scene),), camera=40.0)
    frames = np.stack([render_take(take, 9, BLOCK_FRAMES).numpy()] * 3)
    # in the forest in the rain, in the city in the rain, at night
    goal = np.array([[1, 1, 2, 3, 0], [1, 1, 1, 3, 0], [1, 1, 0, 2, 0]])
    observation = {"frames": frames, "goal": goal, "prompt": goal}
    assert ppo.at_once_player()(observation).tolist() == [[2, 3], [1, 3], [0, 2]]
    assert ppo.greedy_player()(observation).tolist() == [[2, 0], [0, 3], [0, 0]]
    assert np.unique(ppo.random_player(0)({**observation, "goal": np.zeros((500, 5))}), axis=0).shape == (
        63,
        2,
    )


def test_summaries_compare_the_same_episodes(ppo: ModuleType) -> None:
    ours, theirs = (
        [{"return": one, "success": one > 0, "steps": 2} for one in returns]
        for returns in ([1.0, 0.0, 0.5, 0.5], [0.5, -0.5, 0.0, 0.0])
    )
    found = ppo.summary(ours, theirs)
    assert (found["mean_return"], found["above_greedy"], found["above_greedy_error"]) == (0.5, 0.5, 0)
    assert (found["episodes"], found["success"], found["steps"]) == (4, 0.75, 2)
