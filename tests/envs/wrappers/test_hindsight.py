"""Goal envs for hindsight replay: rewards follow from what was achieved and desired, and nothing else."""

from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from pixels import brightness

from longlive_env import World
from longlive_env.envs import goals
from longlive_env.envs.prompt_env import PromptEnv
from longlive_env.envs.tasks import GoalTask
from longlive_env.envs.vector_env import PromptVectorEnv
from longlive_env.envs.wrappers import HindsightGoals, LastFrame, vector
from longlive_env.envs.wrappers.goal_values import values_in
from longlive_env.errors import ConfigError
from longlive_env.tiny.scene import ATTRIBUTES


@pytest.fixture(scope="module")
def tiny() -> World:
    return World.load("tiny", codec="light")


def ended_in_time(world: World, mode: AutoresetMode, limit: int = 2) -> Any:
    return vector.HindsightGoals(
        vector.LastFrame(PromptVectorEnv(2, world, task="goal", max_episode_steps=limit, autoreset_mode=mode))
    )


def test_what_is_seen_is_what_is_achieved(tiny: World) -> None:
    env = HindsightGoals(LastFrame(PromptEnv(tiny, task="goal")))
    observation, info = env.reset(seed=3)
    assert observation in env.observation_space and observation["observation"].shape == (96, 160, 3)
    for name, told in (("achieved_goal", "seen"), ("desired_goal", "goal")):
        assert observation[name].tolist() == values_in(info[told], goals.LOOKS).tolist()
    assert goals.parse(info["seen"])["setting"] == goals.parse_leniently(info["prompt"])["setting"]
    assert (observation["achieved_goal"] != observation["desired_goal"]).sum() == 2


def test_a_goal_that_is_shown_earns_nothing_and_all_else_costs_one(tiny: World) -> None:
    env = HindsightGoals(PromptEnv(tiny, task=GoalTask(prompt_cost=0.5, block_cost=0.5, threshold=0.8)))
    env.reset(seed=3, options={"prompt": "a red robot in the city", "goal": "a red robot in the forest"})
    assert env.step("")[1] == -1.0
    terminated, steps = False, 0
    while not terminated:
        observation, reward, terminated, truncated, info = env.step("a red robot in the forest")
        assert reward == (0.0 if terminated else -1.0) and not truncated
        told = (observation["achieved_goal"], observation["desired_goal"], info)
        assert env.compute_reward(*told) == reward
        steps += 1
        assert steps < 5


def test_what_a_goal_leaves_open_may_be_anything() -> None:
    achieved = np.array([[2, 1, 3, 4], [2, 1, 3, 4], [2, 1, 3, 4], [1, 1, 3, 4]])
    desired = np.array([[2, 1, 3, 4], [0, 0, 3, 0], [2, 1, 3, 5], [2, 0, 0, 0]])
    rewards = HindsightGoals.compute_reward(None, achieved, desired, [{}] * 4)  # type: ignore[arg-type]
    assert rewards.tolist() == [0, 0, -1, -1] and rewards.dtype == np.float32
    one = vector.HindsightGoals.compute_reward(None, achieved[0], desired[0], {})  # type: ignore[arg-type]
    assert one == 0 and one.shape == ()


def test_goals_have_the_attributes_that_are_asked_for(tiny: World) -> None:
    told = r"the task's goals name colour, setting, weather, which .* subject, action, leave out; give more"
    with pytest.raises(ConfigError, match=told):
        HindsightGoals(PromptEnv(tiny, task="goal"), ["action", "subject"])
    env = HindsightGoals(PromptEnv(tiny, task=GoalTask(goals=("a cat dances", "a robot"))))
    sizes = [len(ATTRIBUTES[name]) + 1 for name in ("subject", "action")]
    assert env.observation_space["desired_goal"].nvec.tolist() == sizes
    observation, _ = env.reset(seed=1, options={"goal": "a cat"})
    assert observation["desired_goal"].tolist() == [2, 0]
    with pytest.raises(ConfigError, match=r"the goal 'a cat on the moon' names setting, which .* leave out"):
        env.reset(seed=1, options={"goal": "a cat on the moon"})
    small = HindsightGoals(
        PromptEnv(tiny, task=GoalTask(attributes=("setting",), varied=("setting",), changes=1))
    )
    assert small.observation_space["achieved_goal"].nvec.tolist() == [len(ATTRIBUTES["setting"]) + 1]
    with pytest.raises(ConfigError, match=r"attributes is .*'mood'"):
        HindsightGoals(PromptEnv(tiny, task="goal"), ["mood"])


@pytest.mark.parametrize("task", [None, "tour", "hold", GoalTask(reward_fn=brightness)])
def test_other_tasks_have_no_hindsight(small_world: World, task: Any) -> None:
    with pytest.raises(ConfigError, match=r"task is .*; HindsightGoals needs the goal task"):
        HindsightGoals(PromptEnv(small_world, task=task))
    with pytest.raises(ConfigError, match=r"task is .*; HindsightGoals needs the goal task"):
        vector.HindsightGoals(PromptVectorEnv(2, small_world, task=task))


def test_the_end_of_an_episode_has_its_own_goal(small_world: World) -> None:
    envs = ended_in_time(small_world, AutoresetMode.SAME_STEP)
    first, _ = envs.reset(seed=1)
    envs.step(("", ""))
    last, rewards, _, truncated, infos = envs.step(("", ""))
    assert truncated.all() and last in envs.observation_space
    for world, final in enumerate(infos["final_obs"]):
        assert np.array_equal(final["desired_goal"], first["desired_goal"][world])
        assert not np.array_equal(final["desired_goal"], last["desired_goal"][world])
        assert rewards[world] == envs.compute_reward(final["achieved_goal"], final["desired_goal"], {})


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_the_block_that_shows_the_goal_earns_its_reward(tiny: World, mode: AutoresetMode) -> None:
    envs = vector.HindsightGoals(PromptVectorEnv(2, tiny, task="goal", autoreset_mode=mode))
    prompts = [f"a red robot stands still in the {place}" for place in ("city", "forest")]
    envs.reset(seed=1, options={"prompt": prompts, "goal": "a red robot in the forest"})
    last, rewards, ended, _, infos = envs.step(("", ""))
    assert rewards.tolist() == [-1, 0] and ended.tolist() == [False, True]
    begun = envs.compute_reward(last["achieved_goal"], last["desired_goal"], infos)
    assert begun.tolist() == [-1, -1 if mode is AutoresetMode.SAME_STEP else 0]


def test_what_nobody_saw_is_named(tiny: World) -> None:
    blind = PromptEnv(tiny, task=GoalTask(reward_fn=brightness))
    blind.reset(seed=1)
    env = HindsightGoals(PromptEnv(tiny, task="goal"))
    with pytest.raises(ConfigError, match="nobody says what was seen in the newest block"):
        env.reset(options={"state": blind.clone_state()})


def test_a_reset_that_takes_a_step_earns_nothing(small_world: World) -> None:
    envs = ended_in_time(small_world, AutoresetMode.NEXT_STEP)
    envs.reset(seed=1)
    earned = np.array([envs.step(("", ""))[1] for _ in range(4)])
    assert earned.dtype == np.float64 and (earned[[0, 1, 3]] == -1).all() and (earned[2] == 0).all()


def test_stable_baselines_learns_in_hindsight(small_world: World) -> None:
    sb3 = pytest.importorskip("stable_baselines3", reason="needs stable-baselines3")
    from longlive_env.envs.wrappers.sb3 import SB3VecEnv

    envs = PromptVectorEnv(
        2, small_world, task="goal", max_episode_steps=3, autoreset_mode=AutoresetMode.SAME_STEP
    )
    batch = SB3VecEnv(vector.DiscretePrompts(vector.HindsightGoals(vector.ProbeFeatures(envs))))
    model = sb3.DQN(
        "MultiInputPolicy",
        batch,
        replay_buffer_class=sb3.HerReplayBuffer,
        learning_starts=12,
        train_freq=4,
        batch_size=64,
        seed=0,
    )
    model.learn(24)
    np.random.seed(0)
    sample = model.replay_buffer.sample(256)
    achieved = sample.next_observations["achieved_goal"].numpy()
    desired = sample.next_observations["desired_goal"].numpy()
    shown = ((desired == 0) | (achieved == desired)).all(axis=1)
    assert np.array_equal(sample.rewards.numpy()[:, 0], shown - 1.0)
    assert 0.2 < shown.mean() < 1  # goals of hindsight are reached, those of the task are not
    with pytest.raises(ConfigError, match="'fork' cannot be called on one world"):
        batch.env_method("fork")
    bare = SB3VecEnv(vector.DiscretePrompts(envs))
    with pytest.raises(ConfigError, match="'compute_reward' cannot be called on one world"):
        bare.env_method("compute_reward", achieved, desired, [])
