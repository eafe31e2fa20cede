"""Policies of Stable-Baselines3: as it plays them itself, and nothing unpickled."""

import base64
import io
import json
import os
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from longlive_env.agents import SB3Agent, play_episode
from longlive_env.engine.world import World
from longlive_env.envs.prompt_env import PromptEnv
from longlive_env.envs.wrappers import (
    DiscretePrompts,
    GoalInObservation,
    HindsightGoals,
    LastFrame,
    ProbeFeatures,
    ResizeFrames,
)
from longlive_env.envs.wrappers.menus import PromptTable
from longlive_env.envs.wrappers.views import Last, Read, Resized
from longlive_env.errors import AgentError, MissingExtraError

sb3 = pytest.importorskip("stable_baselines3", reason="needs the extra rl")

PROMPTS = (
    "a red cat jumps in the city",
    "a blue car moves left on the beach",
    "a white ghost waits on the moon",
)
VIEWS = (Last(), Resized(36, 36))


def adapted(world: World, task: str | None = None) -> gym.Env[Any, Any]:
    env = DiscretePrompts(ResizeFrames(LastFrame(PromptEnv(world, task=task)), 36, 36), PROMPTS)
    return GoalInObservation(env) if task else env


def follows(agent: SB3Agent, model: Any, env: gym.Env[Any, Any]) -> list[str]:
    """Plays both side by side; returns the prompts, which are the same."""
    inner, chosen = env.unwrapped, list[str]()
    assert isinstance(inner, PromptEnv)
    observation, info = env.reset(seed=4, options={"prompt": PROMPTS[0]})
    agent.reset(env, info)
    for _ in range(3):
        prompt = agent.act(inner.episodes.observations[0], info)
        action, _ = model.predict(observation, deterministic=True)
        assert prompt == ("", *PROMPTS)[int(action)]
        chosen.append(prompt)
        observation, _, _, _, info = env.step(action)
    return chosen


@pytest.mark.parametrize("algorithm", ["PPO", "DQN"])
@pytest.mark.parametrize("task", [None, "goal"])
def test_it_plays_as_the_library_does(
    small_world: World, tmp_path: Path, algorithm: str, task: str | None
) -> None:
    env = adapted(small_world, task)
    make: Callable[..., Any] = getattr(sb3, algorithm)
    settings: dict[str, Any] = {"n_steps": 8, "batch_size": 8} if algorithm == "PPO" else {"buffer_size": 8}
    kind = "MultiInputPolicy" if task else "CnnPolicy"
    model = make(kind, env, policy_kwargs={"net_arch": [16]}, seed=0, **settings)
    model.save(tmp_path / "model.zip")
    agent = SB3Agent(tmp_path / "model.zip", menu=PromptTable(PROMPTS), views=VIEWS)
    follows(agent, model, env)


def saved(world: World, path: Path, **settings: Any) -> Path:
    env = adapted(world)
    sb3.PPO("CnnPolicy", env, n_steps=8, batch_size=8, seed=0, **settings).save(path)
    return path


def test_what_does_not_fit(small_world: World, tmp_path: Path) -> None:
    path = saved(small_world, tmp_path / "model.zip")
    env = PromptEnv(small_world)
    _, info = env.reset(seed=1)
    misfit = r"does not fit; give the menu.* with\. It sees Box.* here: size mismatch for action_net.weight"
    with pytest.raises(AgentError, match=misfit) as caught:
        SB3Agent(path, views=VIEWS).reset(env, info)
    assert "action_net.bias" not in str(caught.value)
    activation = saved(small_world, tmp_path / "own.zip", policy_kwargs={"activation_fn": torch.nn.ReLU})
    with pytest.raises(
        AgentError, match="was trained with activation_fn of its own, which is code; give them"
    ):
        SB3Agent(activation)
    kwargs = {"activation_fn": torch.nn.ReLU}
    SB3Agent(activation, menu=PromptTable(PROMPTS), views=VIEWS, policy_kwargs=kwargs).reset(env, info)


@pytest.mark.parametrize("task", [None, "goal"])
@pytest.mark.parametrize(
    ("views", "message"),
    [
        ((Last(),), "36x36, here they are 48x32; give the views that it was trained with"),
        ((Last(), Resized(72, 72)), "36x36, here they are 72x72; try --codec light"),
        ((Last(), Resized(18, 18)), "36x36, here they are 18x18; leave --codec light out"),
    ],
)
def test_pictures_of_another_size(
    small_world: World, tmp_path: Path, task: str | None, views: tuple[Any, ...], message: str
) -> None:
    env = adapted(small_world, task)
    kind = "MultiInputPolicy" if task else "CnnPolicy"
    sb3.PPO(kind, env, n_steps=8, batch_size=8).save(tmp_path / "model")
    _, info = env.reset(seed=1)
    with pytest.raises(AgentError, match=f"was trained on pictures of {message}"):
        SB3Agent(tmp_path / "model", menu=PromptTable(PROMPTS), views=views).reset(env, info)


class Harm:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_nothing_is_unpickled(small_world: World, tmp_path: Path) -> None:
    good, bad, mark = saved(small_world, tmp_path / "good.zip"), tmp_path / "bad.zip", tmp_path / "harmed"
    with zipfile.ZipFile(good) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    data = json.loads(parts["data"])
    evil = pickle.dumps(Harm(mark))
    data["policy_class"] = {":type:": "x", ":serialized:": base64.b64encode(evil).decode()}

    def write(**changed: bytes) -> None:
        with zipfile.ZipFile(bad, "w") as file:
            for name, part in {**parts, **changed}.items():
                file.writestr(name, part)

    write(data=json.dumps(data).encode())
    env = adapted(small_world)
    _, info = env.reset(seed=1)
    SB3Agent(bad, menu=PromptTable(PROMPTS), views=VIEWS).reset(env, info)
    buffer = io.BytesIO()
    torch.save({"x": Harm(mark)}, buffer)
    for policy in (evil, buffer.getvalue()):
        write(**{"policy.pth": policy})
        with pytest.raises(AgentError, match=r"bad.zip is damaged or no model of Stable-Baselines3"):
            SB3Agent(bad)
    assert not mark.exists()
    pickle.loads(evil)
    assert mark.exists()  # it would have


def test_what_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    path.write_bytes(b"x")
    with pytest.raises(AgentError, match="is damaged or no model"):
        SB3Agent(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme", "x")
    with pytest.raises(AgentError, match=r"was not saved by Stable-Baselines3: .*policy.pth"):
        SB3Agent(path)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(MissingExtraError, match=r'pip install -e "\.\[rl\]"'):
        SB3Agent("model.zip")


def test_a_goal_is_needed_where_one_was_trained_with(small_world: World, tmp_path: Path) -> None:
    env = adapted(small_world, "goal")
    sb3.PPO("MultiInputPolicy", env, n_steps=8, batch_size=8).save(tmp_path / "model.zip")
    agent = SB3Agent(tmp_path / "model.zip", menu=PromptTable(PROMPTS), views=VIEWS)
    plain = adapted(small_world)
    _, info = plain.reset(seed=1)
    with pytest.raises(AgentError, match="was trained with a goal, and this env tells none"):
        agent.reset(plain, info)
    assert np.asarray(info["block"]) == 0


@pytest.mark.parametrize("prompt", [False, True])
def test_goals_beside_features_are_seen_too(tmp_path: Path, prompt: bool) -> None:
    world = World.load("tiny", codec="light")
    env = GoalInObservation(ProbeFeatures(PromptEnv(world, task="goal")), prompt=prompt)
    adapted = DiscretePrompts(env, PROMPTS)
    model = sb3.PPO("MultiInputPolicy", adapted, n_steps=8, batch_size=8, seed=0)
    model.save(tmp_path / "model.zip")
    follows(SB3Agent(tmp_path / "model.zip", menu=PromptTable(PROMPTS), views=[Read("tiny")]), model, adapted)


def test_a_policy_of_hindsight_sees_what_is_achieved(tmp_path: Path) -> None:
    world = World.load("tiny", codec="light")
    env = DiscretePrompts(
        HindsightGoals(ResizeFrames(LastFrame(PromptEnv(world, task="goal")), 36, 36)), PROMPTS
    )
    settings = {"replay_buffer_class": sb3.HerReplayBuffer, "buffer_size": 32}
    model = sb3.DQN("MultiInputPolicy", env, seed=0, **settings)
    model.save(tmp_path / "model.zip")
    agent = SB3Agent(tmp_path / "model.zip", menu=PromptTable(PROMPTS), views=VIEWS)
    follows(agent, model, env)
    observation, info = env.unwrapped.reset(seed=4, options={"goal": "a red cat dances"})
    with pytest.raises(AgentError, match=r"was not trained for this goal: .* names action"):
        agent.act(observation, info)


def test_draws_follow_the_seed_of_the_env(small_world: World, tmp_path: Path) -> None:
    path = saved(small_world, tmp_path / "model.zip")
    agent = SB3Agent(path, menu=PromptTable(PROMPTS), views=VIEWS, deterministic=False)
    env, before = PromptEnv(small_world), torch.get_rng_state()
    options = {"prompt": PROMPTS[0]}  # so that nothing but the agent's draws can differ
    runs = [play_episode(env, agent, seed=seed, options=options, steps=8).prompts for seed in (1, 1, 2, 3)]
    assert runs[0] == runs[1] and len(set(runs)) > 1
    assert torch.equal(torch.get_rng_state(), before)
