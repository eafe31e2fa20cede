"""The RL libraries that people use take our envs; each test is skipped, and listed, without its library."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from pixels import shot
from toy_task import Count

from longlive_env import World
from longlive_env.envs import goals
from longlive_env.envs.prompt_env import PromptEnv
from longlive_env.envs.tasks import GoalTask
from longlive_env.envs.vector_env import PromptVectorEnv
from longlive_env.envs.wrappers import (
    ChannelFirst,
    DiscretePrompts,
    EmbeddingPrompts,
    FramesOnChannels,
    GoalInObservation,
    HindsightGoals,
    LastFrame,
    ResizeFrames,
    SlotPrompts,
    vector,
)
from longlive_env.errors import ConfigError
from longlive_env.tiny.scene import Scene

Env = gym.Env[Any, Any]
ADAPTED: dict[str, Callable[[Env], Env]] = {
    "discrete": lambda env: DiscretePrompts(ResizeFrames(LastFrame(env), 48, 48)),
    "slots": lambda env: SlotPrompts(ResizeFrames(FramesOnChannels(env, 4), 48, 48)),
    "box": lambda env: EmbeddingPrompts(ChannelFirst(ResizeFrames(LastFrame(env), 48, 48)), count=4),
    "goal": lambda env: DiscretePrompts(GoalInObservation(ResizeFrames(LastFrame(env), 48, 48))),
    "hindsight": lambda env: DiscretePrompts(HindsightGoals(ResizeFrames(LastFrame(env), 48, 48))),
}


def goal_env(world: World) -> Env:
    return gym.wrappers.TimeLimit(PromptEnv(world, task=GoalTask()), 4)


@pytest.mark.parametrize("name", ADAPTED)
def test_stable_baselines_checks_our_envs(small_world: World, name: str) -> None:
    pytest.importorskip("stable_baselines3", reason="needs stable-baselines3")
    from stable_baselines3.common.env_checker import check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(ADAPTED[name](goal_env(small_world)))


def test_stable_baselines_learns_and_loads(small_world: World, tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3", reason="needs stable-baselines3")
    from stable_baselines3 import PPO
    from stable_baselines3.common.monitor import Monitor

    env = Monitor(ADAPTED["goal"](goal_env(small_world)), info_keywords=("success",))
    model = PPO("MultiInputPolicy", env, n_steps=8, batch_size=8, n_epochs=1, seed=1, device="cpu")
    before = [parameter.detach().clone() for parameter in model.policy.parameters()]
    model.learn(16)
    assert any(not torch.equal(old, new) for old, new in zip(before, model.policy.parameters(), strict=True))
    assert len(model.ep_info_buffer) == 4 and all(episode["l"] == 4 for episode in model.ep_info_buffer)
    model.save(tmp_path / "policy")
    again = PPO.load(tmp_path / "policy", device="cpu")
    observation, _ = env.reset(seed=3)
    actions = [one.predict(observation, deterministic=True)[0] for one in (model, again)]
    assert np.array_equal(*actions) and env.action_space.contains(int(actions[0]))


def adapted_batch(folder: Path, **kwargs: Any) -> Any:
    envs = gym.make_vec("LongLive/TinyGoal-v0", num_envs=2, world=str(folder), max_episode_steps=2, **kwargs)
    return vector.GoalInObservation(
        vector.DiscretePrompts(vector.ResizeFrames(vector.LastFrame(envs), 36, 36))
    )


def test_stable_baselines_takes_batches(small_world_folder: Path) -> None:
    pytest.importorskip("stable_baselines3", reason="needs stable-baselines3")
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecMonitor

    from longlive_env.envs.wrappers.sb3 import SB3VecEnv

    with pytest.raises(
        ConfigError, match=r"needs gym\.make_vec\(\.\.\., autoreset_mode=AutoresetMode\.SAME_STEP"
    ):
        SB3VecEnv(adapted_batch(small_world_folder))
    envs = SB3VecEnv(adapted_batch(small_world_folder, autoreset_mode=AutoresetMode.SAME_STEP))
    envs.seed(5)
    first = envs.reset()
    prompts = [info["prompt"] for info in envs.reset_infos]
    expected = adapted_batch(small_world_folder).reset(seed=5)
    assert np.array_equal(first["frames"], expected[0]["frames"]) and prompts == list(expected[1]["prompt"])
    for ends in (False, True):
        observations, rewards, done, infos = envs.step(np.array([0, 3]))
        assert done.tolist() == [ends, ends] and rewards.dtype == np.float32
        assert [info["TimeLimit.truncated"] for info in infos] == [ends, ends]
        assert [info["is_success"] for info in infos] == [info["success"] for info in infos]
    assert [info["block"] for info in infos] == [2, 2] and infos[0]["prompt"] == prompts[0]
    begun = envs.envs.unwrapped.episodes  # type: ignore[attr-defined]
    assert [info["goal"] for info in envs.reset_infos] == [begun.info(world)["goal"] for world in range(2)]
    assert not any("episode" in info for info in envs.reset_infos)
    assert envs.get_attr("world") == [begun.rules.world] * 2 and envs.render() is None
    for world, info in enumerate(infos):
        assert np.array_equal(info["terminal_observation"]["goal"], first["goal"][world])
        assert not np.array_equal(info["terminal_observation"]["frames"], observations["frames"][world])
    model = PPO("MultiInputPolicy", VecMonitor(envs), n_steps=4, batch_size=8, n_epochs=1, device="cpu")
    model.learn(8)
    assert len(model.ep_info_buffer) == 4 and all(episode["l"] == 2 for episode in model.ep_info_buffer)
    with pytest.raises(ConfigError, match="one world of a batch"):
        envs.env_method("fork")
    asked = ["a red cat in the city", "a blue car in the forest"]
    envs.set_options([{"prompt": prompt} for prompt in asked])
    envs.reset()
    assert [info["prompt"] for info in envs.reset_infos] == asked
    envs.set_options([{"goal": goal} for goal in ("a red cat", "a car")])
    envs.reset()
    assert [info["goal"] for info in envs.reset_infos] == ["a red cat", "a car"]
    pictures = [shot(Scene("robot", "red", place, "night", "still"))[3] for place in ("city", "moon")]
    envs.set_options([{"goal_image": one} for one in pictures])
    envs.reset()
    assert [goals.parse(info["goal"])["setting"] for info in envs.reset_infos] == ["city", "moon"]
    route = ["city", "moon"]
    for routes in ((route, ["moon"]), (route, None)):
        envs.set_options([{"route": one} for one in routes])
        with pytest.raises(ConfigError, match=r"'route' differs .* only prompt, .* goal"):
            envs.reset()
    envs.set_options([{"route": one} for one in (route, list(route))])
    with pytest.raises(ConfigError, match="no option 'route'"):  # one for all, of which this task knows none
        envs.reset()


def test_stable_baselines_counts_an_end_at_the_limit_as_an_end(small_world: World) -> None:
    pytest.importorskip("stable_baselines3", reason="needs stable-baselines3")
    from longlive_env.envs.wrappers.sb3 import SB3VecEnv

    settings = {"task": Count(length=1), "max_episode_steps": 1, "autoreset_mode": "SameStep"}
    envs = SB3VecEnv(vector.DiscretePrompts(PromptVectorEnv(1, small_world, **settings)))
    envs.reset()
    _, _, done, infos = envs.step(np.array([0]))
    assert done.all() and infos[0]["TimeLimit.truncated"] is False


def test_videos_of_stable_baselines_play_at_the_pace_of_steps(small_world_folder: Path) -> None:
    """`VecVideoRecorder` keeps a frame a step, and takes the rate from the metadata of the innermost env."""
    pytest.importorskip("stable_baselines3", reason="needs stable-baselines3")
    from stable_baselines3.common.vec_env import VecMonitor

    from longlive_env.envs.wrappers.sb3 import SB3VecEnv

    batch = adapted_batch(small_world_folder, autoreset_mode=AutoresetMode.SAME_STEP, render_mode="rgb_array")
    envs = SB3VecEnv(batch)
    assert VecMonitor(envs).venv is envs and envs.render_mode == "rgb_array"
    rate, config = envs.metadata["render_fps"], batch.unwrapped.world.config
    assert isinstance(rate, int)
    step_s = config.block_pixel_frames / config.fps
    assert abs(rate * step_s - 1) == min(abs(whole * step_s - 1) for whole in range(1, 31))
    assert envs.metadata["render_modes"] == ["human", "rgb_array"]


def test_rllib_checks_our_envs_and_learns(small_world_folder: Path) -> None:
    ray = pytest.importorskip("ray", reason="needs ray and what its rllib needs")
    from gymnasium.wrappers import DtypeObservation, FlattenObservation
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.env.multi_agent_env import make_multi_agent
    from ray.rllib.utils.pre_checks.env import check_multiagent_environments
    from ray.tune.registry import register_env

    def make(config: Any) -> Env:
        env = gym.make("LongLive/TinyGoal-v0", world=str(small_world_folder), max_episode_steps=4)
        env = FlattenObservation(GoalInObservation(ResizeFrames(LastFrame(env), 8, 12)))
        return DiscretePrompts(DtypeObservation(env, np.float32))

    check_multiagent_environments(make_multi_agent(make)({"num_agents": 2}))  # it has none for single agents
    register_env("tiny-goal", make)
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        config = PPOConfig().environment("tiny-goal").env_runners(num_env_runners=0)
        algorithm = config.training(
            train_batch_size_per_learner=16, minibatch_size=8, num_epochs=1
        ).build_algo()
        result = algorithm.train()
        algorithm.stop()
    finally:
        ray.shutdown()
    assert result["env_runners"]["num_env_steps_sampled"] == 16
    assert np.isfinite(result["learners"]["default_policy"]["total_loss"])


def test_gymnasium_turns_arrays_into_tensors(small_world: World) -> None:
    pytest.importorskip("array_api_compat", reason="needs array-api-compat")
    from gymnasium.wrappers import NumpyToTorch

    env = NumpyToTorch(ADAPTED["box"](goal_env(small_world)))
    observation, _ = env.reset(seed=1)
    assert isinstance(observation, torch.Tensor) and observation.dtype == torch.uint8
    assert env.step(torch.zeros(env.action_space.shape))[0].shape == observation.shape


@pytest.mark.parametrize("name", ["discrete", "slots", "goal"])
def test_torchrl_checks_our_envs(small_world: World, name: str) -> None:
    pytest.importorskip("torchrl", reason="needs torchrl")
    from torchrl.envs import GymWrapper
    from torchrl.envs.utils import check_env_specs

    env = GymWrapper(ADAPTED[name](goal_env(small_world)))
    check_env_specs(env)
    rollout = env.rollout(3)
    assert rollout.batch_size == torch.Size([3]) and rollout["next", "reward"].shape == (3, 1)


def test_torchrl_makes_them_by_their_id(small_world_folder: Path) -> None:
    pytest.importorskip("torchrl", reason="needs torchrl")
    from torchrl.envs import GymEnv
    from torchrl.envs.utils import check_env_specs

    env = GymEnv("LongLive/TinyGoal-v0", world=str(small_world_folder))
    check_env_specs(env)
    assert env.rollout(2)["observation"].shape == (2, 12, 32, 48, 3)


def test_torchrl_takes_batches(small_world_folder: Path) -> None:
    pytest.importorskip("torchrl", reason="needs torchrl")
    from torchrl.envs import GymWrapper
    from torchrl.envs.utils import check_env_specs

    envs = gym.make_vec(
        "LongLive/TinyGoal-v0",
        num_envs=2,
        world=str(small_world_folder),
        autoreset_mode=AutoresetMode.DISABLED,
        max_episode_steps=2,
    )
    env = GymWrapper(vector.DiscretePrompts(vector.LastFrame(envs)))
    check_env_specs(env)
    done = env.rollout(4, break_when_any_done=False)["next", "done"].squeeze(-1)
    assert done.tolist() == [[False, True, False, True]] * 2
