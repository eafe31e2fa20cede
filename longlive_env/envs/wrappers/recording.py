"""Recording of episodes with every frame of every step, not one picture per step."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper

from longlive_env.envs.window import enlargement
from longlive_env.envs.wrappers.inside import (
    Outermost,
    WithoutTrace,
    check_batched_infos,
    copied,
    prompt_env,
    prompt_envs,
)
from longlive_env.errors import ConfigError
from longlive_env.frames import Frames

if TYPE_CHECKING:
    from torch import Tensor

    from longlive_env.envs.episodes import Episodes
    from longlive_env.recording import LogHeader, Recording

Trigger = Callable[[int], bool]

RESTORED = "begins from a saved state"
EMBEDDED = "the prompt was given as an embedding, which the log does not hold"


class _WorldRecorder:
    """Records the episodes of one world, each into a folder of its own.

    Args:
        folder: folder of the world.
        spec: spec of the env; names the recordings.
        trigger: function of the episode number that returns whether to record it; None records all.
        scale: whole factor by which videos are enlarged; None enlarges small pictures for viewing.
    """

    def __init__(self, folder: Path, spec: Any, trigger: Trigger | None, scale: int | None) -> None:
        self._folder = folder
        self._spec = spec
        self._trigger = trigger
        self._scale = scale
        self._episode = -1
        self._recording: Recording | None = None

    def begin(
        self, episodes: Episodes, world: int, clip: Tensor | None = None, notes: Sequence[str] = ()
    ) -> None:
        """Begin the next episode, whose first block has just been generated.

        Args:
            episodes: episodes of the env.
            world: index of the world.
            clip: clip that the episode continues, uint8 ``[T, H, W, 3]`` in whole blocks.
            notes: notes on how the episode began.
        """
        self.end(complete=False)
        self._episode += 1
        if self._trigger is not None and not self._trigger(self._episode):
            return
        from longlive_env.recording import Recording

        header = self._header(episodes, world)
        scale = enlargement(header.height) if self._scale is None else self._scale
        self._recording = Recording(
            self._folder / f"episode-{self._episode:04}",
            header,
            scale=scale,
            start=None if clip is None else clip.numpy(),
        )
        self.follow(episodes, world, notes)

    def follow(self, episodes: Episodes, world: int, notes: Sequence[str] = ()) -> None:
        """Record the newest block of the world."""
        embedded = [EMBEDDED] if episodes.episodes[world].embedded else []
        self.add(episodes.frames(world), episodes.rollout.prompts[world], [*notes, *embedded])

    def add(self, frames: Frames, prompt: str, notes: Sequence[str] = ()) -> None:
        """Record a block, uint8 [T, H, W, 3]."""
        if self._recording is not None:
            self._recording.add(frames, prompt, notes=notes)

    def end(self, *, complete: bool) -> None:
        """Finish the files of the episode, if one is being recorded."""
        if self._recording is not None:
            self._recording.complete = complete
            self._recording.close()
            self._recording = None

    def _header(self, episodes: Episodes, world: int) -> LogHeader:
        from longlive_env.engine.noise import WorldNoise
        from longlive_env.recording import LogHeader

        noise = episodes.rollout.state.noise
        assert isinstance(noise, WorldNoise), "envs seed their worlds"
        return LogHeader.of(
            episodes.rules.world,
            name="env" if self._spec is None else self._spec.id,
            seed=noise.generators[world].initial_seed(),
            recache=episodes.rules.recache,
        )


def _warn_of_earlier(folder: Path, pattern: str) -> None:
    """Warn if the folder holds recordings that will be replaced."""
    earlier = len(list(folder.glob(pattern)))
    if earlier:
        gym.logger.warn(
            f"{folder} holds recorded episodes already ({earlier}), and new ones replace those of the same "
            "number; choose another folder to keep them"
        )


def _beginning(episodes: Episodes, options: dict[str, Any] | None) -> tuple[list[Tensor | None], list[str]]:
    """Return the clips that reset options let each world continue, and notes on how they began."""
    from longlive_env.engine.prefill import given_clips

    given = options or {}
    clips = given_clips(given.get("frames"), len(episodes.episodes), episodes.rules.world.config)
    return clips, [RESTORED] if given.get("state") is not None else []


class RecordFrames(WithoutTrace):
    """Records every frame of every step, and an action log.

    Each episode gets a folder `episode-0000`, `episode-0001`, ... with an mp4, a contact sheet, and a log
    from which `longlive run --replay` reproduces identical frames. A block is on disk when `step` returns.
    Frames that an episode began from are kept beside the log. Episodes that began from a state and blocks
    whose prompt was an embedding are marked in the log; they cannot be replayed.

    Args:
        env: prompt env, wrapped or not.
        folder: folder for the episodes. Each replaces an episode of the same number left by an earlier
            recorder, after a warning.
        trigger: function of the episode number that returns whether to record it; None records all.
        scale: whole factor by which videos are enlarged; None enlarges small pictures for viewing.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        folder: str | os.PathLike[str],
        *,
        trigger: Trigger | None = None,
        scale: int | None = None,
    ) -> None:
        super().__init__(env)
        prompt_env(env)
        _warn_of_earlier(Path(folder), "episode-*")
        self._recorder = _WorldRecorder(Path(folder), env.spec, trigger, scale)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Reset, and start recording the new episode."""
        result = self.env.reset(seed=seed, options=copied(options))
        episodes = prompt_env(self).episodes
        (clip,), notes = _beginning(episodes, options)
        self._recorder.begin(episodes, 0, clip, notes)
        return result

    def step(self, action: Any) -> Any:
        """Step, and record the block."""
        result = self.env.step(action)
        episodes = prompt_env(self).episodes
        if episodes.episodes[0].begins:  # a wrapper inside has reset
            self._recorder.begin(episodes, 0)
            return result
        self._recorder.follow(episodes, 0)
        if result[2] or result[3]:
            self._recorder.end(complete=True)
        return result

    def close(self) -> None:
        """Finish the files and close the env."""
        self._recorder.end(complete=False)
        self.env.close()


class VectorRecordFrames(Outermost, VectorWrapper[Any, Any, Any, Any, Any]):
    """Records every world of a vector env as `RecordFrames` does, in folders `world-00`, `world-01`, ...

    Args:
        envs: vector env of prompts; apply frame adapters after this.
        folder: folder for the worlds' folders; as in `RecordFrames`.
        trigger: as in `RecordFrames`, with a separate count per world.
        scale: as in `RecordFrames`.
    """

    def __init__(
        self,
        envs: VectorEnv[Any, Any, Any],
        folder: str | os.PathLike[str],
        *,
        trigger: Trigger | None = None,
        scale: int | None = None,
    ) -> None:
        super().__init__(envs)
        check_batched_infos(envs, self)
        if envs.single_observation_space != prompt_envs(envs).single_observation_space:
            raise ConfigError("the observations are adapted; put the frame adapters around RecordFrames")
        _warn_of_earlier(Path(folder), "world-*/episode-*")
        self._recorders = [
            _WorldRecorder(Path(folder) / f"world-{world:02}", envs.spec, trigger, scale)
            for world in range(self.num_envs)
        ]

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset, and start recording the new episodes."""
        observations, infos = self.env.reset(seed=seed, options=copied(options))  # type: ignore[arg-type]
        episodes = prompt_envs(self).episodes
        clips, notes = _beginning(episodes, options)
        for world in np.flatnonzero(infos["_prompt"]):
            self._recorders[world].begin(episodes, int(world), clips[world], notes)
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step, and record the blocks."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        episodes = prompt_envs(self).episodes
        replaced = infos.get("_final_obs", np.zeros(self.num_envs, np.bool_))
        for world, recorder in enumerate(self._recorders):
            if replaced[world]:  # the episode ended with this step and the next one has begun
                notes = [EMBEDDED] if episodes.replaced[world].embedded else []
                recorder.add(infos["final_obs"][world], infos["final_info"]["prompt"][world], notes)
                recorder.end(complete=True)
            if replaced[world] or episodes.episodes[world].begins:
                recorder.begin(episodes, world)
                continue
            recorder.follow(episodes, world)
            if terminations[world] or truncations[world]:
                recorder.end(complete=True)
        return observations, rewards, terminations, truncations, infos

    def close(self, **kwargs: Any) -> None:
        """Finish the files and close the envs."""
        for recorder in self._recorders:
            recorder.end(complete=False)
        self.env.close(**kwargs)
