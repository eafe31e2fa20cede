"""Recorded episodes hold every frame, and can be repeated from their logs."""

import warnings
from pathlib import Path
from typing import Any

import av
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import TimeLimit

from longlive_env import World
from longlive_env.cli import main
from longlive_env.envs.prompt_env import PromptEnv
from longlive_env.envs.vector_env import PromptVectorEnv
from longlive_env.envs.wrappers import DiscretePrompts, LastFrame, RecordFrames, vector
from longlive_env.errors import ConfigError
from longlive_env.recording import ActionLog, digest, read_frames, read_log

CAT, DOG = "a red cat jumps in the city at night", "a blue car on the beach"
Frames = np.ndarray[Any, np.dtype[np.uint8]]


def log_of(folder: Path) -> ActionLog:
    return read_log(folder / "actions.jsonl")


def frames_in(folder: Path) -> int:
    with av.open(str(folder / "video.mp4")) as video:
        return sum(1 for _ in video.decode(video=0))


def replayed(world: World, log: ActionLog) -> list[str]:
    """Digests of the blocks that come from a log's seed and prompts."""
    rollout, digests = world.start(log.blocks[0].prompt, seed=log.header.seed), []
    for block in log.blocks:
        if block.prompt != rollout.prompts[0]:
            rollout.switch_prompt(block.prompt, recache="full")
        digests.append(digest(rollout.step()[0].numpy()))
    return digests


def test_every_frame_is_kept(small_world: World, tmp_path: Path) -> None:
    env = LastFrame(RecordFrames(TimeLimit(PromptEnv(small_world), 3), tmp_path, scale=1))
    for seed in (1, 2):
        env.reset(seed=seed, options={"prompt": CAT})
        for action in ("", DOG, ""):
            env.step(action)
    env.reset(seed=3)
    env.step("")
    env.close()
    logs = [log_of(tmp_path / f"episode-{number:04}") for number in range(3)]
    assert [log.complete for log in logs] == [True, True, False]
    assert [block.prompt for block in logs[0].blocks] == [CAT, CAT, DOG, DOG]
    assert [block.frames for block in logs[0].blocks] == [9, 12, 12, 12]
    assert frames_in(tmp_path / "episode-0000") == 45 and frames_in(tmp_path / "episode-0002") == 21
    assert (tmp_path / "episode-0000" / "sheet.png").exists()
    for log in logs:
        assert replayed(small_world, log) == [block.digest for block in log.blocks]
    assert logs[0].header.world == "tiny" and logs[0].header.seed != logs[1].header.seed


def test_logs_replay_on_the_command_line(
    small_world_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env = gym.make("LongLive/TinyGoal-v0", world=str(small_world_folder), max_episode_steps=2, steps=2)
    env = RecordFrames(DiscretePrompts(env), tmp_path)
    env.reset(seed=1)
    env.step(9)
    env.step(0)
    header = log_of(tmp_path / "episode-0000").header
    assert header.name == "LongLive/TinyGoal-v0" and header.options == {"steps": "2"}
    assert (
        main(
            [
                "run",
                "--replay",
                str(tmp_path / "episode-0000" / "actions.jsonl"),
                "--out",
                str(tmp_path / "again"),
            ]
        )
        == 0
    )
    assert "all 3 blocks are identical" in capsys.readouterr().out


def test_logs_name_the_folder_of_a_world_that_was_loaded_first(
    small_world_folder: Path, tmp_path: Path
) -> None:
    env = RecordFrames(PromptEnv(World.load(small_world_folder)), tmp_path)
    env.reset(seed=1)
    env.close()
    assert log_of(tmp_path / "episode-0000").header.world == str(small_world_folder)


def test_episodes_can_be_chosen(small_world: World, tmp_path: Path) -> None:
    env = RecordFrames(PromptEnv(small_world), tmp_path, trigger=lambda episode: episode % 2 == 1)
    for seed in range(4):
        env.reset(seed=seed)
    env.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["episode-0001", "episode-0003"]


def test_earlier_recordings_are_not_replaced_in_silence(small_world: World, tmp_path: Path) -> None:
    env, envs = PromptEnv(small_world), PromptVectorEnv(2, small_world)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        single, batch = RecordFrames(env, tmp_path / "one"), vector.RecordFrames(envs, tmp_path / "two")
        for recorded in (single, batch):
            recorded.reset(seed=1)
            recorded.close()
        RecordFrames(env, tmp_path / "two")  # which replaces nothing there
    with pytest.warns(UserWarning, match=r"one holds recorded episodes already \(1\).*choose another folder"):
        RecordFrames(env, tmp_path / "one")
    with pytest.warns(UserWarning, match=r"two holds recorded episodes already \(2\)"):
        vector.RecordFrames(envs, tmp_path / "two")


def test_beginnings_that_cannot_be_repeated_are_marked(small_world: World, tmp_path: Path) -> None:
    env = RecordFrames(PromptEnv(small_world), tmp_path, scale=1)
    env.reset(seed=1)
    env.reset(seed=1, options={"state": env.unwrapped.clone_state()})
    env.close()
    notes = [log_of(tmp_path / f"episode-{number:04}").blocks[0].notes for number in range(2)]
    assert list(notes[0]) == [] and list(notes[1]) == ["begins from a saved state"]


def test_given_frames_are_kept_for_replays(
    small_world_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World.load(small_world_folder)
    clips = np.random.default_rng(0).integers(0, 256, (2, 30, 32, 48, 3), np.uint8)
    envs = vector.RecordFrames(PromptVectorEnv(2, world), tmp_path, scale=1)
    envs.reset(seed=[1, 2], options={"frames": clips})
    envs.step((CAT, DOG))
    envs.close()
    for number, clip in enumerate(clips):
        folder = tmp_path / f"world-{number:02}" / "episode-0000"
        assert [block.frames for block in log_of(folder).blocks] == [12, 12]
        kept = read_frames(folder / log_of(folder).header.frames, world.config)
        assert np.array_equal(kept, clip[-21:])
        assert main(["run", "--replay", str(folder / "actions.jsonl")]) == 0
        assert "all 2 blocks are identical" in capsys.readouterr().out


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_worlds_are_recorded_apart(small_world: World, tmp_path: Path, mode: AutoresetMode) -> None:
    envs = PromptVectorEnv(2, small_world, max_episode_steps=2, autoreset_mode=mode)
    recorded = vector.LastFrame(vector.RecordFrames(envs, tmp_path, scale=1))
    recorded.reset(seed=[1, 2], options={"prompt": [CAT, DOG]})
    recorded.step(("", ""))
    if mode is AutoresetMode.DISABLED:
        recorded.reset(seed=[None, 7], options={"reset_mask": np.array([False, True])})
    for _ in range(3):
        _, _, terminated, truncated, _ = recorded.step((DOG, CAT))
        if mode is AutoresetMode.DISABLED and (terminated | truncated).any():
            recorded.reset(options={"reset_mask": terminated | truncated})
    recorded.close()
    for world in range(2):
        folders = sorted((tmp_path / f"world-{world:02}").iterdir())
        assert len(folders) >= 2
        for folder in folders:
            log = log_of(folder)
            assert [block.frames for block in log.blocks] == [9, 12, 12][: len(log.blocks)]
            assert frames_in(folder) == sum(block.frames for block in log.blocks)
            assert log.complete == (len(log.blocks) == 3)
    first = log_of(tmp_path / "world-00" / "episode-0000")
    assert [block.prompt for block in first.blocks] == [CAT, CAT, DOG]


def test_adapted_frames_are_not_recorded(small_world: World, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="put the frame adapters around RecordFrames"):
        vector.RecordFrames(vector.LastFrame(PromptVectorEnv(2, small_world)), tmp_path)
    with pytest.raises(ConfigError, match="is not a prompt env"):
        RecordFrames(gym.make("CartPole-v1"), tmp_path)
