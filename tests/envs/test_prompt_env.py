"""The env under Gymnasium's API, on a very small world with random weights."""

import contextlib
import functools
import gc
import json
import multiprocessing
import subprocess
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from toy_task import Count, Fails, Gives

import longlive_env
from longlive_env import World, envs
from longlive_env.agents import RandomAgent, ScriptedAgent, play_episode
from longlive_env.engine.load_options import LoadOptions
from longlive_env.engine.memory import MemoryPlan
from longlive_env.envs import world_cache
from longlive_env.envs.prompt_env import PromptEnv
from longlive_env.envs.task import OWN_INFO, Block, Opening, TaskState, Verdict
from longlive_env.envs.vector_env import PromptVectorEnv
from longlive_env.envs.window import Window, enlargement, shown_size
from longlive_env.errors import ConfigError, MissingExtraError, PromptError
from longlive_env.frames import Frames
from longlive_env.scenario import Change, Cue, Moment, Scenario

ID = "LongLive/Tiny-v0"
CAT, DOG = "a red cat jumps in the city", "a blue car moves left on the beach"

FORK = """
import os, sys, gymnasium, torch
torch.set_num_threads(2)
gymnasium.make("longlive_env:LongLive/Tiny-v0", world=sys.argv[1]).reset(seed=1)
if not hasattr(os, "fork"):
    sys.exit()
much = torch.ones(1 << 20)
much.exp()  # on both threads
child = os.fork()
if not child:
    os._exit(int(much.exp().isnan().any()))
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.fixture(autouse=True)
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


@pytest.fixture
def make(small_world: World) -> Iterator[Callable[..., PromptEnv]]:
    made = []

    def make_env(**kwargs: Any) -> PromptEnv:
        made.append(PromptEnv(small_world, **kwargs))
        return made[-1]

    yield make_env
    for env in made:
        env.close()


def test_a_terminated_episode_goes_on_with_a_warning(make: Callable[..., PromptEnv]) -> None:
    env = make(task=Count(length=1))
    env.reset(seed=1)
    assert env.step("")[2]
    with pytest.warns(UserWarning, match="terminated, and rewards mean nothing any more; call reset"):
        env.step("")
    env.reset(seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.step("")


def test_registered_ids() -> None:
    for env_id, world in ((ID, "tiny"), ("LongLive/1.3B-v0", "1.3b")):
        spec = gym.spec(env_id)
        assert spec.kwargs["world"] == world
        assert spec.max_episode_steps == 320 and not spec.nondeterministic
        assert EnvSpec.from_json(spec.to_json()) == spec
        json.dumps(spec.kwargs)


def test_importing_the_package_does_not_load_torch() -> None:
    code = "import sys, longlive_env; longlive_env.__version__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
    assert longlive_env.World is World
    assert (envs.PromptEnv, envs.PromptVectorEnv) == (PromptEnv, PromptVectorEnv)
    with pytest.raises(AttributeError, match="no attribute 'Wrld'"):
        longlive_env.Wrld  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'PromtEnv'"):
        envs.PromtEnv  # noqa: B018


@pytest.mark.parametrize("env_id", sorted(one for one in gym.registry if one.startswith("LongLive/")))
def test_check_env_finds_nothing(small_world_folder: Path, env_id: str) -> None:
    """Every registered id, in every render mode."""
    env = gym.make(f"longlive_env:{env_id}", world=str(small_world_folder), device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
    env.close()


def test_worlds_are_loaded_once(small_world_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = gym.make(ID, world=str(small_world_folder))
    monkeypatch.chdir(small_world_folder.parent)
    second = gym.make(ID, world=small_world_folder.name)
    assert first.unwrapped.world is second.unwrapped.world  # type: ignore[attr-defined]


def test_worlds_are_loaded_in_the_precision_asked_for(small_world_folder: Path) -> None:
    half = gym.make(ID, world=str(small_world_folder), precision="bf16")
    halves = gym.make_vec(ID, num_envs=2, world=str(small_world_folder), precision="bf16")
    full = gym.make(ID, world=str(small_world_folder))
    dtypes = [env.unwrapped.world.transformer.patch_embedding.weight.dtype for env in (half, halves, full)]  # type: ignore[attr-defined]
    assert dtypes == [torch.bfloat16, torch.bfloat16, torch.float32]
    observation, _ = half.reset(seed=1, options={"prompt": CAT})
    exact, _ = full.reset(seed=1, options={"prompt": CAT})
    assert observation in half.observation_space
    assert 0 < np.abs(observation.astype(int) - exact).mean() < 8
    with pytest.raises(ConfigError, match="the world is loaded already"):
        PromptEnv(full.unwrapped.world, precision="bf16")  # type: ignore[attr-defined]


def test_worlds_take_as_many_denoising_steps_as_asked_for(small_world_folder: Path) -> None:
    slow = gym.make(ID, world=str(small_world_folder), steps=4)
    slows = gym.make_vec(ID, num_envs=2, world=str(small_world_folder), steps=4)
    full = gym.make(ID, world=str(small_world_folder))
    steps = [env.unwrapped.world.config.sampler.steps for env in (slow, slows, full)]  # type: ignore[attr-defined]
    assert steps == [(1000, 750, 500, 250), (1000, 750, 500, 250), (1000, 500)]
    frames = [env.reset(seed=1, options={"prompt": CAT})[0] for env in (slow, full)]
    assert frames[0] in slow.observation_space and not np.array_equal(*frames)
    with pytest.raises(ConfigError, match=r"steps is 2 and the world is loaded already"):
        PromptEnv(full.unwrapped.world, steps=2)  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"steps is 0; expected a number of denoising steps from 1 to 1000"):
        gym.make(ID, world=str(small_world_folder), steps=0)


def test_worlds_have_the_positions_asked_for(small_world_folder: Path) -> None:
    absolute = gym.make(ID, world=str(small_world_folder), rope="absolute")
    absolutes = gym.make_vec(ID, num_envs=2, world=str(small_world_folder), rope="absolute")
    own = gym.make(ID, world=str(small_world_folder))
    positions = [env.unwrapped.world.config.rope for env in (absolute, absolutes, own)]  # type: ignore[attr-defined]
    assert positions == ["absolute", "absolute", "relative"]
    with pytest.raises(ConfigError, match=r"rope is 'relative' and the world is loaded already"):
        PromptEnv(own.unwrapped.world, rope="relative")  # type: ignore[attr-defined]


def test_observations_are_the_frames_of_the_rollout(make: Callable[..., PromptEnv]) -> None:
    env = make(render_mode="rgb_array_list")
    first, info = env.reset(seed=4, options={"prompt": CAT})
    second, reward, terminated, truncated, later = env.step(DOG)
    third = env.step("")[0]
    seed = int(np.random.default_rng(np.random.SeedSequence(4)).integers(2**32))
    rollout = env.world.start(CAT, seed=seed)
    frames = rollout.step()[0].numpy()
    assert frames.shape == (9, 32, 48, 3)
    assert np.array_equal(first, np.concatenate([frames[:1]] * 3 + [frames]))
    rollout.switch_prompt(DOG)
    assert np.array_equal(second, rollout.step()[0].numpy())
    assert np.array_equal(third, rollout.step()[0].numpy())
    assert (reward, terminated, truncated) == (0.0, False, False)
    for observation in (first, second, third):
        assert observation in env.observation_space
    told = {"unknown_words": (), "world_seed": seed}
    assert info == {"prompt": CAT, "block": 0, "seconds": 9 / 16, "recached": False, **told}
    assert later == {"prompt": DOG, "block": 1, "seconds": 21 / 16, "recached": True, **told}
    assert env.timing["total_ms"] > 0 and set(env.timing) == {
        "denoise_ms",
        "recache_ms",
        "decode_ms",
        "total_ms",
    }
    before = env.clone_state()
    for pixels in (first, second, third, *env.render()):
        pixels[:] = 0  # they are the reader's own
    assert env.clone_state() == before


def test_seeds_decide_everything(make: Callable[..., PromptEnv]) -> None:
    def episode(seed: int | None, env: PromptEnv) -> tuple[list[Frames], list[dict[str, Any]]]:
        observation, info = env.reset(seed=seed)
        steps = [env.step(action) for action in ("", CAT, "")]
        return [observation, *(step[0] for step in steps)], [info, *(step[4] for step in steps)]

    first, second = make(), make()
    frames, infos = episode(1, first)
    same_frames, same_infos = episode(1, second)
    assert infos == same_infos
    assert all(map(np.array_equal, frames, same_frames))
    others = [episode(2, first), episode(None, second)]
    assert all(not np.array_equal(frames[0], other[0]) for other, _ in others)
    assert all(infos[0]["prompt"] != other[0]["prompt"] for _, other in others)


def test_the_seed_of_the_world_does_not_depend_on_the_prompt(make: Callable[..., PromptEnv]) -> None:
    env = make()
    drawn = env.reset(seed=9)[1]["prompt"]
    observation = env.reset(seed=9)[0]
    assert np.array_equal(observation, env.reset(seed=9, options={"prompt": drawn})[0])


@pytest.mark.parametrize("action", ["", "   ", CAT, f"  {CAT} "])
def test_keeping_the_prompt(make: Callable[..., PromptEnv], action: str) -> None:
    env = make()
    env.reset(seed=1, options={"prompt": CAT})
    info = env.step(action)[4]
    assert info["prompt"] == CAT and not info["recached"]
    assert env.timing["recache_ms"] == 0


def test_recache_modes(make: Callable[..., PromptEnv]) -> None:
    frames = []
    for mode in ("full", "none", "clear"):
        env = make(recache=mode, prompt=CAT)
        env.reset(seed=1)
        observation, *_, info = env.step(DOG)
        assert info["recached"] == (mode == "full")
        frames.append(observation)
    assert not any(np.array_equal(frames[i], frames[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_unknown_words_are_reported(make: Callable[..., PromptEnv]) -> None:
    env = make(prompt="a red zeppelin in the city")
    assert env.reset(seed=1)[1]["unknown_words"] == ("zeppelin",)
    assert env.step("")[4]["unknown_words"] == ("zeppelin",)
    assert env.step("a Wombat, jumps on the moon")[4]["unknown_words"] == ("Wombat",)
    assert env.step(CAT)[4]["unknown_words"] == ()


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (7, "is 7"),
        (np.array([CAT]), r"\(ndarray\); give a text"),
        (np.zeros(3), r"\(ndarray\); give a text"),
        ("a\ncat", "control character"),
        ("cat " * 520, "at most 2048"),
        ("a " * 40, "longer than the 32 tokens"),
    ],
)
def test_a_wrong_prompt_does_not_move_the_world(
    make: Callable[..., PromptEnv], action: Any, message: str
) -> None:
    env, other = make(prompt=CAT), make(prompt=CAT)
    for one in (env, other):
        one.reset(seed=1)
    with pytest.raises(PromptError, match=message):
        env.step(action)
    assert np.array_equal(env.step("")[0], other.step("")[0])
    with pytest.raises(PromptError, match=message):
        env.reset(options={"prompt": action})


def test_impossible_arguments(make: Callable[..., PromptEnv]) -> None:
    with pytest.raises(ConfigError, match="reset has no option 'promt'; did you mean 'prompt'"):
        make().reset(options={"promt": CAT})
    with pytest.raises(
        ConfigError, match=r"options of reset are \['prompt'\]; expected a dict of prompt, frames"
    ):
        make().reset(options=["prompt"])
    with pytest.raises(ConfigError, match="known options: prompt"):
        make().reset(options={"zzz": CAT})
    with pytest.raises(PromptError, match="starting prompt is empty"):
        make().reset(options={"prompt": " "})
    with pytest.raises(PromptError, match="starting prompt is empty"):
        make(prompt="")
    with pytest.raises(ConfigError, match="render_mode is 'ansi'; expected one of human"):
        make(render_mode="ansi")
    with pytest.raises(ConfigError, match="recache is 'ful'"):
        make(recache="ful")
    with pytest.raises(ConfigError, match="did you mean 'tiny'"):
        gym.make(ID, world="tinny")


def test_a_world_has_to_be_started(make: Callable[..., PromptEnv]) -> None:
    env = make(render_mode="rgb_array")
    for call in (lambda: env.step(CAT), env.render, lambda: env.timing):
        with pytest.raises(gym.error.ResetNeeded, match=r"call env\.reset"):
            call()
    env.reset()
    env.close()
    env.close()
    with pytest.raises(gym.error.ResetNeeded):
        env.step("")
    env.reset()
    env.step("")


def test_a_world_whose_step_has_failed_is_reset(make: Callable[..., PromptEnv]) -> None:
    """Otherwise a step that is tried again would go on after a block that nobody has seen."""
    env, other = make(task=Fails(length=9, at=3)), make(task=Count(length=9))
    env.reset(seed=1)
    env.step("")
    state = env.clone_state()
    with pytest.raises(TimeoutError, match="the judge is busy"):
        env.step(CAT)
    for call in (lambda: env.step(CAT), env.clone_state, lambda: env.timing):
        with pytest.raises(gym.error.ResetNeeded, match=r"last step failed .*; call env\.reset"):
            call()
    observation, info = env.reset(seed=1)
    assert np.array_equal(observation, other.reset(seed=1)[0]) and info["block"] == 0
    assert env.step(CAT)[1] == other.step(CAT)[1]
    env.restore_state(state)
    assert env.step(CAT)[4]["switched"]


def test_a_reset_in_place_that_fails_is_repeated(make: Callable[..., PromptEnv]) -> None:
    env = make(task=Fails(length=9, at=2))
    env.reset(seed=1)
    with pytest.raises(TimeoutError):
        env.reset(seed=2)
    with pytest.raises(gym.error.ResetNeeded):
        env.step("")
    assert env.reset(seed=2)[1]["block"] == 0


def test_the_limit_of_steps(small_world: World) -> None:
    env = gym.make(ID, world=small_world, max_episode_steps=2)
    env.reset(seed=1)
    assert [env.step("")[3] for _ in range(2)] == [False, True]


def test_rendering(make: Callable[..., PromptEnv]) -> None:
    env, single, silent = make(render_mode="rgb_array_list"), make(render_mode="rgb_array"), make()
    for one in (env, single, silent):
        one.reset(seed=1, options={"prompt": CAT})
    frames = env.render()
    assert len(frames) == 9 and env.render() == []
    assert np.array_equal(single.render(), frames[-1])
    observation = env.step("")[0]
    shown = env.render()
    assert np.array_equal(np.stack(shown), observation)
    shown[0][:] = 0  # a renderer's frames are the caller's own
    assert observation[0].any()
    single.step("")
    assert np.array_equal(single.render(), observation[-1])
    assert silent.render() is None


def test_a_list_of_frames_holds_all_since_the_last_one_or_reset(make: Callable[..., PromptEnv]) -> None:
    """As Gymnasium's lists do, so that a whole episode can be saved at its end."""
    env = make(render_mode="rgb_array_list")
    first = env.reset(seed=1, options={"prompt": CAT})[0][3:]
    observations = [env.step(action)[0] for action in (DOG, "", CAT)]
    assert np.array_equal(np.stack(env.render()), np.concatenate([first, *observations]))
    observation, state = env.step("")[0], env.clone_state()
    copies = env.fork(2)
    assert np.array_equal(np.stack(env.render()), observation) and env.render() == []
    env.step("")
    env.restore_state(state)
    assert np.array_equal(np.stack(env.render()), observation)
    env.step("")
    again = env.reset(seed=1, options={"prompt": CAT})[0][3:]
    assert np.array_equal(np.stack(env.render()), again)
    env.close()
    with pytest.raises(gym.error.ResetNeeded):
        env.render()
    assert copies.render() is None
    assert env.metadata["render_fps"] == 16 and isinstance(env.metadata["render_fps"], int)


@pytest.mark.usefixtures("enlarged")
def test_the_human_window_shows_every_frame(
    make: Callable[..., PromptEnv], monkeypatch: pytest.MonkeyPatch
) -> None:
    import pygame

    shown: list[Frames] = []

    def flip() -> None:
        screen = pygame.display.get_surface()
        shown.append(pygame.surfarray.array3d(screen).swapaxes(0, 1))

    monkeypatch.setattr(pygame.display, "flip", flip)
    env, other = make(render_mode="human", prompt=CAT), make(render_mode="rgb_array_list", prompt=CAT)
    expected = []
    for one in (env, other):
        one.reset(seed=1)
        expected.extend(one.render() or [])
        one.step("")
        expected.extend(one.render() or [])
    factor = enlargement(32)
    assert factor == 12 and shown[0].shape == (32 * factor, 48 * factor, 3)
    assert np.array_equal(np.stack([frame[::factor, ::factor] for frame in shown]), np.stack(expected))
    assert pygame.display.get_caption()[0] == CAT
    env.close()
    env.close()
    assert not pygame.display.get_init()


def test_windows_of_two_envs_get_along(make: Callable[..., PromptEnv]) -> None:
    import pygame

    first, second = make(render_mode="human", prompt=CAT), make(render_mode="human", prompt=DOG)
    for env in (first, second, first):
        env.reset(seed=1)
    first.close()
    second.step("")
    assert pygame.display.get_caption()[0] == DOG
    second.close()
    assert not pygame.display.get_init()


@pytest.mark.usefixtures("enlarged")
def test_large_worlds_are_not_enlarged() -> None:
    assert (enlargement(96), enlargement(480), enlargement(1080)) == (4, 1, 1)


@pytest.mark.usefixtures("enlarged")
@pytest.mark.parametrize(
    ("picture", "shown"),
    [
        ((96, 160), (384, 640)),
        ((480, 832), (480, 832)),
        ((1344, 1600), (800, 952)),  # 32 tiny worlds
        ((96, 1600), (76, 1280)),
        ((5000, 10), (800, 1)),
    ],
)
def test_windows_fit_the_screen(picture: tuple[int, int], shown: tuple[int, int]) -> None:
    assert shown_size(*picture) == shown


def test_a_large_picture_is_shrunk_smoothly() -> None:
    import pygame

    window = Window(1600, 2560, 1000)
    frame = np.zeros((1600, 2560, 3), np.uint8)
    frame[:, ::2] = 200
    window.show(frame[None], "stripes")
    seen = pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)
    window.close()
    assert seen.shape == (800, 1280, 3) and np.abs(seen.astype(int) - 100).max() <= 2


def test_without_pygame(make: Callable[..., PromptEnv], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(MissingExtraError, match=r"needs pygame-ce, which is not installed; .*\.\[viewer\]"):
        make(render_mode="human").reset()
    make(render_mode="rgb_array").reset()
    with pytest.raises(ImportError):
        Window(32, 48, 16)


def test_gymnasium_batches_it(small_world_folder: Path) -> None:
    envs = gym.make_vec(ID, num_envs=2, vectorization_mode="sync", world=str(small_world_folder))
    observations, infos = envs.reset(seed=3, options={"prompt": CAT})
    assert observations.shape == (2, 12, 32, 48, 3)
    assert not np.array_equal(observations[0], observations[1])
    _, _, _, _, infos = envs.step((DOG, ""))
    assert list(infos["prompt"]) == [DOG, CAT] and list(infos["recached"]) == [True, False]
    envs.step(envs.action_space.sample())
    envs.close()


def test_agents_play(make: Callable[..., PromptEnv]) -> None:
    env = make()
    cue = Cue(Moment(2, "blocks"), Change(DOG))
    agent = ScriptedAgent(Scenario("walk", CAT, Moment(4, "blocks"), timeline=(cue,)))
    episode = play_episode(env, agent, seed=1, options={"prompt": CAT}, steps=3)
    assert episode.prompts == (CAT, CAT, DOG, DOG) and episode.total == 0 and not episode.terminated
    runs = [play_episode(env, RandomAgent(patience=2), seed=seed, steps=8).prompts for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    assert 2 < len(set(runs[0])) < 9
    with pytest.raises(ValueError, match="patience is 0"):
        RandomAgent(patience=0)
    limited = gym.make(ID, world=env.world, max_episode_steps=2)
    assert len(play_episode(limited, RandomAgent(), seed=1).rewards) == 2


def test_the_noise_of_a_world_can_be_chosen(small_world: World) -> None:
    want = small_world.start(CAT, seed=7).step()[0].numpy()
    env, envs = PromptEnv(small_world), PromptVectorEnv(2, small_world)
    for seed in (1, 2):
        seen = env.reset(seed=seed, options={"prompt": CAT, "world_seed": 7})[0]
        assert np.array_equal(seen[3:], want)
    batch = envs.reset(seed=1, options={"prompt": CAT, "world_seed": 6})[0]
    assert np.abs(batch[1, 3:].astype(int) - want).max() <= 1
    with pytest.raises(ConfigError, match="3 world seeds for 2 worlds"):
        envs.reset(options={"world_seed": [1, 2, 3]})
    with pytest.raises(ConfigError, match="the seed is -1"):
        env.reset(options={"world_seed": -1})


def test_an_episode_tells_how_to_repeat_it(small_world: World) -> None:
    """Also one that began by itself."""
    envs = PromptVectorEnv(2, small_world, task="goal", max_episode_steps=1)
    envs.reset(seed=1)
    envs.step(["", ""])
    first, *_, infos = envs.step(["", ""])
    assert infos["block"].tolist() == [0, 0] and infos["world_seed"].dtype == np.int64
    options = {name: list(infos[name]) for name in ("prompt", "goal", "world_seed")}
    steps = [envs.step([CAT, ""])]
    again, told = envs.reset(options=options)
    assert np.array_equal(again, first) and told["world_seed"].tolist() == infos["world_seed"].tolist()
    steps.append(envs.step([CAT, ""]))
    assert np.array_equal(steps[0][0], steps[1][0]) and np.array_equal(steps[0][1], steps[1][1])
    data, large = envs.clone_state(), PromptEnv(small_world)
    assert envs.restore_state(data)[1]["world_seed"].tolist() == infos["world_seed"].tolist()
    assert envs.fork().episodes.info(1)["world_seed"] == infos["world_seed"][1]
    assert large.reset(options={"world_seed": 2**64 - 1})[1]["world_seed"] == 2**64 - 1
    told = envs.reset(options={"world_seed": [2**64 - 1, 3]})[1]
    assert told["world_seed"].tolist() == [2**64 - 1, 3]


def test_envs_load_as_worlds_do(small_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(name: str, **options: Any) -> World:
        asked.append(options)
        return small_world

    monkeypatch.setattr(world_cache, "_worlds", {})
    monkeypatch.setattr(World, "load", load)
    options = {"memory": "8", "codec": None, "kv_precision": "fp8", "compile": "off", "steps": 2}
    gym.make(ID, **options)
    gym.make_vec(ID, num_envs=3, **options)
    gym.make(ID, **options)
    assert [(one["batch"], one["states"]) for one in asked] == [(1, 1), (3, 1)]  # which serves one, too
    assert all(one["memory"] == "8" and one["steps"] == 2 for one in asked)
    for mode in ("SameStep", "Disabled"):  # where worlds start beside those that run
        gym.make_vec(ID, num_envs=3, autoreset_mode=mode, **options)
    gym.make_vec(ID, num_envs=2, **options)
    assert [(one["batch"], one["states"]) for one in asked[2:]] == [(3, 2)]
    assert len(world_cache._worlds) == 1
    with pytest.raises(TypeError, match="unexpected keyword argument 'presicion'; did you mean 'precision'"):
        gym.make(ID, presicion="bf16")
    with pytest.raises(TypeError, match="'wrold'; did you mean 'world'"):
        gym.make(ID, wrold="tiny")
    with pytest.raises(TypeError, match="'devcie'; did you mean 'device'"):
        gym.make(ID, devcie="cpu")
    with pytest.raises(TypeError, match="'tsak'; did you mean 'task'"):
        gym.make_vec(ID, num_envs=2, tsak="goal")
    with pytest.raises(TypeError, match="'x'; known arguments: world, device, prompt, task, recache"):
        gym.make(ID, x=1)
    for wrong in ({"memory": "8"}, {"device": "cuda"}):
        with pytest.raises(ConfigError, match="the world is loaded already"):
            PromptEnv(small_world, **wrong)  # type: ignore[arg-type]
    PromptEnv(small_world, device="cpu")


def test_a_world_that_holds_less_makes_room_first(
    small_world: World, small_world_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world_cache, "_worlds", {})
    alive: list[World | None] = []
    before: Callable[[], World | None] = lambda: None  # noqa: E731

    def load(*args: Any, batch: int, **options: Any) -> World:
        gc.collect()
        alive.append(before())
        if batch == 9:
            raise ConfigError("it does not fit")
        return World.from_config(small_world.config)

    monkeypatch.setattr(World, "load", load)
    before = weakref.ref(world_cache.shared_world(small_world_folder, memory="8"))
    larger = world_cache.shared_world(small_world_folder, memory="8", batch=4)
    assert alive == [None, None] and before() is None
    with pytest.raises(ConfigError, match="does not fit"):
        world_cache.shared_world(small_world_folder, memory="8", batch=9)
    assert world_cache.shared_world(small_world_folder, memory="8", batch=2) is larger  # which is still there


@pytest.mark.parametrize(
    ("options", "shared"),
    [({}, False), ({"codec": "light"}, True), ({"codec": "wan"}, True), ({"kv_precision": "fp8"}, False)],
)
def test_what_gave_up_quality_to_hold_more_serves_no_fewer(
    small_world: World,
    small_world_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: LoadOptions,
    shared: bool,
) -> None:
    def load(*args: Any, codec: Any = None, kv_precision: Any = None, **options: Any) -> World:
        world = small_world.replaced()
        world.memory_plan = MemoryPlan("resident", codec or "light", kv_precision, False, 0, 0, 0)
        return world

    monkeypatch.setattr(world_cache, "_worlds", {})
    monkeypatch.setattr(World, "load", load)
    larger = world_cache.shared_world(small_world_folder, memory="8", batch=4, **options)
    assert (world_cache.shared_world(small_world_folder, memory="8", **options) is larger) is shared


def test_a_folder_that_was_written_again_is_loaded_again(small_world: World, tmp_path: Path) -> None:
    small_world.save(tmp_path)
    first = world_cache.shared_world(tmp_path)
    assert world_cache.shared_world(str(tmp_path)) is first
    world_cache.shared_world(tmp_path, steps=2)
    other = World.from_config(small_world.config, seed=1)
    other.tokenizer = small_world.tokenizer
    other.save(tmp_path)
    second = world_cache.shared_world(tmp_path)
    weights = [one.transformer.patch_embedding.weight for one in (first, second, other)]
    assert torch.equal(weights[1], weights[2]) and not torch.equal(weights[0], weights[2])
    assert sum(key[0] == str(tmp_path.resolve()) for key in world_cache._worlds) == 1


def test_worlds_are_reset_in_place(make: Callable[..., PromptEnv]) -> None:
    """What was captured of their steps belongs to their state; but nothing of earlier episodes is left."""
    single, several = make(prompt=CAT), [PromptVectorEnv(2, make().world, prompt=[CAT, DOG]) for _ in "ab"]
    for used, fresh, action in ((single, make(prompt=CAT), DOG), (*several, [DOG, CAT])):
        used.reset(seed=1)
        rollout = used.rollout
        for _ in range(5):
            used.step(action)
        for _ in range(2):
            seen = [one.reset(seed=2)[0] for one in (used, fresh)]
            seen += [one.step(action)[0] for one in (used, fresh) for _ in range(5)][4::5]
            assert np.array_equal(*seen[:2]) and np.array_equal(*seen[2:])
            assert used.clone_state() == fresh.clone_state()
        assert used.rollout is rollout


def test_a_world_that_cannot_be_reset_in_place_is_dropped_first(
    make: Callable[..., PromptEnv], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is planned for one state; but what cannot be asked for leaves the running world alone."""
    env = make(prompt=CAT)
    envs = PromptVectorEnv(2, env.world, prompt=CAT)
    start, alive = World.start, []

    def watched(world: World, *args: Any, **kwargs: Any) -> Any:
        alive.append(before())
        return start(world, *args, **kwargs)

    monkeypatch.setattr(World, "start", watched)
    for one in (env, envs):
        before = lambda: None  # noqa: E731
        one.reset(seed=1)
        with pytest.raises(PromptError, match="control"):
            one.reset(options={"prompt": "a\x00"})
        with pytest.raises(ConfigError, match="seed"):
            one.reset(options={"world_seed": -1})
        one.step("" if one is env else ["", ""])
        before = weakref.ref(one.rollout.state.cache)
        one.reset(options={"frames": np.zeros((32, 48, 3), np.uint8)})
    assert alive == [None] * 4


def test_compiled_worlds_are_warmed_up_once(
    small_world_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warmed = []
    monkeypatch.setattr("longlive_env.engine.warmup.warm_up", lambda world, batch: warmed.append(batch))
    world = World.load(small_world_folder)
    for compiled in ("off", "default"):
        world.compiled = compiled  # type: ignore[assignment]
        for _ in range(2):
            PromptEnv(world)
            PromptVectorEnv(3, world)
    assert warmed == [1, 3]


def test_an_id_may_name_the_module_to_import_and_forked_processes_compute(small_world_folder: Path) -> None:
    """As those of `AsyncVectorEnv`, where processes are forked."""
    subprocess.run([sys.executable, "-c", FORK, str(small_world_folder)], timeout=120, check=True)


def counted_threads(world: str) -> PromptEnv:
    """An env that knows on how many threads its process computes."""
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(2)  # the default where there are two cores
    env = PromptEnv(world)
    env.threads = torch.get_num_threads()  # type: ignore[attr-defined]
    return env


@pytest.mark.parametrize("asked", [None, "2"])
def test_spawned_processes_compute_on_one_thread_each(
    small_world_folder: Path, monkeypatch: pytest.MonkeyPatch, asked: str | None
) -> None:
    """As those of `AsyncVectorEnv` in Windows and macOS, unless somebody asked for more."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    make = functools.partial(counted_threads, str(small_world_folder))
    with contextlib.closing(gym.vector.AsyncVectorEnv([make], context="spawn")) as batch:
        batch.reset(seed=1)
        assert batch.get_attr("threads") == (2 if asked else 1,)


@dataclass(frozen=True)
class Asks(Count):
    """Begins with a prompt of its own, imposes another, and judges all blocks but some."""

    prompt: Any = None
    storm: Any = None
    unjudged: int = 0

    def open(self, rng: np.random.Generator, prompt: str | None, options: Mapping[str, Any]) -> Opening:
        return replace(super().open(rng, prompt, options), prompt=self.prompt)

    def disturb(self, state: TaskState) -> str | None:
        return self.storm

    def judge(self, states: Sequence[TaskState], blocks: Sequence[Block]) -> list[Verdict]:
        return super().judge(states, blocks)[self.unjudged :]


@pytest.mark.parametrize("prompt", ["bad\x00prompt", "", 3])
def test_prompts_of_tasks_are_checked(small_world: World, prompt: Any) -> None:
    with pytest.raises(PromptError):
        PromptEnv(small_world, task=Asks(prompt=prompt)).reset(seed=1)
    if prompt != "":
        env = PromptEnv(small_world, task=Asks(storm=prompt))
        env.reset(seed=1)
        with pytest.raises(PromptError):
            env.step("")


def test_prompts_that_tasks_impose_are_cleaned_as_actions_are(small_world: World) -> None:
    env = PromptEnv(small_world, task=Asks(storm=" a  cat "))
    env.reset(seed=1)
    assert env.step("")[4]["prompt"] == "a cat"


def test_every_block_needs_a_verdict(small_world: World) -> None:
    with pytest.raises(ConfigError, match=r"Asks\.judge returned 0 verdicts for 1 blocks"):
        PromptEnv(small_world, task=Asks(unjudged=1)).reset(seed=1)


@pytest.mark.parametrize("many", [False, True])
def test_a_step_whose_verdict_is_refused_has_failed(small_world: World, many: bool) -> None:
    task = Gives(verdict=Verdict({}, np.ones(2)))  # type: ignore[arg-type]
    env: Any = PromptVectorEnv(2, small_world, task=task) if many else PromptEnv(small_world, task=task)
    env.reset(seed=1)
    action = ["", ""] if many else ""
    with pytest.raises(ConfigError, match=r"Gives\.judge gave the reward"):
        env.step(action)
    with pytest.raises(gym.error.ResetNeeded, match="the last step failed"):
        env.step(action)


@pytest.mark.parametrize("reward", [np.ones(1), torch.tensor(1.0, dtype=torch.bfloat16), torch.ones(1, 1)])
def test_rewards_of_tasks_are_plain_numbers(small_world: World, reward: Any) -> None:
    task = Gives(verdict=Verdict({}, reward, torch.tensor(False)))  # type: ignore[arg-type]
    env, batch = PromptEnv(small_world, task=task), PromptVectorEnv(2, small_world, task=task)
    env.reset(seed=1)
    batch.reset(seed=1)
    _, found, terminated, *_ = env.step("")
    assert type(found) is float and found == 1.0 and terminated is False
    rewards, ends = batch.step(["", ""])[1:3]
    assert rewards.dtype == np.float64 and rewards.tolist() == [1.0, 1.0] and ends.tolist() == [False] * 2
    env.restore_state(env.clone_state())
    batch.restore_state(batch.clone_state())


def test_the_envs_own_entries_of_info_are_those_that_tasks_leave_alone(small_world: World) -> None:
    assert tuple(PromptEnv(small_world).reset(seed=1)[1]) == OWN_INFO


@pytest.mark.parametrize("world", [5, None, ["tiny"]])
@pytest.mark.parametrize("make", [gym.make, gym.make_vec])
def test_what_is_no_world_is_refused(make: Callable[..., Any], world: Any) -> None:
    with pytest.raises(ConfigError, match=r"world is .*; expected a name, a folder or a World"):
        make(ID, world=world)


@pytest.mark.parametrize("limit", [0, -2, 1.5, "5", True])
def test_impossible_limits_are_refused(small_world: World, limit: Any) -> None:
    with pytest.raises(ConfigError, match=f"max_episode_steps is {limit!r}; expected a whole number from 1"):
        PromptVectorEnv(1, small_world, max_episode_steps=limit)
