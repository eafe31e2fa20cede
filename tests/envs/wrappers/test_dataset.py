"""Episodes become Minari datasets that load back."""

import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from longlive_env import World
from longlive_env.envs.prompt_env import PromptEnv
from longlive_env.envs.wrappers import CollectEpisodes, DiscretePrompts, GoalInObservation, LastFrame
from longlive_env.errors import MissingExtraError, RecordingError

pytestmark = pytest.mark.filterwarnings("ignore:.*is set to None:UserWarning", "ignore:env_spec is None")

CAT, DOG = "a red cat jumps in the city at night", "a blue car on the beach"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


def test_prompts_and_frames_load_back(small_world_folder: Path, home: Path) -> None:
    minari = pytest.importorskip("minari", reason="datasets need minari")
    env = CollectEpisodes(
        gym.make("LongLive/TinyGoal-v0", world=str(small_world_folder), max_episode_steps=3)
    )
    observations, rewards = [env.reset(seed=5, options={"prompt": CAT})[0]], []
    for action in ("", DOG, ""):
        observation, reward, *_ = env.step(action)
        observations.append(observation)
        rewards.append(reward)
    env.reset(seed=6)
    env.step(CAT)
    env.create_dataset("longlive/tiny-goal/test-v0")
    dataset = minari.load_dataset("longlive/tiny-goal/test-v0")
    first, second = dataset.iterate_episodes()
    assert list(first.actions) == ["", DOG, ""] and list(second.actions) == [CAT]
    assert np.array_equal(first.observations, np.stack(observations))
    assert first.rewards.tolist() == pytest.approx(rewards)
    assert first.truncations.tolist() == [False, False, True] and not first.terminations.any()
    again = dataset.recover_environment()
    assert np.array_equal(again.reset(seed=5, options={"prompt": CAT})[0], observations[0])


def test_adapted_envs_are_stored_as_they_are_seen(small_world: World, home: Path) -> None:
    minari = pytest.importorskip("minari", reason="datasets need minari")
    env = GoalInObservation(LastFrame(DiscretePrompts(PromptEnv(small_world, task="goal"))), form="text")
    env = CollectEpisodes(env)
    observation, info = env.reset(seed=5)
    env.step(3)
    env.create_dataset("longlive/tiny-goal/adapted-v0")
    (episode,) = minari.load_dataset("longlive/tiny-goal/adapted-v0").iterate_episodes()
    assert episode.actions.tolist() == [3]
    assert list(episode.observations["goal"]) == [info["goal"]] * 2
    assert np.array_equal(episode.observations["frames"][0], observation["frames"])


def test_without_minari(small_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(MissingExtraError, match=r"datasets need Minari.*longlive_env\[rl\]"):
        CollectEpisodes(PromptEnv(small_world)).create_dataset("longlive/none-v0")


def test_an_episode_is_stored_at_any_moment(small_world: World, home: Path) -> None:
    minari = pytest.importorskip("minari", reason="datasets need minari")
    env = CollectEpisodes(PromptEnv(small_world))
    env.reset(seed=1)
    with pytest.raises(RecordingError, match="there is no episode to store"):
        env.create_dataset("longlive/none-v0")
    env.step("a café")
    env.create_dataset("longlive/cafe-v0")
    (episode,) = minari.load_dataset("longlive/cafe-v0").iterate_episodes()
    assert list(episode.actions) == ["a café"] and episode.truncations.tolist() == [True]
    env.reset()
    env.step("")
    env.create_dataset("longlive/next-v0")
    assert minari.load_dataset("longlive/next-v0").total_steps == 1
