"""The world of a session: as it runs, and as it was before the newest block.

Shapes: T pixel frames per block, H rows, W columns.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from longlive_env.engine.config import RecacheMode
from longlive_env.frames import Frames
from longlive_env.recording import digest
from longlive_env.scenario import Mix
from longlive_env.scenario.mix import switch_mix
from longlive_env.viewer.history import Beat, Branch, Opening, Saved

if TYPE_CHECKING:
    from longlive_env.engine.rollout import Rollout
    from longlive_env.engine.world import World

logger = logging.getLogger(__name__)

STATES = 2  # kept on the device: the running one and that before the newest block

Progress = Callable[[int, int], None]  # blocks done, blocks in all


@dataclass(frozen=True)
class _Held:
    """The world before the newest block, kept on its device so that the block can be taken back quickly.

    Its rollout must not move, since an agent may be looking at it. Its state is as large as the running
    one's, so it is dropped before another is made: there are at most `STATES`.
    """

    position: int
    rollout: Rollout
    mix: Mix
    frames: Frames | None


class Running:
    """Generates blocks, and goes back to earlier states. Independent of what comes next.

    Args:
        world: world being played.

    Attributes:
        rollout: running world.
        mix: mix of the newest block, or of the first one to come.
        frames: frames of the newest block, uint8 [T, H, W, 3]; None before the first.
        adrift: whether going back has failed, so that the world is not where the take is.
    """

    def __init__(self, world: World) -> None:
        self.rollout: Rollout
        self.mix: Mix
        self.frames: Frames | None = None
        self.adrift = False
        self._world = world
        self._start: Frames | None = None
        self._seed = 0
        self._held: _Held | None = None

    def begin(self, opening: Opening) -> None:
        """Begin another take."""
        self._begin(Mix.of(opening.prompt), opening.seed, opening.start)
        self.adrift = False

    def hold(self, position: int) -> Rollout:
        """Keep the world as it is after `position` blocks, dropping older states; returns what is kept."""
        self._held = None  # makes room for another one
        self._held = _Held(position, self.rollout.fork(), self.mix, self.frames)
        return self._held.rollout

    def step(self, mix: Mix, recache: RecacheMode) -> Frames:
        """Generate the next block; if that fails, restore what `hold` has kept.

        Args:
            mix: mix of the block. If nothing was shown yet, the world begins with it.
            recache: what a switch does to the memory of earlier frames.

        Returns:
            Frames, uint8 [T, H, W, 3].
        """
        try:
            if mix != self.mix and self.frames is None:
                self._begin(mix, self._seed, self._start)
            elif mix != self.mix:
                switch_mix(self.rollout, mix, recache)
            frames: Frames = self.rollout.step()[0].numpy()
        except BaseException:
            self._resume()
            raise
        self.mix, self.frames = mix, frames
        return frames

    def back_to(self, position: int) -> bool:
        """Go back to what `hold` has kept, if that is after `position` blocks; returns whether it is."""
        there = self._held is not None and self._held.position == position
        if there:
            self._resume()
        return there

    def bring(
        self,
        branch: Branch,
        progress: Progress | None = None,
        passed: Callable[[Beat], None] = lambda beat: None,
    ) -> None:
        """Bring the world to the end of a branch, from its saved state or from the start.

        Args:
            branch: target branch.
            progress: callback for blocks that have to be generated again.
            passed: callback for each such block, before `progress`, while the world is right after it.
        """
        self._held = None
        self.adrift = True  # until the world is there
        if branch.saved is None:
            self._begin(branch.first, branch.opening.seed, branch.opening.start)
        else:
            self.rollout.restore(branch.saved.state)
            self.mix, self.frames = branch.beats[branch.at - 1].mix, branch.saved.frames
        missing = branch.beats[branch.at :]
        for done, beat in enumerate(missing, start=1):
            if digest(self.step(beat.mix, beat.recache)) != beat.digest:
                logger.warning("block %d came out differently when it was generated again", beat.block)
            passed(beat)
            if progress is not None:
                progress(done, len(missing))
        self.adrift = False

    def save(self) -> Saved:
        """Save the state after the newest block."""
        assert self.frames is not None
        return Saved(self.rollout.keep(), self.frames)

    def save_held(self, position: int) -> Saved | None:
        """Save the state after `position` blocks, if `hold` has kept it and there were any."""
        held = self._held
        if held is None or held.position != position or held.frames is None:
            return None
        return Saved(held.rollout.keep(), held.frames)

    def _begin(self, mix: Mix, seed: int, start: Frames | None) -> None:
        self._held = None  # there is room for two worlds
        self.rollout = self._world.start(mix.prompt, seed=seed, text=mix.embedding(self._world), frames=start)
        self.mix, self.frames, self._seed, self._start = mix, None, seed, start

    def _resume(self) -> None:
        """Resume from what `hold` has kept."""
        held, self._held = self._held, None
        self.adrift = True  # until the world is there
        if held is None:
            return
        self.rollout.assign([0], held.rollout)  # in place, since captured steps refer to addresses
        self.mix, self.frames = held.mix, held.frames
        self.adrift = False
