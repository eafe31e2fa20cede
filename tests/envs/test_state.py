"""State of envs: cloned, restored, forked; here, in another process, in batches, and under wrappers."""

import copy
import json
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import wrappers
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from pixels import unrounded
from safetensors.numpy import load, save
from toy_task import Count, Gives

from longlive_env import World
from longlive_env.engine.config import PatchVAEConfig
from longlive_env.engine.snapshot import read_header, sealed
from longlive_env.envs import state
from longlive_env.envs.prompt_env import PromptEnv
from longlive_env.envs.stateful import clone_state, fork, restore_state
from longlive_env.envs.task import Block, Opening, TaskState, Verdict
from longlive_env.envs.tasks import GoalTask, HoldTask
from longlive_env.envs.vector_env import PromptVectorEnv
from longlive_env.errors import ConfigError, PromptError, SnapshotError

ID = "LongLive/Tiny-v0"
CAT, DOG = "a red cat jumps in the city", "a blue car moves left on the beach"
ACTIONS = ("", DOG, "")


class Swapped(Count):
    """An array in the byte order that most machines do not have."""

    def _verdict(self, state: TaskState, block: Block) -> Verdict:
        return replace(super()._verdict(state, block), info={"mean": np.array([1, 2], ">f4")})


@pytest.fixture
def make(small_world: World) -> Callable[..., PromptEnv]:
    return lambda **kwargs: PromptEnv(small_world, **{"task": Count(length=9, storm_at=3), **kwargs})


def future(env: gym.Env[Any, Any], actions: tuple[str, ...] = ACTIONS) -> list[Any]:
    """What an env gives from now on, and after a reset."""
    steps = [env.step(action) for action in actions]
    return [*steps, env.reset()]


def assert_equal(ours: Any, theirs: Any, grey_levels: int = 0) -> None:
    if isinstance(ours, np.ndarray) and ours.dtype == object:
        assert ours.tolist() == theirs.tolist()
    elif isinstance(ours, np.ndarray):
        assert np.abs(ours.astype(float) - theirs).max() <= grey_levels
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours.keys() - {"mean"}:
            assert_equal(ours[key], theirs[key], grey_levels)
    elif isinstance(ours, (list, tuple)):
        for one, other in zip(ours, theirs, strict=True):
            assert_equal(one, other, grey_levels)
    else:
        assert ours == theirs


@pytest.mark.parametrize("steps", [0, 2, 5])
def test_a_restored_env_has_the_same_future_to_the_bit(make: Callable[..., PromptEnv], steps: int) -> None:
    env, other = make(), make()
    env.reset(seed=1, options={"prompt": CAT})
    seen = None
    for index in range(steps):
        observation, *_, info = env.step(DOG if index == 1 else "")
        seen = (observation, info)
    data = env.clone_state()
    now = (env.episodes.observations[0], env.episodes.info(0))
    expected = future(env)
    for target in (other, env):
        restored = target.restore_state(data)
        assert_equal(restored, seen or now)
        assert type(restored[1]["unknown_words"]) is type(restored[1]["stops"]) is tuple
        assert np.array_equal(restored[1]["mean"], now[1]["mean"])
        assert_equal(future(target), expected)


def test_a_running_env_goes_on_in_its_own_memory(make: Callable[..., PromptEnv], small_world: World) -> None:
    """There is no second state, and captured steps are kept."""
    batch = PromptVectorEnv(2, small_world, task=Count(length=9, storm_at=3))
    for env in (make(), batch):
        env.reset(seed=1)
        data, running = env.clone_state(), env.rollout
        env.step("" if env is not batch else ("", ""))
        env.restore_state(data)
        assert env.rollout is running and env.clone_state() == data
        with pytest.raises(SnapshotError):
            env.restore_state(data[:-10])
        assert env.rollout is running and env.clone_state() == data


def test_worlds_that_are_restored_by_half_do_not_go_on(
    make: Callable[..., PromptEnv], small_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = make()
    env.reset(seed=1)
    data = env.clone_state()
    expected = env.step("")[0]

    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("no room")

    with monkeypatch.context() as patch, pytest.raises(torch.OutOfMemoryError):
        patch.setattr(type(small_world.transformer), "cross_keys_values", full)
        env.restore_state(data)
    with pytest.raises(gym.error.ResetNeeded, match=r"call env\.reset"):
        env.step("")
    env.restore_state(data)
    assert np.array_equal(env.step("")[0], expected)


def test_a_reset_that_fails_leaves_no_trace(make: Callable[..., PromptEnv], small_world: World) -> None:
    envs, same = (PromptVectorEnv(2, small_world) for _ in range(2))
    for one in (envs, same):
        one.reset(seed=1)
    with pytest.raises(SnapshotError):
        envs.reset(seed=5, options={"state": b"x"})
    assert np.array_equal(envs.reset()[0], same.reset()[0])
    env, like = make(), make()
    for one in (env, like):
        one.reset(seed=1)
    with pytest.raises(ConfigError, match="no option 'promt'"):
        env.reset(seed=5, options={"promt": CAT})
    for options in (
        {"prompt": " "},
        {"world_seed": -1},
        {"frames": np.ones(3)},
        {"length": "x"},
        {"state": b"x"},
    ):
        with pytest.raises((ConfigError, PromptError, SnapshotError, ValueError)):
            env.reset(seed=5, options=options)
        with pytest.raises((ConfigError, PromptError, SnapshotError, ValueError)):
            env.reset(options=options)
    assert env.np_random_seed == like.np_random_seed
    assert np.array_equal(env.reset()[0], like.reset()[0])


OTHER_PROCESS = """
import sys
from pathlib import Path

import numpy as np
from toy_task import Count
from longlive_env.envs.prompt_env import PromptEnv

env = PromptEnv(sys.argv[1], task=Count(length=9, storm_at=3))
env.restore_state(Path(sys.argv[2]).read_bytes())
frames = [env.step(action)[0] for action in ("", sys.argv[4], "")]
np.save(sys.argv[3], np.stack([*frames, env.reset()[0]]))
"""


def test_another_process_goes_on_in_the_same_bits(small_world_folder: Path, tmp_path: Path) -> None:
    env = PromptEnv(small_world_folder, task=Count(length=9, storm_at=3))
    env.reset(seed=1)
    env.step(CAT)
    (tmp_path / "state").write_bytes(env.clone_state())
    arguments = [str(small_world_folder), str(tmp_path / "state"), str(tmp_path / "out.npy"), DOG]
    subprocess.run([sys.executable, "-c", OTHER_PROCESS, *arguments], cwd=Path(__file__).parent, check=True)
    frames = [step[0] for step in future(env)]
    assert np.array_equal(np.load(tmp_path / "out.npy"), np.stack(frames))


def test_without_generators_every_restored_world_has_another_future(make: Callable[..., PromptEnv]) -> None:
    env = make()
    env.reset(seed=1)
    data = env.clone_state(include_rng=False)
    frames = []
    for _ in range(2):
        env.restore_state(data)
        frames.append(env.step("")[0])
    assert not np.array_equal(*frames)
    env.reset(seed=5, options={"state": data})
    again = env.step("")[0]
    env.reset(seed=5, options={"state": data})
    assert np.array_equal(env.step("")[0], again)
    batch = PromptVectorEnv(2, env.world, task=env.rules.task)
    batch.restore_state(data)
    assert not np.array_equal(*batch.step(["", ""])[0])


def disturbances(envs: PromptVectorEnv, blocks: int = 16) -> list[list[tuple[int, str]]]:
    """Block and prompt of each disturbance to come, world by world."""
    found: list[list[tuple[int, str]]] = [[] for _ in range(envs.num_envs)]
    for _ in range(blocks):
        infos = envs.step([""] * envs.num_envs)[4]
        for world in np.flatnonzero(infos["disturbed"]):
            found[world].append((int(infos["block"][world]), infos["prompt"][world]))
    return found


def test_another_future_has_other_disturbances(small_world: World) -> None:
    env = PromptEnv(small_world, task=HoldTask(calm=(2, 8)))
    env.reset(seed=3)
    env.step("")
    data = env.clone_state(include_rng=False)
    own, twin = disturbances(env.fork(2))
    assert own == twin and own
    forks = [disturbances(env.fork(2, include_rng=False, seed=seed)) for seed in (1, 1, 7)]
    assert forks[0] == forks[1] != forks[2]
    batch = PromptVectorEnv(2, small_world, task=env.rules.task)
    batch.restore_state(data)
    found = [*forks[0], *forks[2], *disturbances(batch)]
    for _ in range(2):
        env.restore_state(data)
        found += disturbances(env.fork())
    assert all(1 + 1 <= one[0][0] <= 8 + 1 for one in found), "of the calm, one block has passed"
    for number, one in enumerate(found):
        assert one not in (own, *found[:number])


def test_a_single_world_goes_on_in_slots_of_a_batch(make: Callable[..., PromptEnv]) -> None:
    env = make()
    env.reset(seed=1)
    env.step(CAT)
    envs = PromptVectorEnv(3, env.world, task=env.rules.task)
    envs.reset(seed=9)
    for _ in range(4):
        envs.step(["", CAT, ""])
    data, twin = env.clone_state(), envs.fork()
    observations, infos = envs.restore_state(data, worlds=[1])
    assert_equal(observations[1], env.episodes.observations[0])
    assert list(infos["_prompt"]) == [False, True, False] and infos["prompt"][1] == CAT
    for action in ("", DOG, ""):
        ours, theirs = envs.step(["", action, ""]), twin.step(["", "", ""])
        alone = env.step(action)
        assert_equal(ours[0][1], alone[0], grey_levels=1)
        torch.testing.assert_close(
            unrounded(envs.rollout, 1), unrounded(env.rollout, 0), rtol=1e-5, atol=1e-5
        )
        assert ours[1][1] == alone[1] and infos["draw"][1] == alone[4]["draw"]
        assert_equal(ours[0][[0, 2]], theirs[0][[0, 2]], grey_levels=1)
    slot = envs.clone_state(worlds=[1])
    env.restore_state(slot)
    assert_equal(env.step("")[0], envs.step([""] * 3)[0][1], grey_levels=1)


def test_a_restored_batch_has_the_same_future_to_the_bit(make: Callable[..., PromptEnv]) -> None:
    envs = PromptVectorEnv(2, make().world, task=Count(length=3), max_episode_steps=4)
    envs.reset(seed=1)
    envs.step(["", DOG])
    envs.reset(options={"reset_mask": np.array([True, False])})
    data = envs.clone_state()
    futures = []
    for _ in range(2):
        futures.append([envs.step([DOG, ""]) for _ in range(4)])
        other = PromptVectorEnv(2, envs.world, task=Count(length=3), max_episode_steps=4)
        observations, infos = other.restore_state(data)
        assert infos["_prompt"].all() and observations.shape[0] == 2
        envs = other
    assert_equal(futures[0], futures[1])
    assert any(step[2].any() for step in futures[0])


def test_branches_of_one_world_differ_by_their_actions(make: Callable[..., PromptEnv]) -> None:
    env = make()
    env.reset(seed=1, options={"prompt": CAT})
    branches = env.fork(3, max_episode_steps=7, autoreset_mode="Disabled")
    assert branches.num_envs == 3 and branches.rules.max_steps == 7
    observations, rewards, *_ = branches.step(["", DOG, ""])
    assert np.array_equal(observations[0], observations[2])
    assert not np.array_equal(observations[0], observations[1])
    expected = env.step("")
    assert_equal(observations[0], expected[0], grey_levels=1)
    assert rewards[0] == expected[1]
    loose = env.fork(2, include_rng=False).step(["", ""])[0]
    assert not np.array_equal(*loose)


def test_forks_of_a_batch_stand_side_by_side(make: Callable[..., PromptEnv]) -> None:
    envs = PromptVectorEnv(2, make().world, prompt=[CAT, DOG], autoreset_mode="Disabled", recache="none")
    envs.reset(seed=1)
    many = envs.fork(2)
    assert many.rollout.prompts == [CAT, CAT, DOG, DOG] and many.autoreset_mode is envs.autoreset_mode
    assert many.rules.recache == "none"
    one = envs.fork(worlds=[1])
    assert one.num_envs == 1 and one.reset()[1]["prompt"][0] == DOG
    before = envs.clone_state()
    many.step([CAT, "", DOG, ""])
    assert envs.clone_state() == before


def test_elapsed_steps_of_wrappers_follow(small_world: World) -> None:
    def make() -> gym.Env[Any, Any]:
        env = gym.make(ID, world=small_world, task=Count(length=99), max_episode_steps=4)
        return wrappers.RecordEpisodeStatistics(wrappers.TransformObservation(env, lambda o: o[-1], None))

    env, other = make(), make()
    env.reset(seed=1)
    for _ in range(3):
        env.step("")
    data = clone_state(env)
    last = env.step("")
    for target in (other, env):  # one that is new, one that had come to its limit
        observation, info = restore_state(target, data)
        assert observation.shape == (32, 48, 3) and info["block"] == 3
        step = target.step("")
        assert_equal(step[0], last[0])
        assert step[3] is True and step[4]["episode"]["l"] == 4
        assert step[4]["episode"]["r"] == 2 + 3 + 4 + 5 == last[4]["episode"]["r"]
    for _ in range(6):  # looking ahead again and again does not use up the limit
        restore_state(env, data)
        assert env.step("")[3] is True
        restore_state(env, data)
    early = make()
    early.reset(seed=1)
    data = clone_state(early)
    restore_state(env, data)
    assert [env.step("")[3] for _ in range(4)] == [False, False, False, True]


def test_the_time_in_observations_follows(small_world: World) -> None:
    env = gym.make(ID, world=small_world, max_episode_steps=4)
    env = wrappers.TimeAwareObservation(env, flatten=False)
    env.reset(seed=1)
    env.step("")
    data = clone_state(env)
    want = [env.step("")[0]["time"] for _ in range(2)]
    restore_state(env, data)
    assert [env.step("")[0]["time"] for _ in range(2)] == want


def test_forks_of_wrapped_envs_keep_the_limit(small_world: World) -> None:
    env = gym.make(ID, world=small_world, task=Count(length=99), max_episode_steps=3)
    env.reset(seed=1)
    env.step("")
    branches = fork(env, 2)
    assert [list(branches.step(["", CAT])[3]) for _ in range(2)] == [[False, False], [True, True]]
    assert fork(RecordEpisodeStatistics(branches), 2).num_envs == 4
    assert fork(wrappers.TimeLimit(env, 9)).rules.max_steps == 3
    with pytest.raises(ConfigError, match="num_envs is 0"):
        fork(env, 0)


def test_a_masked_reset_restores_some_worlds(make: Callable[..., PromptEnv]) -> None:
    env = make()
    env.reset(seed=1, options={"prompt": CAT})
    envs = PromptVectorEnv(2, env.world, task=env.rules.task)
    envs.reset(seed=5)
    before = envs.episodes.observations
    options = {"state": env.clone_state(), "reset_mask": np.array([False, True])}
    observations, infos = envs.reset(options=options)
    assert np.array_equal(observations, np.stack([before[0], env.episodes.observations[0]]))
    assert list(infos["_prompt"]) == [False, True] and infos["prompt"][1] == CAT


def test_statistics_of_vector_wrappers_follow(small_world: World) -> None:
    envs = RecordEpisodeStatistics(PromptVectorEnv(2, small_world, task=Count(length=2)))
    envs.reset(seed=1)
    envs.step(["", ""])
    data = clone_state(envs)
    ends = [envs.step(["", ""])[4]["episode"] for _ in range(1)]
    restore_state(envs, data)
    again = envs.step(["", ""])[4]["episode"]
    assert list(again["r"]) == list(ends[0]["r"]) == [5, 5] and list(again["l"]) == [2, 2]
    data = clone_state(envs)  # both have ended
    restore_state(envs, data)
    envs.step(["", ""])
    assert list(envs.episode_lengths) == [0, 0]


def test_deep_copies_are_faithful(small_world: World) -> None:
    """People clone envs with `copy.deepcopy`, wrappers and all; weights are shared."""
    env = gym.make(ID, world=small_world, task=Count(length=99), max_episode_steps=3)
    env.reset(seed=1)
    env.step(CAT)
    twin = copy.deepcopy(env)
    assert twin.unwrapped.world is small_world  # type: ignore[attr-defined]
    ours, theirs = future(env, ("", DOG)), future(twin, ("", DOG))
    assert_equal(ours, theirs)
    assert ours[1][3] is theirs[1][3] is True
    envs = PromptVectorEnv(2, small_world, render_mode="human")
    envs.reset(seed=1)
    others = copy.deepcopy(envs)
    assert_equal(envs.step([DOG, ""]), others.step([DOG, ""]))
    for one in (envs, others):
        one.close()


def test_envs_refuse_to_be_pickled_and_say_what_to_do(small_world: World) -> None:
    env = gym.make(ID, world=small_world)
    env.reset(seed=1)
    for one in (env, PromptVectorEnv(2, small_world)):
        with pytest.raises(TypeError, match=r"name \(world=\"tiny\", or its folder\).*clone_state\(\)"):
            pickle.dumps(one)


def test_other_wrappers_see_a_reset(small_world: World) -> None:
    stack = wrappers.FrameStackObservation(PromptEnv(small_world), 2)
    stack.reset(seed=1)
    data = clone_state(stack)
    stack.step("")
    observation, _ = restore_state(stack, data)
    assert observation.shape == (2, 12, 32, 48, 3) and np.array_equal(observation[0], observation[1])
    repeat = wrappers.Autoreset(gym.make(ID, world=small_world, task=Count(length=1)))
    repeat.reset(seed=1)
    assert repeat.step("")[2]
    data = clone_state(repeat)
    repeat.step("")
    restore_state(repeat, data)
    assert repeat.step("")[4]["block"] == 0
    repeat = wrappers.Autoreset(gym.make(ID, world=small_world, max_episode_steps=1))
    repeat.reset(seed=1)
    assert repeat.step("")[3]
    data = clone_state(repeat)  # cut off by a wrapper, of which the env inside knows nothing
    repeat.step("")
    restore_state(repeat, data)
    assert repeat.step("")[4]["block"] == 0
    with pytest.raises(ConfigError, match="is not a prompt env"):
        clone_state(gym.make("CartPole-v1"))


def test_damage_and_strangers_are_named(make: Callable[..., PromptEnv], monkeypatch: Any) -> None:
    env = make()
    env.reset(seed=1)
    data = env.clone_state()
    for bad in (b"", b"nonsense", data[:40], env.rollout.snapshot()):
        with pytest.raises(SnapshotError, match="no env state; pass what clone_state"):
            env.restore_state(bad)
    with pytest.raises(SnapshotError, match="damaged"):
        env.restore_state(data[:-10])
    with pytest.raises(SnapshotError, match="whose task is Count, here it is None"):
        make(task=None).restore_state(data)
    envs = PromptVectorEnv(2, env.world, task=env.rules.task)
    with pytest.raises(gym.error.ResetNeeded):
        envs.restore_state(data, worlds=[0])
    envs.reset()
    two = envs.clone_state()
    with pytest.raises(SnapshotError, match="holds 2 worlds and this env runs one; clone one"):
        env.restore_state(two)
    with pytest.raises(SnapshotError, match="holds 2 worlds, and 1 are to be replaced"):
        envs.restore_state(two, worlds=[0])
    with pytest.raises(ConfigError, match="leave prompt out"):
        env.reset(options={"state": data, "prompt": CAT})
    tensors = load(data)
    header = read_header(data, "env", what="", source="")
    del header["checksum"]
    header["generators"] = [{"a": 1}]
    with pytest.raises(SnapshotError, match="env state has no checksum"):
        env.restore_state(save(tensors, {"env": json.dumps(header)}))
    with pytest.raises(SnapshotError, match="no PCG64"):
        env.restore_state(save(tensors, {"env": sealed(header, state._covered(tensors))}))
    monkeypatch.setattr(state, "VERSION", 3)
    with pytest.raises(SnapshotError, match="version 2; this release reads version 3"):
        env.restore_state(data)


def test_a_flipped_bit_is_found_wherever_it_is(make: Callable[..., PromptEnv]) -> None:
    env = make()
    env.reset(seed=1)
    env.step(CAT)
    data = env.clone_state()
    tensors = load(data)
    inside = tensors["rollout"].tobytes()
    places = [data.index(tensors[name].tobytes()[:64]) + 40 for name in ("observations", "info.0.mean")]
    places += [data.index(inside) + len(inside) * tenth // 10 for tenth in range(10)]
    places += [data.index(text) for text in (b"reward_sum", b"blocks", b"PCG64", b"info.0.mean")]
    for place in places:
        bad = bytearray(data)
        bad[place] ^= 1
        with pytest.raises(SnapshotError):
            env.restore_state(bytes(bad))
    env.restore_state(data)


def test_arrays_of_another_byte_order_are_restored(make: Callable[..., PromptEnv]) -> None:
    env = make(task=Swapped(length=9))
    env.reset(seed=1)
    assert np.array_equal(env.restore_state(env.clone_state())[1]["mean"], [1, 2])


def test_the_other_size_of_a_world_has_a_remedy(small_world: World) -> None:
    own = small_world.config.codec
    assert isinstance(own, PatchVAEConfig)
    drawn = World.from_config(small_world.config.with_codec(replace(own, detail=(8, 1))))
    drawn.tokenizer = small_world.tokenizer
    small, large = PromptEnv(small_world), PromptEnv(drawn)
    states = []
    for env in (small, large):
        env.reset(seed=1)
        states.append(env.clone_state())
    with pytest.raises(SnapshotError, match=r"codec\.detail is .* load the world with codec='light'"):
        large.restore_state(states[0])
    with pytest.raises(SnapshotError, match=r"codec\.detail is .* load the world without codec="):
        small.restore_state(states[1])


def test_nothing_is_pickled_and_no_weights_are_held(make: Callable[..., PromptEnv]) -> None:
    env = make()
    env.reset(seed=1)
    tensors = load(env.clone_state())
    assert set(tensors) == {"rollout", "observations", "info.0.mean"}
    assert tensors["rollout"].nbytes < 200_000


def test_a_task_that_cannot_be_saved_is_named(small_world: World) -> None:
    @dataclass(frozen=True)
    class Odd(Count):
        def _verdict(self, state: TaskState, block: Block) -> Verdict:
            return Verdict({**state, "blocks": np.ones(2)})

    env = PromptEnv(small_world, task=Odd())
    env.reset(seed=1)
    with pytest.raises(SnapshotError, match="a task's state may hold JSON values only"):
        env.clone_state()


@pytest.mark.parametrize(
    "entry",
    [["a", ["b"]], np.float32(0.1), np.ones((), np.int8), {"a": [1, 2]}, np.float16([1, 2]), None, True],
)
def test_infos_are_the_same_after_a_restore(small_world: World, entry: Any) -> None:
    env = PromptEnv(small_world, task=Gives(verdict=Verdict({}, info={"entry": entry})))
    env.reset(seed=1)
    before = env.step("")[4]["entry"]
    after = env.restore_state(env.clone_state())[1]["entry"]
    assert type(after) is type(before) and np.all(after == before)
    assert getattr(after, "dtype", None) == getattr(before, "dtype", None)


class InPlace(Count):
    """Changes its states in place, which the rules forbid."""

    def disturb(self, state: TaskState) -> str | None:
        return None

    def open(self, rng: np.random.Generator, prompt: str | None, options: Mapping[str, Any]) -> Opening:
        return Opening({"seen": []}, prompt)

    def _verdict(self, state: TaskState, block: Block) -> Verdict:
        state["seen"].append(block.prompt)
        return Verdict(
            state, float(len(state["seen"])), info={"parts": {"seen": state["seen"]}, "many": np.ones(2)}
        )


def test_copies_share_nothing_with_a_task_that_changes_its_state(small_world: World) -> None:
    env = PromptEnv(small_world, task=InPlace())
    env.reset(seed=1)
    copies = env.fork(2)
    assert copies.step([CAT, ""])[1].tolist() == [2.0, 2.0]
    assert copies.fork(2).step([""] * 4)[1].tolist() == [3.0] * 4
    assert copies.step(["", ""])[1].tolist() == [3.0, 3.0]
    _, reward, *_, info = env.step("")
    assert reward == 2.0
    info["parts"]["seen"], info["many"][:] = "mine", 0
    assert env.episodes.info(0)["many"].tolist() == [1, 1] and len(env.episodes.info(0)["parts"]["seen"]) == 2


@pytest.mark.parametrize("task", ["goal", "tour", "hold"])
def test_shipped_tasks_go_on_where_they_were(make: Callable[..., PromptEnv], task: str) -> None:
    env = make(task=task)
    env.reset(seed=3)
    env.step(CAT)
    data, expected = env.clone_state(), future(env)
    assert_equal(future_of(make(task=task), data), expected)


def test_other_settings_are_told(make: Callable[..., PromptEnv], caplog: pytest.LogCaptureFixture) -> None:
    env = make(
        task=GoalTask(block_cost=0.0, attributes=("subject", "setting"), varied=("setting",), changes=1)
    )
    env.reset(seed=3)
    data = env.clone_state()
    env.restore_state(data)
    assert not caplog.messages
    make(task=GoalTask(block_cost=5.0, changes=1), recache="clear").restore_state(data)
    (told,) = caplog.messages
    assert told.startswith(
        "the state is of an env with other settings: recache was 'full', here it is 'clear'"
    )
    assert "block_cost was 0.0, here it is 5.0" in told and "attributes was ['subject', 'setting']" in told
    assert "changes" not in told and "reward_fn" not in told


def future_of(env: PromptEnv, data: bytes) -> list[Any]:
    """What an env gives after it was restored."""
    env.restore_state(data)
    return future(env)


def test_monitors_of_stable_baselines_follow(small_world: World) -> None:
    library = pytest.importorskip("stable_baselines3.common.monitor", reason="needs stable_baselines3")
    env = library.Monitor(wrappers.TimeLimit(PromptEnv(small_world, task=Count(length=9)), 3))
    env.reset(seed=1)
    env.step("")
    kept = clone_state(env)
    ends = []
    for _ in range(2):
        env.step("")
        ends.append(env.step("")[4]["episode"])
        restore_state(env, kept)
    assert [{name: end[name] for name in ("r", "l")} for end in ends] == [{"r": 9.0, "l": 3}] * 2
    for _ in range(2):
        env.step("")
    restore_state(env, clone_state(env))
    with pytest.raises(RuntimeError, match="needs reset"):
        env.step("")


def test_futures_of_copies_can_be_seeded(make: Callable[..., PromptEnv]) -> None:
    env = make()
    env.reset(seed=1)
    same, again, other = (env.fork(2, include_rng=False, seed=seed).step(["", ""])[0] for seed in (3, 3, 4))
    assert np.array_equal(same, again) and not np.array_equal(same, other)
    assert not np.array_equal(same[0], same[1])
    batch = env.fork(1)
    first, second = (batch.fork(2, include_rng=False, seed=3).step(["", ""])[0] for _ in range(2))
    assert np.array_equal(first, second)
    with pytest.raises(ConfigError, match="need no seed; give include_rng=False"):
        env.fork(seed=3)


@pytest.mark.parametrize("mode", ["NextStep", "Disabled"])
def test_an_episode_that_was_cut_off_is_over_in_a_batch(small_world: World, mode: str) -> None:
    env = wrappers.TimeLimit(PromptEnv(small_world, task=Count(length=9)), 2)
    env.reset(seed=1)
    env.step("")
    assert env.step("")[3]
    envs = PromptVectorEnv(1, small_world, task=Count(length=9), max_episode_steps=2, autoreset_mode=mode)
    envs.reset(seed=2)
    restore_state(envs, clone_state(env))
    assert envs.episodes.ended.tolist() == [True]
    forked = fork(env, 2)
    assert forked.episodes.ended.tolist() == [True, True]


@pytest.mark.parametrize("mode", ["NextStep", "Disabled"])
def test_an_episode_that_was_cut_off_goes_on_under_another_limit(small_world: World, mode: str) -> None:
    task = Count(length=9)
    short = PromptVectorEnv(1, small_world, task=task, max_episode_steps=1, autoreset_mode=mode)
    long = PromptVectorEnv(1, small_world, task=task, max_episode_steps=9, autoreset_mode=mode)
    single = PromptEnv(small_world, task=task)
    for env in (short, long, single):
        env.reset(seed=1)
    assert short.step([""])[3].tolist() == [True]
    data = short.clone_state()
    single.restore_state(data)
    assert not single.episodes.ended[0]
    assert single.step("")[1] == 3  # blocks so far
    long.restore_state(data)
    _, rewards, _, truncated, infos = long.step([""])
    assert rewards.tolist() == [3] and infos["block"].tolist() == [2] and truncated.tolist() == [False]


def test_what_is_no_state_is_named(make: Callable[..., PromptEnv]) -> None:
    env = make()
    for wrong in (None, "x", 3):
        with pytest.raises(SnapshotError, match="expected the bytes that clone_state"):
            env.reset(options={"state": wrong})
    env.reset(seed=1)
    for kind in (bytearray, memoryview):  # as sockets and shared memory return bytes
        observation, info = env.restore_state(kind(env.clone_state()))
        assert np.array_equal(observation, env.episodes.observations[0]) and info["block"] == 0


def test_a_state_through_a_reset_says_that_the_limit_of_steps_is_lost(small_world_folder: Path) -> None:
    env = gym.make(ID, world=str(small_world_folder), max_episode_steps=2)
    env.reset(seed=1)
    early = clone_state(env)
    env.step("")
    data = clone_state(env)
    with pytest.warns(UserWarning, match=r"is at step 1, .*envs\.stateful\.restore_state") as told:
        env.reset(options={"state": data})
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.reset(options={"state": early})
        restore_state(env, data)
        assert env.step("")[3]
        bare = PromptEnv(str(small_world_folder))
        bare.reset(options={"state": data})
    with pytest.raises(SnapshotError):
        restore_state(env, b"x")
    with pytest.warns(UserWarning, match="at step 1"):
        env.reset(options={"state": data})


def test_a_fork_of_an_episode_that_has_ended_says_what_it_will_do(small_world: World) -> None:
    env = wrappers.TimeLimit(PromptEnv(small_world, task=Count(length=3)), 2)
    env.reset(seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.step("")
        fork(env)
        env.step("")  # cut off, of which the env inside knows nothing
        env.unwrapped.fork()
        env.unwrapped.fork(max_episode_steps=2, autoreset_mode="Disabled")
    with pytest.warns(UserWarning, match="episode has ended, so the first step of the copies .*reset"):
        copies = fork(env)
    assert copies.step([CAT])[4]["block"].tolist() == [0]
    env.step("")
    with pytest.warns(UserWarning, match="episode has ended"):
        env.unwrapped.fork()
