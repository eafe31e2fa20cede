"""The native vector env: every world is what it is alone, on a very small world with random weights."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics
from hypothesis import given, settings
from hypothesis import strategies as st
from pixels import shot, unrounded
from toy_task import STORM, Count, Fails

from longlive_env import World
from longlive_env.envs import goals
from longlive_env.envs.prompt_env import PromptEnv
from longlive_env.envs.vector_env import PromptVectorEnv
from longlive_env.errors import ConfigError, PromptError
from longlive_env.tiny.scene import Scene

ID = "LongLive/Tiny-v0"
CAT, DOG, ROBOT = "a red cat jumps in the city", "a blue car moves left on the beach", "a robot in the forest"
MODES = list(AutoresetMode)


@pytest.fixture
def make(small_world: World) -> Iterator[Callable[..., PromptVectorEnv]]:
    made = []

    def make_envs(num_envs: int = 2, **kwargs: Any) -> PromptVectorEnv:
        made.append(PromptVectorEnv(num_envs, small_world, **kwargs))
        return made[-1]

    yield make_envs
    for envs in made:
        envs.close()


def assert_same_world(envs: PromptVectorEnv, world: int, alone: PromptEnv) -> None:
    """A world of a batch shows and says what it does alone."""
    ours, theirs = envs.episodes.observations[world], alone.episodes.observations[0]
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    torch.testing.assert_close(
        unrounded(envs.rollout, world), unrounded(alone.rollout, 0), rtol=1e-5, atol=1e-5
    )
    mine, other = envs.episodes.info(world), alone.episodes.info(0)
    assert {**mine, "mean": None} == {**other, "mean": None}


def test_make_vec_gives_it(small_world_folder: Path) -> None:
    envs = gym.make_vec(ID, num_envs=3, world=str(small_world_folder), max_episode_steps=5)
    assert isinstance(envs, PromptVectorEnv) and envs.rules.max_steps == 5
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert envs.metadata["render_fps"] == 16 and isinstance(envs.metadata["render_fps"], int)
    assert envs.single_observation_space == gym.make(ID, world=str(small_world_folder)).observation_space
    observations, infos = envs.reset(seed=3)
    assert observations in envs.observation_space and observations.shape == (3, 12, 32, 48, 3)
    assert set(infos) == {f"{_}{name}" for name in envs.episodes.info(0) for _ in ("", "_")}
    actions = envs.action_space.sample()
    observations, rewards, terminated, truncated, infos = envs.step(actions)
    assert observations in envs.observation_space and tuple(infos["prompt"]) == actions
    assert rewards.dtype == np.float64 and terminated.dtype == truncated.dtype == np.bool_
    alone = gym.make_vec(ID, world=str(small_world_folder))
    assert isinstance(alone, PromptVectorEnv) and alone.num_envs == 1 and alone.rules.max_steps == 320
    for unlimited in (-1, None):
        endless = gym.make_vec(ID, world=str(small_world_folder), max_episode_steps=unlimited)
        assert isinstance(endless, PromptVectorEnv) and endless.rules.max_steps is None
    same = gym.make_vec(ID, world=str(small_world_folder), autoreset_mode="SameStep")
    assert same.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert json.loads(gym.spec(ID).to_json())["vector_entry_point"]
    envs.close()


OPERATIONS = st.one_of(
    st.tuples(st.just("step"), st.tuples(*[st.sampled_from(["", "", CAT, DOG, ROBOT])] * 3)),
    st.tuples(st.just("reset"), st.tuples(*[st.booleans()] * 3).filter(any)),
    st.tuples(st.just("copy"), st.tuples(st.integers(0, 2), st.integers(0, 2))),
    st.tuples(st.just("fork"), st.just(())),
)


@settings(max_examples=10, derandomize=True)
@given(operations=st.lists(OPERATIONS, min_size=3, max_size=7), mode=st.sampled_from(MODES))
def test_any_interleaving_leaves_every_world_as_it_is_alone(
    small_world: World, operations: list[tuple[str, Any]], mode: AutoresetMode
) -> None:
    """Steps, switches, resets, copies and forks, with episodes that end, against three single envs."""
    task = Count(length=4, storm_at=2)
    envs = PromptVectorEnv(3, small_world, task=task, autoreset_mode=mode)
    alone = [PromptEnv(small_world, task=task) for _ in range(3)]
    envs.reset(seed=5, options={"length": 3})
    for world, env in enumerate(alone):
        env.reset(seed=5 + world, options={"length": 3})
    for name, what in operations:
        if name == "step":
            over = envs.episodes.ended
            if mode is AutoresetMode.DISABLED and over.any():
                envs.reset(options={"reset_mask": over})
                for world in np.flatnonzero(over):
                    alone[world].reset()
                over = np.zeros(3, np.bool_)
            _, rewards, terminated, _, _ = envs.step(what)
            for world, env in enumerate(alone):
                if over[world]:
                    env.reset()
                    assert rewards[world] == 0 and not terminated[world]
                    continue
                _, reward, ended, _, _ = env.step(what[world])
                assert (reward, ended) == (rewards[world], terminated[world])
                if ended and mode is AutoresetMode.SAME_STEP:
                    env.reset()
        elif name == "reset":
            envs.reset(options={"reset_mask": np.array(what), "prompt": CAT})
            for world in np.flatnonzero(what):
                alone[world].reset(options={"prompt": CAT})
        elif name == "copy":
            source, target = what
            envs.restore_state(envs.clone_state(worlds=[source]), worlds=[target])
            alone[target].restore_state(alone[source].clone_state())
        else:
            envs = envs.fork()
        for world, env in enumerate(alone):
            assert_same_world(envs, world, env)


def test_worlds_without_a_seed_differ(make: Callable[..., PromptVectorEnv]) -> None:
    envs = make(3)
    assert len({one.integers(2**32) for one in envs.np_random}) == len(set(envs.np_random_seed)) == 3


def test_a_seed_is_that_of_a_single_env(make: Callable[..., PromptVectorEnv]) -> None:
    envs = make(3)
    counted, infos = envs.reset(seed=7)
    assert envs.np_random_seed == (7, 8, 9) and len(envs.np_random) == 3
    listed, same = envs.reset(seed=[7, 8, 9])
    assert np.array_equal(counted, listed) and list(infos["prompt"]) == list(same["prompt"])
    alone = PromptEnv(envs.world)
    alone.reset(seed=8)
    assert_same_world(envs, 1, alone)
    before = envs.episodes.observations[1]
    envs.reset(seed=[7, None, 9])
    assert not np.array_equal(envs.episodes.observations[1], before)
    assert np.array_equal(envs.episodes.observations[[0, 2]], counted[[0, 2]])


def test_prompts_of_a_reset_and_of_all_resets(make: Callable[..., PromptVectorEnv]) -> None:
    envs = make(2, prompt=[CAT, None], max_episode_steps=1)
    assert list(envs.reset(options={"prompt": DOG})[1]["prompt"]) == [DOG, DOG]
    assert list(envs.reset(options={"prompt": [ROBOT, DOG]})[1]["prompt"]) == [ROBOT, DOG]
    infos = envs.reset(seed=1)[1]
    assert (
        infos["prompt"][0] == CAT and infos["prompt"][1] == PromptEnv(envs.world).reset(seed=2)[1]["prompt"]
    )
    envs.step(["", DOG])
    infos = envs.step(["", ""])[4]  # both start anew by themselves
    assert infos["prompt"][0] == CAT and list(infos["block"]) == [0, 0] and infos["prompt"][1] != DOG


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ("ab", r"text 'ab' for 2 worlds, and would take letters for prompts; give 2 prompts"),
        (b"ab", "text b'ab'"),
        ([CAT], "got 1 prompts for 2 worlds"),
        ([[CAT], [DOG]], "give a sequence of 2 prompts"),
        ({CAT, DOG}, "give a sequence of 2 prompts"),
        (3, "give a sequence of 2 prompts"),
        ([CAT, 3], "the prompt is 3"),
        ([DOG, "a\ncat"], "control character"),
    ],
)
def test_wrong_actions_move_no_world(
    make: Callable[..., PromptVectorEnv], actions: Any, message: str
) -> None:
    envs, other = make(prompt=CAT, max_episode_steps=1), make(prompt=CAT, max_episode_steps=1)
    for one in (envs, other):
        one.reset(seed=[1, 2])
        one.episodes.episodes[0] = replace(one.episodes.episodes[0], terminated=True)  # this one starts anew
    with pytest.raises(PromptError, match=message):
        envs.step(actions)
    assert np.array_equal(envs.step(["", DOG])[0], other.step(["", DOG])[0])


def test_arrays_of_texts_are_actions(make: Callable[..., PromptVectorEnv]) -> None:
    envs = make()
    envs.reset(seed=1)
    infos = envs.step(np.array([CAT, DOG]))[4]
    assert list(infos["prompt"]) == [CAT, DOG] and list(infos["recached"]) == [True, True]
    assert envs.timing["recache_ms"] > 0 and envs.timing["total_ms"] > envs.timing["denoise_ms"] > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda e: e.reset(options={"reset_mask": [True, False]}),
            r"is \[True, False\]; expected a numpy",
        ),
        (lambda e: e.reset(options={"reset_mask": np.ones(3, np.bool_)}), r"is bool \[3\]; .* bool \[2\]"),
        (lambda e: e.reset(options={"reset_mask": np.ones(2)}), r"is float64 \[2\]"),
        (lambda e: e.reset(options={"reset_mask": np.zeros(2, np.bool_)}), "chooses no world"),
        (lambda e: e.reset(options={"prompts": [CAT, DOG]}), "did you mean 'prompt'"),
        (lambda e: e.reset(options={"prompt": [CAT]}), "got 1 prompts for 2 worlds"),
        (lambda e: e.reset(options={"goal": "a cat"}), "no option 'goal'"),
        (lambda e: e.reset(options=[]), r"options of reset are \[\]; expected a dict"),
        (lambda e: e.reset(options=["prompt"]), r"options of reset are \['prompt'\]; expected a dict"),
        (lambda e: e.reset(seed=[1]), "got 1 seeds for 2 worlds"),
        (lambda e: e.fork(0), "n is 0"),
        (lambda e: e.fork(worlds=[2]), "no world 2; this env has worlds 0 to 1"),
        (lambda e: e.fork(1.5), "n is 1.5; expected a whole number of copies from 1 on"),
        (lambda e: e.clone_state(worlds=1), "worlds is 1; expected a list of indices"),
        (lambda e: e.clone_state(worlds=[]), r"worlds are \[\]"),
    ],
)
def test_impossible_requests(make: Callable[..., PromptVectorEnv], call: Any, message: str) -> None:
    envs = make()
    envs.reset(seed=1)
    with pytest.raises(ConfigError, match=message):
        call(envs)


def test_each_world_may_have_a_goal_of_its_own(make: Callable[..., PromptVectorEnv]) -> None:
    envs = make(task="goal")
    asked = ["a red cat in the city", "a blue car on the moon"]
    assert list(envs.reset(seed=1, options={"goal": asked})[1]["goal"]) == asked
    mask = np.array([False, True])
    assert envs.reset(options={"goal": ["a cat", "a robot"], "reset_mask": mask})[1]["goal"][1] == "a robot"
    assert envs.episodes.info(0)["goal"] == asked[0]
    one, other = envs.reset(seed=1, options={"goal": [None, "a robot"]})[1]["goal"]
    assert other == "a robot" and one == envs.reset(seed=1)[1]["goal"][0]
    assert list(envs.reset(options={"goal": "a cat"})[1]["goal"]) == ["a cat"] * 2
    with pytest.raises(ConfigError, match="got 1 goals for 2 worlds; give one for each"):
        envs.reset(options={"goal": ["a cat"]})
    with pytest.raises(ConfigError, match="the goal is 3; expected a text"):
        envs.reset(options={"goal": 3})


def test_each_world_may_have_a_goal_picture_of_its_own(make: Callable[..., PromptVectorEnv]) -> None:
    envs = make(task="goal")
    scenes = [Scene("cat", "red", place, "night", "left") for place in ("city", "moon")]
    told = [goals.describe(goals.values_of(scene, goals.LOOKS)) for scene in scenes]
    blocks = [shot(scene) for scene in scenes]
    assert list(envs.reset(options={"goal_image": [block[3] for block in blocks]})[1]["goal"]) == told
    assert list(envs.reset(options={"goal_image": blocks[1][3]})[1]["goal"]) == told[1:] * 2
    whole = [goals.describe_scene(scene) for scene in scenes]
    assert list(envs.reset(options={"goal_image": np.stack(blocks)})[1]["goal"]) == whole
    one, other = envs.reset(options={"goal_image": [None, blocks[1]], "goal": ["a cat", None]})[1]["goal"]
    assert (one, other) == ("a cat", whole[1])
    with pytest.raises(ConfigError, match="a picture for each of 2 worlds"):
        envs.reset(options={"goal_image": np.stack([block[3] for block in blocks])})


def test_impossible_arguments(make: Callable[..., PromptVectorEnv]) -> None:
    for kwargs, message in (
        ({"num_envs": 0}, "num_envs is 0; expected a whole number from 1 on"),
        ({"num_envs": 2.0}, r"num_envs is 2\.0"),
        ({"num_envs": "2"}, "num_envs is '2'"),
        ({"max_episode_steps": 0}, "max_episode_steps is 0"),
        ({"autoreset_mode": "never"}, "autoreset_mode is 'never'; expected one of 'NextStep'"),
        ({"prompt": [CAT] * 3}, "got 3 prompts for 2 worlds"),
        ({"render_mode": "ansi"}, "render_mode is 'ansi'"),
        ({"recache": "half"}, "recache is 'half'"),
    ):
        with pytest.raises(ConfigError, match=message):
            make(**kwargs)


def test_a_failed_reset_leaves_no_trace(make: Callable[..., PromptVectorEnv]) -> None:
    envs, other = make(), make()
    for one in (envs, other):
        one.reset(seed=1)
    with pytest.raises(PromptError, match="empty"):
        envs.reset(options={"prompt": [CAT, " "]})
    with pytest.raises(PromptError, match="control"):
        envs.reset(seed=9, options={"prompt": [CAT, "a\x00"]})
    assert np.array_equal(envs.reset()[0], other.reset()[0])


@pytest.mark.parametrize(
    ("mode", "at"), [("NextStep", 2), ("NextStep", 3), ("Disabled", 2), ("SameStep", 2), ("SameStep", 3)]
)
def test_worlds_whose_step_has_failed_are_reset(
    make: Callable[..., PromptVectorEnv], mode: str, at: int
) -> None:
    """The third judgement is of an episode that begins, in the step that ends the last one or in the next."""
    task = Fails(length=1, at=at)
    envs = make(task=task, autoreset_mode=mode)
    envs.reset(seed=1)
    with pytest.raises(TimeoutError, match="the judge is busy"):
        for _ in range(2):
            envs.step([CAT, ""])
    mask = np.array([True, False])
    for call in (
        lambda: envs.step(["", ""]),
        envs.clone_state,
        lambda: envs.reset(options={"reset_mask": mask}),
    ):
        with pytest.raises(gym.error.ResetNeeded, match=r"last step failed .*; call env\.reset"):
            call()
    observations, infos = envs.reset(seed=1)
    other = make(task=Count(length=1), autoreset_mode=mode)
    assert np.array_equal(observations, other.reset(seed=1)[0]) and infos["block"].tolist() == [0, 0]
    assert envs.step([DOG, ""])[1].tolist() == other.step([DOG, ""])[1].tolist()


def test_a_reset_of_some_worlds_that_fails_leaves_the_others(make: Callable[..., PromptVectorEnv]) -> None:
    envs = make(task=Fails(length=9, at=3), autoreset_mode="Disabled")
    envs.reset(seed=1)
    envs.step(["", ""])
    options = {"reset_mask": np.array([True, False])}
    with pytest.raises(TimeoutError):
        envs.reset(options=options)
    assert envs.step(["", ""])[4]["block"].tolist() == [2, 2]
    with pytest.raises(PromptError):
        envs.step(["", 3])
    assert envs.reset(options=options)[1]["block"][0] == 0


def test_worlds_have_to_be_started(make: Callable[..., PromptVectorEnv]) -> None:
    envs = make(render_mode="rgb_array")
    mask = np.array([True, False])
    for call in (
        lambda: envs.step([CAT, DOG]),
        envs.render,
        lambda: envs.timing,
        lambda: envs.reset(options={"reset_mask": mask}),
        envs.clone_state,
    ):
        with pytest.raises(gym.error.ResetNeeded, match=r"call env\.reset"):
            call()
    envs.reset()
    envs.close()
    with pytest.raises(gym.error.ResetNeeded):
        envs.step([CAT, DOG])


def test_next_step_autoreset(make: Callable[..., PromptVectorEnv]) -> None:
    envs = make(task=Count(length=2), prompt=CAT)
    envs.reset(seed=1, options={"length": 1})
    _, rewards, terminated, truncated, infos = envs.step([DOG, DOG])
    assert list(rewards) == [2, 2] and terminated.all() and not truncated.any()
    assert list(infos["blocks"]) == [2, 2] and infos["switched"].all() and "final_obs" not in infos
    observations, rewards, terminated, _, infos = envs.step([DOG, DOG])
    assert not rewards.any() and not terminated.any()
    assert list(infos["blocks"]) == [1, 1] and list(infos["prompt"]) == [CAT, CAT]
    assert not infos["asked"].any() and list(infos["block"]) == [0, 0]
    assert all(np.array_equal(observations[:, i], observations[:, 0]) for i in (1, 2, 3))  # 9 frames
    assert [envs.step(["", ""])[2].all() for _ in range(2)] == [False, True]  # options held once


def test_same_step_autoreset(make: Callable[..., PromptVectorEnv]) -> None:
    envs = make(task=Count(length=2), prompt=CAT, autoreset_mode="SameStep")
    envs.reset(seed=1)
    envs.reset(options={"reset_mask": np.array([True, False]), "length": 1})
    twin = envs.fork()
    observations, rewards, terminated, _, infos = envs.step([DOG, ROBOT])
    assert list(rewards) == [2, 2] and list(terminated) == [True, False]
    assert list(infos["_final_obs"]) == [True, False] and infos["final_obs"][0].shape == (12, 32, 48, 3)
    assert infos["final_info"]["prompt"][0] == DOG and infos["final_info"]["blocks"][0] == 2
    assert list(infos["prompt"]) == [CAT, ROBOT] and list(infos["block"]) == [0, 1]
    assert not np.array_equal(infos["final_obs"][0], observations[0])
    twin.autoreset_mode = AutoresetMode.NEXT_STEP
    ends = twin.step([DOG, ROBOT])[0]
    assert np.array_equal(ends[0], infos["final_obs"][0]) and np.array_equal(ends[1], observations[1])
    starts = twin.step(["", ""])[0]
    assert np.abs(starts[0].astype(int) - observations[0]).max() <= 1
    spent = envs.episodes.timing["total_ms"] = 1e9
    envs.episodes.restart({0: envs._next_start(0)})
    assert envs.timing["total_ms"] > spent  # both count


def test_disabled_autoreset(make: Callable[..., PromptVectorEnv]) -> None:
    envs = make(task=Count(length=2), prompt=CAT, autoreset_mode=AutoresetMode.DISABLED)
    envs.reset(seed=1)
    envs.reset(options={"reset_mask": np.array([False, True]), "length": 1})
    observations, _, terminated, truncated, _ = envs.step(["", ""])
    assert list(terminated) == [False, True]
    with pytest.raises(gym.error.ResetNeeded, match=r"worlds \[1\] have ended; .*reset_mask"):
        envs.step(["", ""])
    options = {"reset_mask": terminated | truncated, "prompt": [ROBOT, DOG]}
    after, infos = envs.reset(options=options)
    assert "reset_mask" in options  # it is the caller's
    assert np.array_equal(after[0], observations[0]) and not np.array_equal(after[1], observations[1])
    assert list(infos["_prompt"]) == [False, True] and infos["prompt"][1] == DOG
    assert list(envs.step(["", ""])[2]) == [True, False]


def test_the_limit_of_steps_counts_for_each_world(make: Callable[..., PromptVectorEnv]) -> None:
    envs = make(max_episode_steps=2, prompt=CAT)
    envs.reset(seed=1)
    envs.step(["", ""])
    envs.reset(options={"reset_mask": np.array([True, False])})
    steps = [envs.step(["", ""]) for _ in range(4)]
    assert [list(step[3]) for step in steps] == [[False, True], [True, False], [False, False], [False, True]]
    assert not any(step[2].any() for step in steps)


def test_a_disturbance_takes_the_place_of_the_action(make: Callable[..., PromptVectorEnv]) -> None:
    envs = make(task=Count(length=9, storm_at=2), prompt=CAT)
    envs.reset(seed=1)
    envs.step(["", DOG])
    infos = envs.step(["", ROBOT])[4]
    assert list(infos["prompt"]) == [STORM, STORM]
    assert list(infos["asked"]) == [False, True] and not infos["switched"].any() and infos["recached"].all()
    infos = envs.step(["", ROBOT])[4]
    assert list(infos["prompt"]) == [STORM, ROBOT] and list(infos["switched"]) == [False, True]


def test_worlds_start_from_frames(make: Callable[..., PromptVectorEnv]) -> None:
    envs = make(prompt=CAT)
    clip = np.random.default_rng(0).integers(256, size=(21, 32, 48, 3)).astype(np.uint8)
    envs.reset(seed=1, options={"frames": [clip, None]})
    for world, options in ((0, {"frames": clip}), (1, {})):
        alone = PromptEnv(envs.world, prompt=CAT)
        alone.reset(seed=1 + world, options=options)
        assert_same_world(envs, world, alone)
    infos = envs.step(["", ""])[4]
    assert list(infos["block"]) == [1, 1] and list(infos["seconds"]) == [24 / 16, 21 / 16]
    with pytest.raises(ConfigError, match="resize"):
        envs.reset(options={"frames": clip[:, :8]})


@pytest.mark.parametrize("mode", MODES)
def test_episode_statistics(make: Callable[..., PromptVectorEnv], mode: AutoresetMode) -> None:
    envs = RecordEpisodeStatistics(make(task=Count(length=2), autoreset_mode=mode))
    envs.reset(seed=1)
    finished = []
    for _ in range(5):
        _, _, terminated, truncated, infos = envs.step(["", ""])
        over = terminated | truncated
        if over.any():
            finished.append((infos["episode"]["r"][0], infos["episode"]["l"][0]))
            if mode is AutoresetMode.DISABLED:
                envs.reset(options={"reset_mask": over})
    assert finished == [(5.0, 2)] * 2


def test_infos_as_lists(make: Callable[..., PromptVectorEnv]) -> None:
    envs = DictInfoToList(make(task=Count(length=1), autoreset_mode="SameStep", prompt=CAT))
    _, infos = envs.reset(seed=1)
    assert infos[0]["prompt"] == CAT and infos[0]["unknown_words"] == ()
    infos = envs.step([DOG, ""])[4]
    assert infos[0]["final_info"]["prompt"] == DOG and infos[0]["prompt"] == CAT
    assert infos[0]["final_obs"].shape == (12, 32, 48, 3) and infos[0]["mean"].shape == (3,)


def test_generators_can_be_assigned(make: Callable[..., PromptVectorEnv]) -> None:
    envs, other = make(), make()
    expected, _ = other.reset(seed=5)
    envs.np_random = [np.random.Generator(np.random.PCG64(seed)) for seed in (5, 6)]  # type: ignore[misc]
    for one, seed in zip(envs.np_random, (5, 6), strict=True):
        one.bit_generator.state = gym.utils.seeding.np_random(seed)[0].bit_generator.state
    assert envs.np_random_seed == (-1, -1) and np.array_equal(envs.reset()[0], expected)
    for wrong in (np.random.default_rng(0), [np.random.default_rng(0)], [1, 2], None):
        with pytest.raises(ConfigError, match=r"np_random is .*; expected 2 generators"):
            envs.np_random = wrong  # type: ignore[misc]


def test_rendering(make: Callable[..., PromptVectorEnv]) -> None:
    envs, single, silent = make(render_mode="rgb_array_list"), make(render_mode="rgb_array"), make()
    for one in (envs, single, silent):
        observations, _ = one.reset(seed=1)
    lists, last = envs.render(), single.render()
    assert lists is not None and last is not None
    assert [len(frames) for frames in lists] == [9, 9]
    assert all(np.array_equal(np.stack(frames), observations[i, 3:]) for i, frames in enumerate(lists))
    assert all(np.array_equal(frame, observations[i, -1]) for i, frame in enumerate(last))
    assert silent.render() is None
    blocks = [envs.step(["", ""])[0] for _ in range(2)]
    lists = envs.render()
    assert lists is not None and np.array_equal(np.array(lists), np.concatenate(blocks, axis=1))
    assert envs.render() == ([], [])
    envs.step(["", ""])
    anew = envs.reset(seed=1, options={"reset_mask": np.array([True, False])})[0]
    lists = envs.render()
    assert lists is not None and [len(frames) for frames in lists] == [9, 12]
    assert np.array_equal(np.stack(lists[0]), anew[0, 3:]) and np.array_equal(np.stack(lists[1]), anew[1])
    copies = envs.fork(2).render()
    assert copies is not None and [len(frames) for frames in copies] == [9, 9, 12, 12]


def test_lists_of_frames_go_on_where_worlds_reset_themselves(make: Callable[..., PromptVectorEnv]) -> None:
    settings = {"render_mode": "rgb_array_list", "max_episode_steps": 1}
    for mode, steps in ((AutoresetMode.NEXT_STEP, 2), (AutoresetMode.SAME_STEP, 1)):
        envs = make(autoreset_mode=mode, **settings)
        envs.reset(seed=1)
        last = []
        for _ in range(steps):
            infos = envs.step(["", ""])[4]
            if mode is AutoresetMode.SAME_STEP:
                last.append(infos["final_obs"][1].copy())
                infos["final_obs"][1][:] = 0  # it is the caller's
        lists = envs.render()
        assert lists is not None and [len(frames) for frames in lists] == [9 + 12 + 9] * 2
        assert not last or np.array_equal(lists[1][9:21], last[0])


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_lists_of_frames_that_nobody_renders_hold_two_episodes(
    make: Callable[..., PromptVectorEnv], mode: AutoresetMode
) -> None:
    envs = make(render_mode="rgb_array_list", max_episode_steps=2, autoreset_mode=mode)
    envs.reset(seed=1)
    seen = [envs.step(["", ""]) for _ in range(6)]
    lists = envs.render()
    assert lists is not None and envs.render() == ([], [])
    assert [len(frames) for frames in lists] == [9 + 12 + 12 + 9] * 2
    assert np.array_equal(np.stack(lists[0][-9:]), seen[-1][0][0, -9:])


def test_the_window_shows_all_worlds(make: Callable[..., PromptVectorEnv]) -> None:
    import pygame

    envs = make(3, render_mode="human")
    observations, _ = envs.reset(seed=1)
    assert envs.render() is None
    screen = pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)
    rows, columns = 2, 2
    factor = screen.shape[0] // (rows * 32)
    assert screen.shape == (rows * 32 * factor, columns * 48 * factor, 3)
    assert np.array_equal(screen[::factor, ::factor][32:, :48], observations[2, -1])
    for _ in range(2):
        envs.close()
        assert not pygame.display.get_init()
        envs.reset(seed=1)
    envs.close()


def test_videos_of_all_worlds(
    make: Callable[..., PromptVectorEnv], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under Gymnasium's recorder; only the encoder of mp4 is left out, which is no dependency of ours."""
    from gymnasium.wrappers.vector import RecordVideo

    class Clip:
        def __init__(self, frames: list[Any], fps: int) -> None:
            self.shapes, self.fps = {frame.shape for frame in frames}, fps

        def write_videofile(self, path: str, logger: None) -> None:
            Path(path).write_text(f"{self.shapes} {self.fps}")

    for name in ("moviepy", "moviepy.video", "moviepy.video.io", "moviepy.video.io.ImageSequenceClip"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(sys.modules[name], "ImageSequenceClip", Clip, raising=False)
    envs = RecordVideo(
        make(render_mode="rgb_array", max_episode_steps=2), str(tmp_path / "videos"), video_length=2
    )
    envs.reset(seed=1)
    for _ in range(4):
        envs.step(["", ""])
    envs.close()
    assert {path.read_text() for path in tmp_path.rglob("*.mp4")} == {"{(32, 96, 3)} 16"}
