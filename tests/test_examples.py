"""The examples run."""

import csv
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from longlive_env.envs.stateful import clone_state
from longlive_env.envs.wrappers import SlotPrompts
from longlive_env.errors import ConfigError, MissingExtraError
from longlive_env.tiny.render import render_take
from longlive_env.tiny.scene import BLOCK_FRAMES, Scene, Take

EXAMPLES = Path(__file__).parents[1] / "examples"
LEARNERS = ("untrained", "PPO", "PPO's likeliest")


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_the_notebook_runs(capsys: pytest.CaptureFixture[str]) -> None:
    notebook = json.loads((EXAMPLES / "quickstart.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    names: dict[str, Any] = {}
    for number, cell in enumerate(cells):
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    printed = capsys.readouterr().out
    assert "success: True" in printed and "success: False" in printed
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == {"stream", "execute_result"}
    pictures = [output["data"].keys() for output in outputs if "data" in output]
    assert len(pictures) == 8 and all("image/jpeg" in kinds and len(kinds) == 2 for kinds in pictures)


@pytest.fixture(scope="module")
def ppo() -> ModuleType:
    return example("ppo")


@pytest.fixture(scope="module")
def her() -> ModuleType:
    return example("her")


@pytest.fixture(scope="module")
def plan() -> ModuleType:
    return example("plan")


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
    places = ["--world", str(small_world_folder), "--codec", "full", "--out", str(tmp_path)]
    options = [*sizes.split(" "), *places, "--eyes", eyes]
    if eyes == "probe":  # a seed is trained by itself, by the file as a program, and then not again
        program = [sys.executable, EXAMPLES / "ppo.py", *options, "--seeds", "1", "--evaluate", "0"]
        done = subprocess.run(program, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert "seed 1" in done.stdout and not (tmp_path / "scores.csv").exists()
    monkeypatch.setattr(sys, "argv", ["ppo.py", *options, "--seeds", "1", "2"])
    ppo.main()
    training, results = capsys.readouterr().out.split("| agent |")
    assert "\n| untrained, seed 2 | " in results and "\n| at once | " in results
    assert ("seed 1" in training) == (eyes == "conv") and "seed 2" in training
    for seed in (1, 2):
        with (tmp_path / f"learning-{seed}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert {row["seed"] for row in rows} == {str(seed)} and int(rows[-1]["steps"]) >= 20
    with (tmp_path / "scores.csv").open(newline="") as file:
        scores = list(csv.DictReader(file))
    agents = [(score["agent"], score["seed"]) for score in scores]
    assert agents[:6] == [(agent, seed) for agent in LEARNERS for seed in ("1", "2")]
    assert agents[6:] == [("silent", ""), ("random", ""), ("greedy", ""), ("at once", "")]
    assert {score["episodes"] for score in scores} == {"4"} and float(scores[8]["above_greedy"]) == 0
    with (tmp_path / "episodes.csv").open(newline="") as file:
        episodes = list(csv.DictReader(file))
    assert len(episodes) == 40 and all(1 <= int(episode["steps"]) <= 3 for episode in episodes)
    with Image.open(tmp_path / "learning.png") as picture:
        assert picture.size == (960, 540) and len(set(picture.convert("L").tobytes())) > 10
    assert (tmp_path / "policy-2.safetensors").stat().st_size > 1000


def test_what_is_held_is_seen_and_not_told(ppo: ModuleType, small_world_folder: Path) -> None:
    own = {"world": str(small_world_folder), "codec": "full"}
    config = ppo.Config(task="hold", eyes="none", worlds=2, blocks=8, evaluate=2, **own)
    envs = ppo.make_envs(config)
    observation, _ = envs.reset(seed=0)
    assert set(observation) == {"frames", "goal"}
    _, rewards, *_, infos = envs.step(ppo.at_once_player()(observation))
    assert rewards.tolist() == pytest.approx([shown - 0.5 for shown in infos["success"]])
    assert [ppo.success(infos, world) for world in range(2)] == infos["held"].tolist()
    envs.close()
    blind = ppo.untrained(config, seed=1)
    other = {**observation, "frames": 255 - observation["frames"]}
    assert torch.equal(blind(*blind.read(observation))[1], blind(*blind.read(other))[1])
    rows = ppo.evaluate(config, ppo.silent_player(), seed=3)
    assert [row["steps"] for row in rows] == [8, 8]
    assert all(row["return"] == pytest.approx(8 * row["success"]) for row in rows)  # silence costs nothing
    assert all(row["success"] < 1 for row in ppo.evaluate(config, ppo.random_player(0), seed=3))


@pytest.mark.parametrize("eyes", ["probe", "conv"])
def test_before_training_every_action_is_as_likely_as_any(ppo: ModuleType, eyes: str) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (8, BLOCK_FRAMES, 96, 160, 3), np.uint8)
    goals, prompts = (np.random.default_rng(seed).integers(0, 6, (8, 5)) for seed in (1, 2))
    observation = {"frames": frames, "goal": goals, "prompt": prompts}
    for seed in range(3):
        chances = ppo.untrained(ppo.Config(eyes=eyes), seed).judge(observation)
        for slot, place in zip(chances.slots, ppo.PLACES, strict=True):
            assert (slot.probs - 1 / (ppo.SIZES[place] + 1)).abs().max() < 1e-6
        assert not chances.likeliest().any()  # a tie is no knowledge of the goal: nothing is asked for


def test_worlds_without_detail_are_played_as_they_are(ppo: ModuleType, small_world_folder: Path) -> None:
    own = str(small_world_folder)
    asked = [("tiny", "light"), ("tiny", "full"), (own, "light"), (own, "full")]
    found = [ppo.codec_of(ppo.Config(world=world, codec=codec)) for world, codec in asked]
    assert found == ["light", None, None, None]
    envs = ppo.make_envs(ppo.Config(world=own, worlds=1))
    assert envs.single_observation_space["frames"].shape == (12, 32, 48, 3)
    envs.close()


def test_training_begins_with_the_policy_called_untrained(
    ppo: ModuleType, small_world_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ppo, "update", lambda *of: None)
    config = ppo.Config(steps=4, worlds=2, rollout=4, blocks=3, world=str(small_world_folder), codec="full")
    policy, _ = ppo.train(config, seed=5)
    own, other = (ppo.untrained(config, seed).state_dict() for seed in (5, 6))
    assert all(torch.equal(own[name], value) for name, value in policy.state_dict().items())
    assert any(not torch.equal(other[name], value) for name, value in own.items())


def test_a_player_draws_from_the_chances_of_its_policy(
    ppo: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = ppo.untrained(ppo.Config(), seed=1)
    torch.nn.init.constant_(policy.keep.bias, 2.0)  # leaving things as they are is e^2 times as likely
    frame = np.zeros((1, BLOCK_FRAMES, 96, 160, 3), np.uint8)
    read = policy.eyes.prepare(frame)  # once: every world shows the same
    monkeypatch.setattr(policy.eyes, "prepare", lambda frames: read.expand(len(frames), -1))
    frames = np.broadcast_to(frame, (500, *frame.shape[1:]))
    observation = {"frames": frames, "goal": np.ones((500, 5), int), "prompt": np.ones((500, 5), int)}
    first, again, other = (ppo.sampling_player(policy, seed)(observation) for seed in (7, 7, 8))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    for slot, place in enumerate(ppo.PLACES):
        kept = np.e**2 / (np.e**2 + ppo.SIZES[place])
        assert abs((first[:, slot] == 0).mean() - kept) < 0.1
        assert set(first[:, slot]) == set(range(ppo.SIZES[place] + 1))
    assert not ppo.likeliest_player(policy)(observation).any()


def test_a_policy_of_other_settings_is_refused(
    ppo: ModuleType, small_world_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ppo, "train", lambda config, seed: (ppo.untrained(config, seed), []))
    options = [
        "ppo.py",
        "--world",
        str(small_world_folder),
        "--out",
        str(tmp_path),
        "--evaluate",
        "0",
    ]

    def run(*more: str) -> None:
        monkeypatch.setattr(sys, "argv", [*options, *more])
        ppo.main()

    run("--seeds", "2", "--gamma", "0.9")
    run("--seeds", "2", "--gamma", "0.9")  # the same again is no other
    weights = tmp_path / "policy-2.safetensors"
    ppo.check_settings(ppo.Config(world=str(small_world_folder), gamma=0.9, evaluate=3), weights)
    told = "policy-2.safetensors was trained with steps 4000, gamma 0.9, but steps 5, gamma 0.95 is asked for"
    with pytest.raises(ConfigError, match=f"{told}; give another --out, or delete the file"):
        run("--seeds", "1", "2", "--steps", "5")
    assert not (tmp_path / "policy-1.safetensors").exists()  # it is told before anything is trained
    save_file(load_file(weights), weights)
    with pytest.raises(ConfigError, match="does not note the settings of its training"):
        run("--seeds", "2", "--gamma", "0.9")
    program = [sys.executable, EXAMPLES / "ppo.py", *options[1:], "--seeds", "2"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and done.stderr.startswith("ppo.py: ") and "Traceback" not in done.stderr


def test_what_a_picture_needs_is_checked_before_training(
    ppo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ppo, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["ppo.py", "--out", str(tmp_path / "new")])
    with pytest.raises(MissingExtraError, match=r"needs matplotlib, which is not installed.*\[rl\]"):
        ppo.main()
    assert not (tmp_path / "new").exists()


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
    ppo.train(
        ppo.Config(steps=24, worlds=2, rollout=4, blocks=3, world=str(small_world_folder), codec="full"),
        seed=1,
    )
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
        actions = policy(kept, goals, prompts)[0]
    for choice in (actions.sample(), actions.likeliest()):
        assert (choice == wanted).float().mean() > 0.9


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


def test_her_compares_networks(
    her: ModuleType,
    small_world_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for library in ("stable_baselines3", "matplotlib"):
        pytest.importorskip(library, reason=f"the example needs {library}")
    sizes = ["--steps", "60", "--worlds", "2", "--evaluate", "2"]
    arguments = ["her.py", *sizes, "--world", str(small_world_folder), "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    her.main()
    agents = ["hindsight", "plain", "random", "greedy"]
    printed = capsys.readouterr().out
    assert all(f"\n| {agent} | -12.00 ± 0.00 | 0 % | 12.0 |" in printed for agent in agents)
    with (tmp_path / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["agent"] for row in rows] == agents
    assert all(float(row["mean_return"]) == -12 and float(row["success"]) == 0 for row in rows)
    names = {"scores.csv", "learning.png"}
    names |= {f"{name}.{kind}" for name in agents[:2] for kind in ("zip", "monitor.csv")}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert Image.open(tmp_path / "learning.png").size == (960, 540)


def test_her_rules_act_by_what_is_seen(her: ModuleType) -> None:
    from longlive_env.envs.wrappers import attribute_prompts

    menu = ["", *attribute_prompts(*her.LOOKS)]
    desired = np.array([[1, 2, 3, 4], [1, 2, 3, 4], [0, 0, 3, 0], [1, 2, 3, 4]])
    achieved = np.array([[1, 2, 3, 4], [1, 1, 3, 4], [5, 5, 1, 5], [1, 2, 3, 1]])
    told = {"achieved_goal": achieved, "desired_goal": desired}
    actions, _ = her.Agent().predict(told)
    wanted = [("colour", 1), ("setting", 2), ("weather", 3)]
    assert [menu[action] for action in actions] == ["", *(attribute_prompts(name)[at] for name, at in wanted)]
    drawn, _ = her.Agent(np.random.default_rng(0)).predict(told)
    assert ((drawn >= 0) & (drawn < len(menu))).all()


def test_a_planner_is_compared_with_agents_that_do_not_plan(
    plan: ModuleType,
    small_world_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("matplotlib", reason="the picture needs matplotlib")
    sizes = "--episodes 2 --steps 2 --candidates 3 --elites 1 --rounds 2 --task hold"
    places = ["--world", str(small_world_folder), "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["plan.py", *sizes.split(" "), *places])
    plan.main()
    figures = json.loads((tmp_path / "report.json").read_text())
    assert [(row["seed"], row["steps"]) for row in figures["rows"]] == [(0, 2), (1, 2)]
    assert set(figures["baselines"]) == {"silent", "asks"} and figures["seconds_a_decision"] > 0
    assert figures["planner"]["candidates"] == 3 and figures["max_steps"] == 2
    assert "LongLive/TinyHold-v0, protocol 1, 2 episodes of at most 2 steps" in capsys.readouterr().out
    with Image.open(tmp_path / "imagined.png") as picture:
        assert picture.width == 1280 and len(set(picture.convert("L").tobytes())) > 10


def test_planning_leaves_the_world_alone_and_takes_the_best_it_tried(
    plan: ModuleType, small_world_folder: Path
) -> None:
    env = SlotPrompts(gym.make("LongLive/TinyGoal-v0", world=str(small_world_folder)), plan.LOOKS)
    observation, info = env.reset(seed=0)
    before = clone_state(env)
    planner = plan.Planner(candidates=4, elites=2, rounds=2, horizon=2, seed=0)
    planner.reset(env, info)
    action = planner.act(observation, info)
    assert clone_state(env) == before
    assert len(planner.futures) == 8 and any(not future.prompt for future in planner.futures)
    assert planner.futures[0].value == pytest.approx(max(future.value for future in planner.futures))
    assert planner.futures[0].prompt == env.action(action)
    again = plan.Planner(candidates=4, elites=2, rounds=2, horizon=2, seed=0)
    assert np.array_equal(again.plan(env), action)
    env.close()


def test_sequences_are_drawn_from_what_the_best_have_in_common(plan: ModuleType) -> None:
    elites = np.array([[[1, 0, 2, 0]], [[1, 3, 2, 0]]])  # two sequences of one step
    chances = plan.fitted(elites, rest=0.1)
    assert [rows.shape for rows in chances] == [(1, 1 + size) for size in plan.SIZES]
    assert all(rows.sum() == pytest.approx(1) and rows.min() > 0 for rows in chances)
    assert chances[0][0, 1] == pytest.approx(0.9 + 0.1 / len(chances[0][0]))
    assert chances[1][0, [0, 3]] == pytest.approx(0.45 + 0.1 / len(chances[1][0]))
