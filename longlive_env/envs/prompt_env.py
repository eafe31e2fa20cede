"""The env whose actions are prompts and whose steps are blocks of video.

Shapes: T pixel frames of a block, H rows, W columns.
"""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from longlive_env.envs.prompts import checked_prompt, prompt_space
from longlive_env.envs.spaces import PromptSpace
from longlive_env.envs.vocabulary import vocabulary_of
from longlive_env.envs.window import Window
from longlive_env.envs.world_cache import shared_world
from longlive_env.errors import ConfigError, PromptError

if TYPE_CHECKING:
    from longlive_env.engine.rollout import Rollout, World

Frames = npt.NDArray[np.uint8]
Recache = Literal["full", "none", "clear"]

RESET_OPTIONS = ("prompt",)


class PromptEnv(gym.Env[Frames, str]):
    """A video world under the Gymnasium API.

    An action is a prompt; `""` keeps the one in force. A step generates one block. The observation is the
    last block of pixel frames, uint8 `[T, H, W, 3]`; after a reset, whose block is shorter, the first frame
    is repeated in front, as frame stacks do. The reward is 0 and nothing terminates: tasks add both.

    `info` holds `prompt`, `block` (index of the newest block), `seconds` (of video so far), `recached`, and
    `unknown_words` (words of the prompt that the world does not know). What differs from run to run is in
    `timing`.

    Args:
        world: name of a world, a folder of weights, or a world that is already loaded.
        device: where a world that is not yet loaded goes, as torch spells it.
        prompt: prompt of every reset without one of its own; None samples it with `np_random`.
        recache: what a new prompt does to the memory of earlier frames; other than `"full"` is for studies.
        render_mode: `"rgb_array"` (last frame), `"rgb_array_list"` (every frame of the step), `"human"` (a
            window that plays every frame), or None.

    Raises:
        LongLiveError: the world cannot be loaded, or an argument is impossible.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["human", "rgb_array", "rgb_array_list"],
        "render_fps": 16,
    }

    def __init__(
        self,
        world: str | os.PathLike[str] | World = "tiny",
        *,
        device: str = "cpu",
        prompt: str | None = None,
        recache: Recache = "full",
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ConfigError(
                f"render_mode is {render_mode!r}; expected one of {', '.join(self.metadata['render_modes'])}"
            )
        if recache not in ("full", "none", "clear"):
            raise ConfigError(f"recache is {recache!r}; expected 'full', 'none' or 'clear'")
        self.world = shared_world(world, device) if isinstance(world, (str, os.PathLike)) else world
        config = self.world.config
        self.render_mode = render_mode
        self.recache = recache
        self.metadata = {**self.metadata, "render_fps": config.fps}  # type: ignore[misc]
        self.observation_space = spaces.Box(
            0, 255, (config.block_pixel_frames, config.height, config.width, 3), np.uint8
        )
        self.action_space: PromptSpace = prompt_space(self.world)
        self._default_prompt = None if prompt is None else self._starting_prompt(prompt)
        self._rollout: Rollout | None = None
        self._window: Window | None = None
        self._frames: Frames = np.zeros((0, config.height, config.width, 3), np.uint8)  # of the newest block
        self._frame_count = 0

    @property
    def rollout(self) -> Rollout:
        """The running world.

        Raises:
            gymnasium.error.ResetNeeded: there is none before the first reset and after `close`.
        """
        if self._rollout is None:
            raise gym.error.ResetNeeded("no world is running; call env.reset() first")
        return self._rollout

    @property
    def timing(self) -> dict[str, float]:
        """Milliseconds of the newest block: `denoise_ms`, `recache_ms`, `decode_ms`, `total_ms`."""
        return dict(self.rollout.timing)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Frames, dict[str, Any]]:
        """Start another world and generate its first block.

        Args:
            seed: seeds `np_random`, which draws the seed of the world, and the prompt if none is given.
            options: `{"prompt": text}` chooses the starting prompt.

        Raises:
            PromptError: the prompt is no valid one.
            ConfigError: an option is unknown.
        """
        super().reset(seed=seed)
        world_seed = int(self.np_random.integers(2**32))
        prompt = self._prompt_of_reset(options or {})
        self._rollout = self.world.start(prompt, seed=world_seed)
        self._frame_count = 0
        return self._advance(recached=False)

    def step(self, action: str) -> tuple[Frames, float, bool, bool, dict[str, Any]]:
        """Generate the next block under the prompt `action`; `""`, or the prompt in force, changes nothing.

        Raises:
            PromptError: the prompt is no valid one; the world has not moved.
        """
        rollout, prompt = self.rollout, checked_prompt(self.world, action)
        switches = prompt not in ("", rollout.prompts[0])
        if switches:
            rollout.switch_prompt(prompt, recache=self.recache)
        observation, info = self._advance(recached=switches and self.recache == "full")
        return observation, 0.0, False, False, info

    def render(self) -> Any:
        """The last frame or a list of every frame of the step; mode `"human"` shows them and returns None."""
        if self.render_mode is None:
            return None
        self.rollout  # noqa: B018  there must be one
        if self.render_mode == "rgb_array":
            return self._frames[-1].copy()
        if self.render_mode == "rgb_array_list":
            return [frame.copy() for frame in self._frames]
        return None

    def close(self) -> None:
        """Drop the running world and close the window; the weights stay cached for the process."""
        self._rollout = None
        if self._window is not None:
            self._window.close()
            self._window = None

    def _prompt_of_reset(self, options: dict[str, Any]) -> str:
        for name in options:
            if name not in RESET_OPTIONS:
                near = difflib.get_close_matches(str(name), RESET_OPTIONS, n=1)
                remedy = (
                    f"did you mean {near[0]!r}?" if near else f"known options: {', '.join(RESET_OPTIONS)}"
                )
                raise ConfigError(f"reset has no option {name!r}; {remedy}")
        if options.get("prompt") is not None:
            return self._starting_prompt(options["prompt"])
        if self._default_prompt is not None:
            return self._default_prompt
        return vocabulary_of(self.world.config.name).sample(self.np_random)

    def _starting_prompt(self, prompt: Any) -> str:
        text = checked_prompt(self.world, prompt)
        if not text:
            raise PromptError(
                "the starting prompt is empty; describe a scene, or leave it out to have one drawn"
            )
        return text

    def _advance(self, *, recached: bool) -> tuple[Frames, dict[str, Any]]:
        """Generate a block and describe it."""
        rollout = self.rollout
        frames: Frames = rollout.step()[0].numpy()  # [T, H, W, 3]
        self._frames = frames
        self._frame_count += len(frames)
        if self.render_mode == "human":
            self._show()
        missing = self.observation_space.shape[0] - len(frames)  # type: ignore[index]
        observation = np.concatenate([np.repeat(frames[:1], missing, axis=0), frames])
        prompt = rollout.prompts[0]
        return observation, {
            "prompt": prompt,
            "block": rollout.blocks[0] - 1,
            "seconds": self._frame_count / self.world.config.fps,
            "recached": recached,
            "unknown_words": tuple(self.world.unknown_words(prompt)),
        }

    def _show(self) -> None:
        if self._window is None:
            config = self.world.config
            self._window = Window(config.height, config.width, config.fps)
        self._window.show(self._frames, self.rollout.prompts[0])
