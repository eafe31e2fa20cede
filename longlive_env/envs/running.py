"""The part that single and vector envs share: running worlds, their timing and the window that shows them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

import gymnasium as gym

from longlive_env.envs.episodes import Episodes
from longlive_env.envs.window import Window
from longlive_env.frames import Frames

if TYPE_CHECKING:
    from longlive_env.engine.rollout import Rollout
    from longlive_env.engine.world import World
    from longlive_env.envs.rules import Rules, Start


class Running:
    """Mixin for envs whose worlds run from the first reset until `close`.

    Attributes:
        world: models and configuration.
        rules: rules that all episodes follow.
        render_mode: as in `PromptEnv`.
        counters_follow: whether whoever resets to a state sets the counters of wrappers as well.
    """

    world: World
    rules: Rules
    render_mode: str | None
    counters_follow: bool = False
    _episodes: Episodes | None = None
    _window: Window | None = None
    _rolls: dict[int, list[list[Frames]]] | None = None  # unrendered blocks, by world and episode

    @property
    def episodes(self) -> Episodes:
        """The running worlds with their episodes; a single env runs a batch of one.

        Raises:
            gymnasium.error.ResetNeeded: no world is running (before the first reset or after `close`), or the
                last step failed.
        """
        self.check_running()
        assert self._episodes is not None
        return self._episodes

    def check_running(self) -> None:
        """Check that worlds are running and can go on; raises as `episodes` does."""
        if self._episodes is None:
            raise gym.error.ResetNeeded("no world is running; call env.reset() first")
        if self._episodes.torn:
            raise gym.error.ResetNeeded(
                "the last step failed after the worlds had moved, and its block was never judged; call "
                "env.reset() first"
            )

    @property
    def rollout(self) -> Rollout:
        """The running worlds as the engine holds them; raises as `episodes` does."""
        return self.episodes.rollout

    @property
    def timing(self) -> dict[str, float]:
        """Milliseconds that the newest block took, all worlds together; raises as `episodes` does.

        Keys: `denoise_ms`, `recache_ms`, `decode_ms`, `total_ms`.
        """
        return dict(self.episodes.timing)

    def _start(self, starts: Sequence[Start]) -> None:
        """Start all worlds. Running worlds restart in place, which keeps captured graphs of their steps."""
        if any(start.frames is not None for start in starts) or self._reusable() is None:
            self._episodes = None  # dropped first, as memory is planned for one state
            self._episodes = Episodes.start(self.rules, starts)
        else:
            self.episodes.step([""] * len(starts), range(len(starts)), starts.__getitem__)

    def _reusable(self) -> Episodes | None:
        """Return the running worlds, in whose memory others may go on; torn ones are dropped instead."""
        if self._episodes is not None and self._episodes.torn:
            self._episodes = None
        return self._episodes

    def _collect(
        self, worlds: Iterable[int], *, begun: bool = False, restarted: Collection[int] = ()
    ) -> None:
        """Keep the newest blocks of some worlds until they are rendered, in mode "rgb_array_list".

        Args:
            worlds: the worlds that moved.
            begun: whether a caller has just put them where they are; earlier blocks are dropped.
            restarted: worlds that have started an episode by themselves; blocks of the one that has just
                ended are kept, so that its end can be seen, and earlier ones dropped.
        """
        if self.render_mode != "rgb_array_list":
            return
        if self._rolls is None:
            self._rolls = {}
        for world in worlds:
            kept = [] if begun else self._rolls.get(world, [])
            if world in restarted or not kept:
                kept = [*kept[-1:], []]
            self._rolls[world] = [*kept[:-1], [*kept[-1], self.episodes.frames(world)]]

    def _unseen(self, world: int) -> list[Frames]:
        """Return the frames [H, W, 3] of a world that nobody has rendered yet, as Gymnasium's lists do."""
        rolls = self._rolls or {}
        blocks = [block for episode in rolls.pop(world, []) for block in episode]
        return [frame.copy() for block in blocks for frame in block]

    def _play(self, frames: Frames, title: str) -> None:
        """Show frames [T, H, W, 3] in the window, one after the other."""
        if self._window is None:
            self._window = Window(frames.shape[1], frames.shape[2], self.world.config.fps)
        self._window.show(frames, title)

    def _drop(self) -> None:
        """Drop the running worlds and close the window; the weights stay cached in the process."""
        self._episodes = self._rolls = None
        if self._window is not None:
            self._window.close()
            self._window = None
