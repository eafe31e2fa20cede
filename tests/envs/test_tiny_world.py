"""The shipped tiny world through its env: what is asked for is what is seen."""

import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from gymnasium.utils.env_checker import check_env

from longlive_env.envs.goals import describe_scene
from longlive_env.tiny.probe import Probe
from longlive_env.tiny.render import render_take
from longlive_env.tiny.scene import Scene, Take, sample_scene

ID = "LongLive/Tiny-v0"
FIRST = Scene("robot", "blue", "city", "clear", "right")
SECOND = Scene("robot", "blue", "forest", "night", "right")
LOOKS = ("subject", "colour", "setting", "weather")


def right(probe: Probe, observation: npt.NDArray[np.uint8], scene: Scene) -> list[bool]:
    """Which of the looks of `scene` an observation shows."""
    seen = probe.predict(torch.from_numpy(observation)[None])
    return [seen[name][0] == scene.attribute(name) for name in LOOKS]


def test_prompts_are_obeyed_before_and_after_a_switch() -> None:
    env, probe = gym.make(ID), Probe.load()
    before, after = [], []
    for seed in range(2):
        observation, info = env.reset(seed=seed, options={"prompt": describe_scene(FIRST)})
        assert observation.shape == (12, 192, 320, 3) and info["unknown_words"] == ()
        for _ in range(2):
            observation = env.step("")[0]
        before += right(probe, observation, FIRST)
        observation, *_, info = env.step(describe_scene(SECOND))
        assert info["recached"]
        for _ in range(2):
            observation = env.step("")[0]
        after += right(probe, observation, SECOND)
    env.close()
    assert np.mean(before) >= 0.65 and np.mean(after) >= 0.65  # eval measures; this notices a broken chain


def test_given_frames_are_continued() -> None:
    """The first block after rendered clips shows what they show, and goes on from their last frame."""
    rng, probe = np.random.default_rng(0), Probe.load()
    scenes = [sample_scene(rng) for _ in range(4)]
    takes = [Take(((0, scene),), camera=40.0 * index) for index, scene in enumerate(scenes)]
    clips = np.stack([render_take(take, 0, 21, scale=2).numpy() for take in takes])
    envs = gym.make_vec(ID, num_envs=4)
    shown, jumps = [], []
    for given in ({"frames": clips}, {}):
        prompts = [describe_scene(scene) for scene in scenes]
        observations, _ = envs.reset(seed=1, options={"prompt": prompts, **given})
        shown.append(np.mean([right(probe, *one) for one in zip(observations, scenes, strict=True)]))
        jumps.append(np.abs(observations[:, 0].astype(float) - clips[:, -1]).mean())
    envs.close()
    assert shown[0] >= 0.65 and shown[0] >= shown[1] - 0.1
    assert jumps[0] < 0.75 * jumps[1]  # what the prompt alone would show lies elsewhere


def test_the_light_codec_shows_the_same_smaller_and_obeys() -> None:
    """Latents do not depend on how they are decoded, so a light world shows what the full one does."""
    prompt, shown = describe_scene(FIRST), dict[str, npt.NDArray[np.uint8]]()
    for codec in (None, "light"):
        env = gym.make(ID, codec=codec)
        shown[str(codec)], _ = env.reset(seed=3, options={"prompt": prompt})
        assert env.observation_space.contains(shown[str(codec)])
        env.close()
    full, light = shown["None"], shown["light"]
    assert light.shape == (12, 96, 160, 3)
    averaged = full.reshape(12, 96, 2, 160, 2, 3).astype(float).mean(axis=(2, 4))
    assert np.abs(averaged - light).mean() < 4  # of 255
    assert all(right(Probe.load(), light, FIRST))


def test_check_env_finds_nothing() -> None:
    env = gym.make(ID)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped, skip_render_check=True)  # the small world of the other tests opens windows
    env.close()


WITHOUT_DRAWS = """
import random
import gymnasium as gym, numpy as np, torch
import longlive_env
from longlive_env.envs.wrappers import ProbeFeatures

def states():
    return torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate()

before = states()
for codec in (None, "light"):
    env = gym.make("LongLive/TinyGoal-v0", codec=codec)
    assert states() == before, ("make", codec)
    env.reset(seed=0)
    assert states() == before, ("reset", codec)
    env.step("a red cat in the snow")
    assert states() == before, ("step", codec)
    ProbeFeatures(env).reset(seed=1)
    assert states() == before, ("features", codec)
"""


def test_a_process_draws_the_same_with_and_without_an_env() -> None:
    """Worlds and probe are loaded at their first use, so a first run would differ from later ones."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_DRAWS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
