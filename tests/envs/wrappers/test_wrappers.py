"""Adapters around envs, on a very small world with random weights: single and vector envs agree."""

import json
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import DictInfoToList
from pixels import brightness
from toy_task import Count

from longlive_env import World
from longlive_env.envs import goals, wrappers
from longlive_env.envs.prompt_env import PromptEnv
from longlive_env.envs.tasks import GoalTask
from longlive_env.envs.vector_env import PromptVectorEnv
from longlive_env.envs.wrappers import vector
from longlive_env.errors import ConfigError, PromptError

CAT = "a red cat jumps in the city at night"
TABLE = ("a red cat", "a blue car on the beach")
ADAPTERS: dict[str, dict[str, Any]] = {
    "DiscretePrompts": {},
    "SlotPrompts": {"attributes": ["setting", "weather"]},
    "EmbeddingPrompts": {"prompts": TABLE, "components": 2},
    "LastFrame": {},
    "ProbeFeatures": {},
    "FramesOnChannels": {"frames": 4},
    "ChannelFirst": {},
    "ResizeFrames": {"height": 16, "width": 24},
    "GoalInObservation": {"form": "values", "prompt": True},
    "HindsightGoals": {},
}
RECORDERS: dict[str, Callable[..., Any]] = {
    "RecordFrames": lambda env, folder: wrappers.RecordFrames(env, folder),
    "CollectEpisodes": lambda env, folder: wrappers.CollectEpisodes(env),
}


@pytest.fixture
def make(small_world: World) -> Callable[..., PromptEnv]:
    return lambda **kwargs: PromptEnv(small_world, **{"task": "goal", **kwargs})


@pytest.fixture
def make_envs(small_world: World) -> Callable[..., PromptVectorEnv]:
    return lambda count=2, **kwargs: PromptVectorEnv(count, small_world, **{"task": "goal", **kwargs})


@pytest.mark.parametrize("name", ADAPTERS)
def test_check_env_finds_nothing(make: Callable[..., PromptEnv], name: str) -> None:
    env = getattr(wrappers, name)(make(), **ADAPTERS[name])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*different from the unwrapped version.*")
        check_env(env, skip_render_check=True)


def test_the_probe_reads_the_frames_of_the_world_itself(
    make: Callable[..., PromptEnv], make_envs: Callable[..., PromptVectorEnv]
) -> None:
    told = "got pictures of 24x24; the world's are 32x48; put ProbeFeatures directly around the env"
    with pytest.raises(ConfigError, match=told):
        wrappers.ProbeFeatures(wrappers.ResizeFrames(make(), 24, 24))
    with pytest.raises(ConfigError, match=told):
        vector.ProbeFeatures(vector.ResizeFrames(make_envs(), 24, 24))


@pytest.mark.parametrize("name", RECORDERS)
def test_check_env_finds_nothing_where_episodes_are_kept(
    make: Callable[..., PromptEnv], tmp_path: Path, name: str
) -> None:
    env = RECORDERS[name](make(), tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*different from the unwrapped version.*")
        check_env(env, skip_render_check=True)
    env.close()


class Untimed:
    """A clock by which frames follow one another at once."""

    def tick(self, fps: int) -> int:
        return 0


@pytest.mark.parametrize("mode", PromptEnv.metadata["render_modes"])
def test_wrappers_leave_the_picture_alone(
    make: Callable[..., PromptEnv], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    if mode == "human":
        monkeypatch.setattr("pygame.time.Clock", Untimed)
    adapters: list[Callable[[Any], Any]] = [
        *(partial(getattr(wrappers, name), **ADAPTERS[name]) for name in ADAPTERS),
        *(partial(recorder, folder=tmp_path / name) for name, recorder in RECORDERS.items()),
    ]
    bare = make(render_mode=mode)
    bare.reset(seed=1)
    expected = bare.render()
    bare.close()
    assert (
        np.shape(expected) == {"human": (), "rgb_array": (32, 48, 3), "rgb_array_list": (9, 32, 48, 3)}[mode]
    )
    for adapter in adapters:
        env = adapter(make(render_mode=mode))
        env.reset(seed=1)
        assert env.render_mode == mode and np.array_equal(env.render(), expected)
        env.close()


@pytest.mark.parametrize("name", ADAPTERS)
def test_vector_adapters_do_what_single_ones_do(
    make: Callable[..., PromptEnv], make_envs: Callable[..., PromptVectorEnv], name: str
) -> None:
    envs = getattr(vector, name)(make_envs(), **ADAPTERS[name])
    alone = [getattr(wrappers, name)(make(), **ADAPTERS[name]) for _ in range(2)]
    assert envs.single_action_space == alone[0].action_space
    assert envs.single_observation_space == alone[0].observation_space
    observations, _ = envs.reset(seed=[3, 5])
    theirs = [env.reset(seed=seed)[0] for env, seed in zip(alone, (3, 5), strict=True)]
    assert observations in envs.observation_space
    for world, observation in enumerate(theirs):
        assert_close(world_of(observations, world), observation)
    envs.action_space.seed(1)
    for _ in range(2):
        actions = envs.action_space.sample()
        observations, *_, infos = envs.step(actions)
        for world, env in enumerate(alone):
            observation, *_, info = env.step(actions[world])
            assert info["prompt"] == infos["prompt"][world]
            assert_close(world_of(observations, world), observation)


def world_of(observations: Any, world: int) -> Any:
    if isinstance(observations, dict):
        return {key: values[world] for key, values in observations.items()}
    return observations[world]


def assert_close(ours: Any, theirs: Any) -> None:
    """Equal up to what another batch size changes."""
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        own = "frames" if "frames" in ours else "observation"
        for name in ours.keys() - {own}:
            assert np.array_equal(ours[name], theirs[name])
        ours, theirs = ours[own], theirs[own]
    assert ours.shape == theirs.shape and np.abs(ours.astype(int) - theirs).max() <= 1


def test_menus_know_the_prompt_in_force(make: Callable[..., PromptEnv]) -> None:
    base = make()
    env = wrappers.DiscretePrompts(base)
    env.reset(seed=1, options={"prompt": CAT})
    actions = {prompt: number for number, prompt in enumerate(env.menu.prompts)}  # type: ignore[attr-defined]
    assert env.step(actions["in the forest"])[4]["prompt"] == "a red cat jumps in the forest at night"
    state = base.clone_state()
    assert env.step(actions["a robot"])[4]["prompt"] == "a red robot jumps in the forest at night"
    assert env.step(actions[""])[4]["prompt"] == "a red robot jumps in the forest at night"
    base.restore_state(state)
    info = env.step(actions["in the rain"])[4]
    assert info["prompt"] == "a red cat jumps in the forest in the rain" and info["recached"]
    assert not env.step(actions["in the rain"])[4]["recached"]


def test_observations_as_agents_of_pictures_want_them(make: Callable[..., PromptEnv]) -> None:
    env = wrappers.ChannelFirst(wrappers.ResizeFrames(wrappers.FramesOnChannels(make(), 2), 36, 40))
    observation, _ = env.reset(seed=1)
    assert observation.shape == (6, 36, 40) and observation in env.observation_space
    with pytest.raises(ConfigError, match="put ChannelFirst around the other frame adapters"):
        wrappers.ResizeFrames(env, 8, 8)
    goal = wrappers.GoalInObservation(make())
    with pytest.raises(ConfigError, match="put them inside GoalInObservation"):
        wrappers.LastFrame(goal)


def test_goals_in_observations(make: Callable[..., PromptEnv]) -> None:
    options = {"goal": "a red cat in the snow"}
    env = wrappers.GoalInObservation(make())
    assert env.reset(seed=1, options=options)[0]["goal"].tolist() == [2, 1, 0, 4, 0]
    text = wrappers.GoalInObservation(make(), form="text")
    observation, info = text.reset(seed=1, options=options)
    assert observation["goal"] == info["goal"] == "a red cat in the snow"
    assert observation in text.observation_space
    assert text.step("")[0]["goal"] == "a red cat in the snow"
    both = wrappers.GoalInObservation(make(), prompt=True)
    observation, info = both.reset(seed=1, options={"prompt": "a white rabbit", **options})
    assert observation["prompt"].tolist() == [3, 8, 0, 0, 0] and observation in both.observation_space
    assert both.step("a wardrobe")[0]["prompt"].tolist() == [0] * 5, "a prompt may name nothing"
    with pytest.raises(ConfigError, match="the env has no task and so no goal"):
        wrappers.GoalInObservation(make(task=None))
    with pytest.raises(ConfigError, match="form is 'picture'"):
        wrappers.GoalInObservation(make(), form="picture")  # type: ignore[arg-type]


def test_last_observations_are_adapted_too(
    make_envs: Callable[..., PromptVectorEnv], monkeypatch: pytest.MonkeyPatch
) -> None:
    envs = make_envs(2, max_episode_steps=2, autoreset_mode=AutoresetMode.SAME_STEP)
    step, given = envs.step, list[Any]()
    monkeypatch.setattr(envs, "step", lambda actions: given.append(step(actions)) or given[-1])
    adapted = vector.GoalInObservation(vector.LastFrame(envs))
    first, _ = adapted.reset(seed=1)
    adapted.step(("", ""))
    last, _, _, truncated, infos = adapted.step(("", ""))
    assert truncated.all()
    for world in range(2):
        final = infos["final_obs"][world]
        assert final["frames"].shape == (32, 48, 3)
        assert np.array_equal(final["goal"], first["goal"][world])
        assert not np.array_equal(final["frames"], last["frames"][world])
    assert last["frames"].shape == (2, 32, 48, 3)
    assert given[-1][4]["final_obs"][0].shape == (12, 32, 48, 3)  # those of the env inside stay


def test_vector_actions_are_counted(make_envs: Callable[..., PromptVectorEnv]) -> None:
    envs = vector.SlotPrompts(make_envs(3))
    envs.reset(seed=1)
    with pytest.raises(ConfigError, match="got 2 actions for 3 worlds"):
        envs.step(np.zeros((2, 5), np.int64))
    for wrong in (1, None, "abc", {1: 2}, [[1, 2], [1]]):
        with pytest.raises(PromptError, match="expected a list of one for each of 3 worlds"):
            envs.step(wrong)


def test_adapters_need_a_world_they_know(small_world: World) -> None:
    with pytest.raises(ConfigError, match="is not a prompt env"):
        wrappers.DiscretePrompts(gym.make("CartPole-v1"))
    with pytest.raises(ConfigError, match="is not a vector env of prompts"):
        vector.DiscretePrompts(gym.make_vec("CartPole-v1"))


def test_one_menu_chooses_prompts(
    make: Callable[..., PromptEnv], make_envs: Callable[..., PromptVectorEnv]
) -> None:
    message = r"the env's actions are Discrete\(.*\); expected prompts, put only one menu around it"
    for name in ("DiscretePrompts", "SlotPrompts", "EmbeddingPrompts"):
        options = {"prompts": ["a cat", "a red car"]} if name == "EmbeddingPrompts" else {}
        with pytest.raises(ConfigError, match=message):
            getattr(wrappers, name)(wrappers.DiscretePrompts(make()), **options)
        with pytest.raises(ConfigError, match=message):
            getattr(vector, name)(vector.DiscretePrompts(make_envs(2)), **options)


@pytest.mark.parametrize("name", [None, *RECORDERS])
def test_adapters_are_part_of_the_spec_and_recorders_are_not(
    small_world_folder: Path, tmp_path: Path, name: str | None
) -> None:
    env = gym.make("LongLive/TinyGoal-v0", world=str(small_world_folder))
    env = wrappers.LastFrame(env if name is None else RECORDERS[name](env, tmp_path / "inside"))
    env = wrappers.SlotPrompts(env, attributes=["weather"])
    env = env if name is None else RECORDERS[name](env, tmp_path)
    spec = env.spec
    assert spec is not None
    again = gym.make(type(spec).from_json(spec.to_json()))
    assert again.action_space == env.action_space and again.observation_space == env.observation_space
    json.loads(spec.to_json())


READERS: dict[str, Callable[[Any, Path], Any]] = {
    "LastFrame": lambda envs, folder: vector.LastFrame(envs),
    "HindsightGoals": lambda envs, folder: vector.HindsightGoals(envs),
    "VectorRecordFrames": lambda envs, folder: vector.RecordFrames(envs, folder),
    "VectorCollectEpisodes": lambda envs, folder: vector.CollectEpisodes(envs),
}


@pytest.mark.parametrize("name", READERS)
def test_infos_become_lists_around_all_adapters(
    make_envs: Callable[..., PromptVectorEnv], tmp_path: Path, name: str
) -> None:
    listed = vector.DiscretePrompts(DictInfoToList(make_envs()))
    with pytest.raises(ConfigError, match=f"DictInfoToList is inside {name}, .*around all other wrappers"):
        READERS[name](listed, tmp_path)
    assert isinstance(DictInfoToList(READERS[name](make_envs(), tmp_path)).reset(seed=1)[1], list)


@pytest.mark.parametrize("name", ["Goal", "Tour", "Hold"])
def test_registered_tasks(small_world_folder: Path, name: str) -> None:
    env_id = f"LongLive/Tiny{name}-v0"
    spec = gym.spec(env_id)
    assert spec.kwargs == {"world": "tiny", "task": name.lower()} and spec.max_episode_steps
    env = gym.make(env_id, world=str(small_world_folder))
    _, info = env.reset(seed=1)
    reward, terminated, truncated, later = env.step("")[1:]
    assert isinstance(reward, float) and (terminated, truncated) == (False, False)
    assert later.keys() == info.keys() and goals.parse(info["goal"]) and 0 <= info["score"] <= 1
    envs = gym.make_vec(env_id, num_envs=2, world=str(small_world_folder), max_episode_steps=1)
    _, infos = envs.reset(seed=1)
    assert infos["goal"][0] == info["goal"]
    _, rewards, _, truncations, infos = envs.step(("", ""))
    assert rewards[0] == pytest.approx(reward, abs=1e-2) and truncations.all()
    env.close()
    envs.close()


def test_a_state_holds_the_task(make: Callable[..., PromptEnv]) -> None:
    env = make(task=GoalTask(reward_fn=brightness, threshold=1.0))
    env.reset(seed=1)
    env.step("")
    state = env.clone_state()
    expected = [env.step(action)[1:] for action in ("a red cat", "")]
    other = make(task=GoalTask(reward_fn=brightness, threshold=1.0))
    other.restore_state(state)
    assert [other.step(action)[1:] for action in ("a red cat", "")] == expected


def test_a_task_without_a_goal_is_named(make: Callable[..., PromptEnv]) -> None:
    with pytest.raises(ConfigError, match="the task says no goal"):
        wrappers.GoalInObservation(make(task=Count())).reset(seed=1)
