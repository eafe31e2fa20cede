"""Episodes become Minari datasets that load back."""

import contextlib
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import Autoreset, TimeLimit
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from pixels import brightness, shot

from longlive_env import World
from longlive_env.envs.prompt_env import PromptEnv
from longlive_env.envs.stateful import clone_state, restore_state
from longlive_env.envs.tasks import GoalTask, HoldTask
from longlive_env.envs.vector_env import PromptVectorEnv
from longlive_env.envs.wrappers import (
    CollectEpisodes,
    DiscretePrompts,
    GoalInObservation,
    LastFrame,
    RecordFrames,
    SlotPrompts,
    vector,
)
from longlive_env.envs.wrappers.columns import check_fit
from longlive_env.envs.wrappers.inside import of_world, prompt_envs
from longlive_env.envs.wrappers.specs import check_same_env, check_same_weights
from longlive_env.errors import MissingExtraError, RecordingError
from longlive_env.tiny.scene import Scene

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


def read_back(infos: dict[str, Any]) -> dict[str, list[Any]]:
    """Infos of a stored episode, whose texts are bytes."""
    return {
        name: [one.decode() if isinstance(one, bytes) else one.item() for one in values]
        for name, values in infos.items()
    }


def test_infos_load_back(small_world: World, home: Path) -> None:
    minari = pytest.importorskip("minari", reason="datasets need minari")
    env = CollectEpisodes(LastFrame(PromptEnv(small_world, task=HoldTask(calm=(1, 1)))))
    played = []
    for seed in (5, None):  # the second episode has no seed and no options of its own
        infos = [env.reset(seed=seed)[1]]
        for action in ("", "", DOG):
            infos.append(env.step(action)[4])
        played.append(infos)
    env.create_dataset("longlive/tiny-hold/infos-v0")
    stored = list(minari.load_dataset("longlive/tiny-hold/infos-v0").iterate_episodes())
    assert len(stored) == 2 and played[0][0]["goal"] != played[1][0]["goal"]
    names = {"prompt", "goal", "score", "seen", "success", "held", "disturbed"}
    names |= {"block", "seconds", "recached", "world_seed"}
    for episode, infos in zip(stored, played, strict=True):
        found = read_back(episode.infos)
        assert found == {name: [info[name] for info in infos] for name in names}
        assert True in found["disturbed"] and episode.infos["success"].dtype == np.bool_
        assert all(len(values) == len(episode) + 1 for values in found.values())


def test_infos_that_an_episode_has_now_and_then_are_left_out(small_world: World, home: Path) -> None:
    minari = pytest.importorskip("minari", reason="datasets need minari")

    class Remarks(gym.Wrapper[Any, Any, Any, Any]):
        def step(self, action: Any) -> Any:
            *rest, info = self.env.step(action)
            return *rest, {**info, "late": 1, "recached": "a text at times", "odd": None}

    env = CollectEpisodes(Remarks(LastFrame(PromptEnv(small_world))))
    env.reset(seed=1)
    env.step("")
    env.create_dataset("longlive/tiny/remarks-v0")
    (episode,) = minari.load_dataset("longlive/tiny/remarks-v0").iterate_episodes()
    assert set(episode.infos) == {"prompt", "block", "seconds", "world_seed"}


def test_documented_set_ups_are_recovered(small_world_folder: Path, home: Path, tmp_path: Path) -> None:
    minari = pytest.importorskip("minari", reason="datasets need minari")
    task = GoalTask(split="held_out", prompt_cost=0.1)
    env = gym.make("LongLive/TinyGoal-v0", world=str(small_world_folder), task=task)
    env = CollectEpisodes(DiscretePrompts(RecordFrames(env, tmp_path / "recordings")))
    begin = {"prompt": CAT, "frames": np.zeros((32, 48, 3), np.uint8)}
    first, _ = env.reset(seed=5, options={"prompt": CAT})
    env.step(3)
    env.reset(seed=5, options=begin)
    env.step(3)
    env.create_dataset("longlive/tiny-goal/documented-v0")
    env.close()
    dataset = minari.load_dataset("longlive/tiny-goal/documented-v0")
    again = dataset.recover_environment()
    assert again.unwrapped.rules.task == task  # type: ignore[attr-defined]
    told = [dataset.storage.get_episode_metadata([number]) for number in range(2)]
    options = [dict(next(iter(one)))["options"] for one in told]
    assert options == [{"prompt": CAT}, {"continued": True, "prompt": CAT}]
    assert np.array_equal(again.reset(seed=5, options={"prompt": CAT})[0], first)


def test_resets_of_wrappers_inside_begin_episodes(small_world: World, home: Path, tmp_path: Path) -> None:
    env = RecordFrames(Autoreset(TimeLimit(PromptEnv(small_world), 2)), tmp_path / "recordings")
    env = CollectEpisodes(env)
    env.reset(seed=5)
    for _ in range(4):
        env.step("")
    (done,), (now,) = env._collected._done, env._collected._now
    assert len(done.actions) == 2 and now is not None and len(now.actions) == 1 and now.seed is None
    env.close()
    assert len(list((tmp_path / "recordings").iterdir())) == 2


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


def test_datasets_grow(small_world: World, home: Path) -> None:
    minari = pytest.importorskip("minari", reason="datasets need minari")
    env = CollectEpisodes(LastFrame(PromptEnv(small_world)))
    for seed in (1, 2):
        env.reset(seed=seed)
        env.step(CAT)
        env.create_dataset("longlive/tiny/grows-v0")
    dataset = minari.load_dataset("longlive/tiny/grows-v0")
    assert [episode.id for episode in dataset.iterate_episodes()] == [0, 1]
    other = CollectEpisodes(PromptEnv(small_world))
    other.reset(seed=1)
    other.step(CAT)
    with pytest.raises(RecordingError, match=r"its observations are Box\(.*; choose another version$"):
        other.create_dataset("longlive/tiny/grows-v0")
    env.reset(seed=3)
    env.step("a café ☃")
    with pytest.raises(RecordingError, match=r"texts of these episodes have 'é☃', and the dataset"):
        env.create_dataset("longlive/tiny/grows-v0")
    assert env.create_dataset("longlive/tiny/grows-v1").total_episodes == 1, "nothing was lost"
    assert minari.load_dataset("longlive/tiny/grows-v0").total_episodes == 2


def test_buffers_that_are_used_again_leave_datasets_alone(small_world: World, home: Path) -> None:
    pytest.importorskip("minari", reason="datasets need minari")

    class OneBuffer(gym.ObservationWrapper[Any, Any, Any]):
        buffer = np.zeros((32, 48, 3), np.uint8)

        def observation(self, observation: Any) -> Any:
            self.buffer[:] = observation
            return self.buffer

    env = CollectEpisodes(SlotPrompts(OneBuffer(LastFrame(PromptEnv(small_world)))))
    action, told = np.zeros(5, np.int64), {"prompt": CAT, "world_seed": 3}
    seen = [env.reset(options=told)[0].copy()]
    told["prompt"] = DOG
    for setting in (1, 2, 3):
        action[2] = setting
        seen.append(env.step(action)[0].copy())
    (episode,) = env.create_dataset("longlive/tiny/buffers-v0").iterate_episodes()
    assert episode.actions[:, 2].tolist() == [1, 2, 3]
    assert np.array_equal(episode.observations, np.stack(seen))
    envs = vector.CollectEpisodes(vector.SlotPrompts(vector.LastFrame(PromptVectorEnv(2, small_world))))
    actions = np.zeros((2, 5), np.int64)
    seen = [envs.reset()[0].copy()]
    for setting in (1, 2, 3):
        actions[:, 2] = setting
        observations = envs.step(actions)[0]
        seen.append(observations.copy())
        observations[:] = 0
    for world, one in enumerate(envs.create_dataset("longlive/tiny/buffers-v1").iterate_episodes()):
        assert one.actions[:, 2].tolist() == [1, 2, 3]
        assert np.array_equal(one.observations, np.stack(seen)[:, world])


def test_a_dataset_that_fails_leaves_episodes_running(
    small_world: World, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    minari = pytest.importorskip("minari", reason="datasets need minari")

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError("the disk is full")

    env = CollectEpisodes(LastFrame(TimeLimit(PromptEnv(small_world), 4)))
    env.reset(seed=1)
    env.step(CAT)
    with monkeypatch.context() as patch:
        patch.setattr(minari, "create_dataset_from_buffers", fail)
        with pytest.raises(OSError, match="disk is full"):
            env.create_dataset("longlive/tiny/fails-v0")
    for _ in range(3):
        env.step("")
    (episode,) = env.create_dataset("longlive/tiny/fails-v0").iterate_episodes()
    assert list(episode.actions) == [CAT, "", "", ""]
    assert episode.truncations.tolist() == [False, False, False, True]
    env.step("")
    with pytest.raises(RecordingError, match="no episode to store"):
        env.create_dataset("longlive/tiny/fails-v0")


def test_datasets_grow_by_episodes_of_their_own_env(small_world_folder: Path, home: Path) -> None:
    pytest.importorskip("minari", reason="datasets need minari")

    def grow(env_id: str = "LongLive/TinyGoal-v0", *, batch: bool = False, **kwargs: Any) -> int:
        kwargs = {"world": str(small_world_folder), **kwargs}
        if batch:
            envs = vector.LastFrame(gym.make_vec(env_id, num_envs=2, **kwargs))
            collector: Any = vector.CollectEpisodes(vector.DiscretePrompts(envs, table))
        else:
            collector = CollectEpisodes(DiscretePrompts(LastFrame(gym.make(env_id, **kwargs)), table))
        collector.reset(seed=1)
        collector.step(np.array([1, 1]) if batch else 1)
        return int(collector.create_dataset("longlive/tiny-goal/own-env-v0").total_episodes)

    table = [CAT, DOG]
    task = {"name": "goal", "split": "train"}
    assert grow(task=task) == 1
    assert grow(task=task, max_episode_steps=9, render_mode="rgb_array", device="cpu") == 2
    assert grow(task=task, batch=True) == 4, "a batch does not tell its adapters"
    for kwargs, message in (
        (
            {"env_id": "LongLive/TinyHold-v0"},
            "its id is '.*TinyGoal-v0', here '.*TinyHold-v0', its task",
        ),
        (
            {"task": {**task, "split": "held_out"}},
            "env: its task.split is 'train', here 'held_out'; make",
        ),
        ({"task": task, "recache": "none"}, "env: its recache is None, here 'none'; make"),
        ({"task": task, "steps": 4, "batch": True}, "env: its steps is None, here 4; make"),
    ):
        with pytest.raises(RecordingError, match=message):
            grow(**kwargs)  # type: ignore[arg-type]
    table = [DOG, CAT]
    with pytest.raises(RecordingError, match="its wrappers is"):
        grow(task=task)


def test_datasets_grow_by_episodes_of_their_own_weights(small_world: World, home: Path) -> None:
    minari = pytest.importorskip("minari", reason="datasets need minari")
    own, other = small_world, World.from_config(small_world.config, 1)
    trained = own.replaced(transformer=other.transformer)
    for world, message in ((small_world, ""), (small_world, ""), (trained, "made under other weights")):
        env = CollectEpisodes(PromptEnv(world))
        env.reset(seed=1)
        env.step(CAT)
        with pytest.raises(RecordingError, match=message) if message else contextlib.nullcontext():
            env.create_dataset("longlive/tiny/weights-v0")
    dataset = minari.load_dataset("longlive/tiny/weights-v0")
    assert dataset.total_episodes == 2
    assert dataset.storage.metadata["world_weights"] == small_world.fingerprint
    with pytest.raises(RecordingError, match="'a-v0' does not say under which weights it was made"):
        check_same_weights(small_world.fingerprint, None, "a-v0")


@pytest.mark.parametrize("task", [GoalTask(), GoalTask(changes=1)])
def test_tasks_are_compared_as_datasets_hold_them(task: GoalTask) -> None:
    ours, stored = (EnvSpec("A-v0", kwargs={"task": one}) for one in (task, GoalTask()))
    theirs = EnvSpec.from_json(stored.to_json())
    if task == GoalTask():
        check_same_env(ours, theirs, "a-v0")
    else:
        with pytest.raises(RecordingError, match=r"its task\.changes is 2, here 1; "):
            check_same_env(ours, theirs, "a-v0")
    for pair in ((None, theirs), (ours, None)):
        check_same_env(*pair, "a-v0")
    seen = EnvSpec("A-v0", kwargs={"task": replace(task, reward_fn=brightness)})
    with pytest.raises(RecordingError, match=r"task\.reward_fn is None, here .*function brightness"):
        check_same_env(seen, theirs, "a-v0")


FRAMES = spaces.Box(0, 255, (12, 32, 48, 3), np.uint8)
LARGE = spaces.Box(0, 255, (12, 64, 96, 3), np.uint8)


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        (
            FRAMES,
            LARGE,
            r"observations are Box\(.*64, 96.*, those of .*32, 48.*, or make the env with the codec=",
        ),
        (
            spaces.Dict({"goal": spaces.Discrete(3), "frames": FRAMES}),
            spaces.Dict({"goal": spaces.Discrete(4), "frames": FRAMES}),
            r"observations\['goal'\] are Discrete\(4\), those of .* Discrete\(3\); choose another version$",
        ),
        (
            spaces.Dict({"frames": FRAMES, "prompt": spaces.Text(9)}),
            spaces.Dict({"frames": FRAMES}),
            r"observations\['prompt'\] are absent, those of these episodes texts; choose another version$",
        ),
    ],
)
def test_the_space_that_differs_is_named(ours: Any, theirs: Any, message: str) -> None:
    actions = spaces.Discrete(2)
    with pytest.raises(RecordingError, match=message):
        check_fit((actions, ours), (actions, theirs), "a-v0")
    with pytest.raises(RecordingError, match="its actions"):
        check_fit((ours, ours), (theirs, ours), "a-v0")
    check_fit((actions, ours), (actions, ours), "a-v0")


def test_goals_in_observations_grow_by_their_like(small_world: World, home: Path) -> None:
    minari = pytest.importorskip("minari", reason="datasets need minari")
    task = GoalTask(goals=("a cat", "a car"), reward_fn=brightness)
    for prompt in (False, True):
        inside = LastFrame(PromptEnv(small_world, task=task))
        env = CollectEpisodes(GoalInObservation(inside, form="text", prompt=prompt))
        for number in range(2):
            env.reset(seed=1, options={"goal": "un café"} if number else None)
            env.step("")
            if number or prompt:
                with pytest.raises(RecordingError, match="other spaces" if prompt else "have 'é'"):
                    env.create_dataset("longlive/tiny-goal/like-v0")
            else:
                env.create_dataset("longlive/tiny-goal/like-v0")
    assert minari.load_dataset("longlive/tiny-goal/like-v0").total_episodes == 1


def test_a_world_that_a_dataset_cannot_name_is_told(small_world: World, home: Path) -> None:
    pytest.importorskip("minari", reason="datasets need minari")
    env = CollectEpisodes(LastFrame(gym.make("LongLive/Tiny-v0", world=small_world)))
    envs = vector.CollectEpisodes(vector.LastFrame(gym.make_vec("LongLive/Tiny-v0", world=small_world)))
    for number, one in enumerate((env, envs)):
        one.reset(seed=1)
        one.step([""] if number else "")
        with pytest.warns(UserWarning, match=r"made with a World as its world.*name the world"):
            one.create_dataset(f"longlive/tiny/unnamed-v{number}")


class Plain(gym.Wrapper[Any, Any, Any, Any]):
    """A wrapper that does not record its arguments."""


def test_an_env_that_a_dataset_cannot_recover_is_told(small_world_folder: Path, home: Path) -> None:
    minari = pytest.importorskip("minari", reason="datasets need minari")
    env: Any = gym.make("LongLive/Tiny-v0", world=str(small_world_folder))
    for number, collector in enumerate((CollectEpisodes(Plain(env)), CollectEpisodes(LastFrame(env)))):
        collector.reset(seed=1)
        collector.step("")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            dataset = collector.create_dataset(f"longlive/tiny/lost-v{number}")
        told = [str(one.message) for one in caught if "cannot recover the env" in str(one.message)]
        assert len(told) == (number == 0) and all("hold the arguments of Plain" in one for one in told)
    with pytest.raises(ValueError, match="does not inherit"):
        minari.load_dataset("longlive/tiny/lost-v0").recover_environment()
    dataset.recover_environment()


def test_entries_that_end_a_name_alike_are_kept() -> None:
    infos = {"final_score": np.array([1, 2]), "final_info": {"score": np.array([3, 4])}, "_prompt": None}
    assert of_world(infos, 1) == {"final_score": 2}


def test_without_minari(small_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(MissingExtraError, match=r"datasets need Minari.*\.\[rl\]"):
        CollectEpisodes(PromptEnv(small_world)).create_dataset("longlive/none-v0")


def test_an_episode_is_stored_at_any_moment(small_world: World, home: Path) -> None:
    minari = pytest.importorskip("minari", reason="datasets need minari")
    env = CollectEpisodes(PromptEnv(small_world))
    env.reset(seed=1)
    with pytest.raises(RecordingError, match="there is no episode to store"):
        env.create_dataset("longlive/none-v0")
    for name in ("tiny-random", "foo/bar", "", 3):
        with pytest.raises(RecordingError, match=f"is called {name!r}; expected a name that ends in"):
            env.create_dataset(name)  # type: ignore[arg-type]
    env.step("a café")
    env.create_dataset("longlive/cafe-v0")
    (episode,) = minari.load_dataset("longlive/cafe-v0").iterate_episodes()
    assert list(episode.actions) == ["a café"] and episode.truncations.tolist() == [True]
    env.reset()
    env.step("")
    env.create_dataset("longlive/next-v0")
    assert minari.load_dataset("longlive/next-v0").total_steps == 1
    env.reset()
    env.step("")
    env.reset()
    assert env.create_dataset("longlive/begun-v0").total_steps == 1
    env.step("")  # of the episode that had begun before
    assert env.create_dataset("longlive/begun-v1").total_steps == 1


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_worlds_of_a_batch_are_collected_as_they_are_alone(
    small_world_folder: Path, home: Path, mode: AutoresetMode
) -> None:
    minari = pytest.importorskip("minari", reason="datasets need minari")
    settings = {"world": str(small_world_folder), "max_episode_steps": 2}
    inside = gym.make_vec("LongLive/TinyGoal-v0", num_envs=2, autoreset_mode=mode, **settings)
    envs = vector.CollectEpisodes(vector.DiscretePrompts(vector.LastFrame(inside), [CAT, DOG]))
    envs.reset(seed=[5, 9], options={"prompt": [CAT, DOG]})
    played = 0
    while played < 4:
        envs.step(np.array([played % 3, 2]))
        played += 1
        ended = prompt_envs(envs).episodes.ended
        if mode is AutoresetMode.DISABLED and ended.any():
            envs.reset(seed=20 + played, options={"reset_mask": ended})
    envs.create_dataset("longlive/tiny-goal/batch-v0")
    dataset = minari.load_dataset("longlive/tiny-goal/batch-v0")
    episodes = list(dataset.iterate_episodes())
    lengths = {AutoresetMode.NEXT_STEP: [2, 2, 1, 1], AutoresetMode.SAME_STEP: [2] * 4}
    assert [len(one) for one in episodes] == lengths.get(mode, [2] * 4)
    assert all(one.observations.shape == (len(one) + 1, 32, 48, 3) for one in episodes)
    assert all(one.truncations[-1] and not one.truncations[:-1].any() for one in episodes)
    alone = DiscretePrompts(LastFrame(gym.make("LongLive/TinyGoal-v0", **settings)), [CAT, DOG])
    seeds = [5, 9, 22, 23] if mode is AutoresetMode.DISABLED else [5, 9]
    for seed, prompt, episode in zip(seeds, [CAT, DOG, None, None], episodes, strict=False):
        first, begun = alone.reset(seed=seed, options={"prompt": prompt} if prompt else None)
        seen = [first]
        rewards, infos = [], [begun]
        for action in episode.actions:
            observation, reward, *_, info = alone.step(action)
            seen.append(observation)
            rewards.append(reward)
            infos.append(info)
        found = read_back(episode.infos)
        for name in ("prompt", "goal", "block", "success", "recached"):
            assert found[name] == [info[name] for info in infos]
        assert found["score"] == pytest.approx([info["score"] for info in infos], abs=1e-3)
        assert np.abs(np.stack(seen).astype(int) - episode.observations).max() <= 1  # of rounding
        assert episode.rewards.tolist() == pytest.approx(rewards, abs=1e-3)
    if mode is not AutoresetMode.DISABLED:  # goals of episodes that began by themselves are known, too
        goals = []
        for seed, prompt in ((5, CAT), (9, DOG)):
            alone.reset(seed=seed, options={"prompt": prompt})
            goals.append(alone.reset()[1]["goal"])
        assert [read_back(one.infos)["goal"][0] for one in episodes[2:]] == goals
    assert isinstance(dataset.recover_environment().unwrapped, PromptEnv)


def test_envs_without_a_limit_are_recovered(small_world_folder: Path, home: Path) -> None:
    minari = pytest.importorskip("minari", reason="datasets need minari")
    inside = gym.make_vec("LongLive/Tiny-v0", world=str(small_world_folder), max_episode_steps=-1)
    envs = vector.CollectEpisodes(vector.LastFrame(inside))
    envs.reset(seed=1)
    envs.step([""])
    envs.create_dataset("longlive/tiny/endless-v0")
    again = minari.load_dataset("longlive/tiny/endless-v0").recover_environment()
    assert again.spec is not None and again.spec.max_episode_steps is None


def test_what_repeats_an_episode_of_a_batch_is_kept(small_world_folder: Path, home: Path) -> None:
    minari = pytest.importorskip("minari", reason="datasets need minari")
    prompts, world = [CAT, DOG], str(small_world_folder)
    inside = gym.make_vec("LongLive/Tiny-v0", num_envs=2, world=world, prompt=prompts)
    envs = vector.CollectEpisodes(vector.LastFrame(inside))
    assert envs.autoreset_mode is AutoresetMode.NEXT_STEP
    envs.reset(seed=np.int64(3), options={"world_seed": np.array([5, 6])})
    envs.step(["", ""])
    envs.create_dataset("longlive/tiny/repeats-v0")
    dataset = minari.load_dataset("longlive/tiny/repeats-v0")
    metadata = [dataset.storage.get_episode_metadata([number]) for number in (0, 1)]
    told = [next(iter(one)) for one in metadata]
    assert [one["seed"] for one in told] == [3, 4]
    assert "5" in str(told[0]["options"]) and "6" in str(told[1]["options"])
    assert isinstance(dataset.recover_environment().unwrapped, PromptEnv)


def test_a_batch_that_shows_goals_is_collected(small_world_folder: Path, home: Path) -> None:
    pytest.importorskip("minari", reason="datasets need minari")
    inside = gym.make_vec("LongLive/TinyGoal-v0", num_envs=2, world=str(small_world_folder))
    envs = vector.CollectEpisodes(vector.GoalInObservation(vector.LastFrame(inside), form="text"))
    with pytest.raises(RecordingError, match="no episode to store"):
        envs.create_dataset("longlive/tiny-goal/texts-v0")
    envs.reset(seed=1)
    envs.step([CAT, ""])
    dataset = envs.create_dataset("longlive/tiny-goal/texts-v0")
    first, second = dataset.iterate_episodes()
    assert list(first.actions) == [CAT] and list(second.actions) == [""]
    assert len(first.observations["goal"]) == 2 and first.observations["frames"].shape == (2, 32, 48, 3)
    envs.reset(seed=2)
    envs.step(["", ""])
    assert envs.create_dataset("longlive/tiny-goal/texts-v0").total_episodes == 4


def test_each_episode_of_a_batch_notes_its_own_goal(small_world_folder: Path, home: Path) -> None:
    minari = pytest.importorskip("minari", reason="datasets need minari")
    inside = gym.make_vec("LongLive/TinyGoal-v0", num_envs=2, world=str(small_world_folder))
    envs = vector.CollectEpisodes(vector.LastFrame(inside))
    envs.reset(seed=1, options={"goal": ["a red cat", "a blue car"]})
    envs.step(["", ""])
    envs.create_dataset("longlive/tiny-goal/own-v0")
    dataset = minari.load_dataset("longlive/tiny-goal/own-v0")
    told = [str(next(iter(dataset.storage.get_episode_metadata([number])))) for number in (0, 1)]
    for one, mine, other in zip(told, ("red cat", "blue car"), ("blue car", "red cat"), strict=True):
        assert mine in one and other not in one


def test_wrappers_that_take_options_away_leave_them_to_the_collector(small_world: World) -> None:
    """Gymnasium's statistics take the mask of a reset out of its options."""
    inside = PromptVectorEnv(2, small_world, autoreset_mode=AutoresetMode.DISABLED)
    envs = vector.CollectEpisodes(RecordEpisodeStatistics(inside))
    options = {"reset_mask": np.array([True, False])}
    envs.reset(seed=0)
    envs.step(["", ""])
    envs.reset(options=options)
    assert list(options) == ["reset_mask"]
    envs.step(["", ""])
    assert [len(one.actions) for one in envs._collected._now if one] == [1, 2]


def test_an_episode_that_began_with_a_state_says_so(small_world: World) -> None:
    env = CollectEpisodes(PromptEnv(small_world))
    env.reset(seed=0)
    env.step("")
    restore_state(env, clone_state(env))
    assert env._collected._now[0] is not None
    assert env._collected._now[0].options == {"restored": True}


def test_an_episode_that_continues_frames_says_so(small_world: World) -> None:
    env = CollectEpisodes(PromptEnv(small_world))
    frames = np.zeros((1, *env.observation_space.shape[1:]), np.uint8)  # type: ignore[index]
    env.reset(seed=0, options={"prompt": "a red cat", "frames": frames})
    assert env._collected._now[0] is not None
    assert env._collected._now[0].options == {"continued": True, "prompt": "a red cat"}


def test_only_the_worlds_of_a_batch_that_continue_frames_say_so(small_world: World) -> None:
    envs = vector.CollectEpisodes(PromptVectorEnv(2, small_world, task="goal"))
    picture = np.zeros(envs.single_observation_space.shape[1:], np.uint8)  # type: ignore[index]
    goal = shot(Scene("cat", "red", "city", "night", "left"))[3]

    def told(**options: Any) -> list[Any]:
        envs.reset(seed=0, options=options)
        return [one and one.options for one in envs._collected._now]

    assert told(frames=[picture, None]) == [{"continued": True}, None]
    assert told(frames=[None, None]) == [None, None]
    assert told(frames=picture, prompt=[CAT, None]) == [
        {"continued": True, "prompt": CAT},
        {"continued": True},
    ]
    assert told(goal_image=[None, goal]) == [None, {"pictured": True}]
    assert told(goal_image=[goal, None], goal=[None, "a cat"]) == [{"pictured": True}, {"goal": "a cat"}]
