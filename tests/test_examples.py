"""The examples run."""

import csv
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image

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
def test_ppo_writes_a_learning_curve(small_world_folder: Path, tmp_path: Path, eyes: str) -> None:
    pytest.importorskip("matplotlib", reason="the learning curve needs matplotlib")
    options = "--steps 20 --worlds 2 --rollout 6 --blocks 3 --evaluate 3 --seeds 1 2 --minibatches 2"
    places = ["--world", str(small_world_folder), "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, EXAMPLES / "ppo_goal.py", *options.split(" "), *places, "--eyes", eyes],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    with (tmp_path / "learning.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["seed"] for row in rows} == {"1", "2"} and int(rows[-1]["steps"]) >= 20
    with (tmp_path / "scores.csv").open(newline="") as file:
        scores = list(csv.DictReader(file))
    assert [score["agent"] for score in scores] == ["ppo", "ppo", "random", "greedy"]
    assert {score["episodes"] for score in scores} == {"4"}
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


def test_ppo_learns_what_pays(ppo: ModuleType) -> None:
    torch.manual_seed(0)
    config, policy = ppo.Config(learning_rate=3e-3), ppo.Policy("probe", 4)
    optimizer = torch.optim.Adam(policy.parameters(), lr=config.learning_rate)
    kept, goals = torch.rand(256, policy.eyes.features), torch.randint(0, 5, (256, 5))
    for _ in range(60):
        with torch.no_grad():
            actions, values = policy(kept, goals)
            action = actions.sample()
        reward = (action == goals[:, 0] % 4).float()  # the goal says which action pays
        batch = {"kept": kept, "goal": goals, "action": action, "logp": actions.log_prob(action)}
        ppo.update(config, policy, optimizer, {**batch, "advantage": reward - values, "return": reward})
    with torch.no_grad():
        likeliest = policy(kept, goals)[0].logits.argmax(dim=1)
    assert (likeliest == goals[:, 0] % 4).float().mean() > 0.9
