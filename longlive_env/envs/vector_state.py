"""Cloning, restoring and forking of vector envs.

Shapes: N worlds, T pixel frames per block, H rows, W columns.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv

from longlive_env.envs import state
from longlive_env.envs.batches import seeds_of_worlds, tiled
from longlive_env.envs.checks import is_number
from longlive_env.envs.episodes import Episodes
from longlive_env.envs.infos import batched
from longlive_env.envs.rules import Rules
from longlive_env.envs.running import Running
from longlive_env.errors import ConfigError, SnapshotError
from longlive_env.frames import Frames

if TYPE_CHECKING:
    from longlive_env.envs.vector_env import PromptVectorEnv

Actions = Sequence[str] | npt.NDArray[Any]


class VectorState(Running, VectorEnv[Frames, Actions, npt.NDArray[Any]]):
    """Base of `PromptVectorEnv` that clones, restores and forks its worlds.

    Attributes:
        rules: rules that all worlds follow.
        autoreset_mode: what happens to a world whose episode has ended.
    """

    rules: Rules
    autoreset_mode: AutoresetMode
    _default_prompts: list[str | None]
    _generators: list[np.random.Generator]
    _seeds: list[int]

    def clone_state(self, include_rng: bool = True, worlds: Sequence[int] | None = None) -> bytes:
        """Serialize everything that the future of all or some worlds depends on; see `PromptEnv`."""
        episodes, generators = self.episodes, list(self._generators)
        if worlds is not None:
            chosen = self._chosen(worlds)
            episodes, generators = episodes.select(chosen), [generators[world] for world in chosen]
        return state.to_bytes(episodes, generators if include_rng else None)

    def restore_state(
        self, data: state.Serialized, worlds: Sequence[int] | None = None
    ) -> tuple[Frames, dict[str, Any]]:
        """Resume from a state of `clone_state`, from this or another env, single or vector.

        The future is bit-identical in a batch of the same size, otherwise equal up to rounding, which is
        coarser in bf16 and in compiled code.

        Args:
            data: state from `clone_state`.
            worlds: indices of the worlds to replace; all by default. A state of one world is copied to each.

        Returns:
            Observations of all worlds, and infos of those that were replaced.

        Raises:
            SnapshotError: the state is damaged, is of another version, world or task, or holds too many or
                too few worlds.
        """
        saved = state.read(data, self.rules)
        chosen = self._chosen(worlds)
        held, generators = len(saved.episodes), saved.generators
        if held not in (1, len(chosen)):
            raise SnapshotError(
                f"the state holds {held} worlds, and {len(chosen)} are to be replaced; name as many in "
                "worlds=, or give a state of one world"
            )
        everyone = chosen == list(range(self.num_envs))
        if not everyone:
            self.check_running()  # the other worlds have to
        episodes = saved.resume(self._reusable() if everyone and held == len(chosen) else None)
        if held < len(chosen):
            if everyone:
                self._episodes = None  # dropped first, as memory is planned for one state
            episodes = episodes.select([0] * len(chosen))
            generators = None if generators is None else generators * len(chosen)
        self.adopt(episodes, generators, chosen)
        self._show()
        return self.episodes.observations.copy(), self._infos(chosen)

    def fork(
        self,
        n: int = 1,
        worlds: Sequence[int] | None = None,
        *,
        include_rng: bool = True,
        seed: int | None = None,
    ) -> PromptVectorEnv:
        """Copy all or some running worlds `n` times each, into a separate env with the same settings.

        Copies show what their worlds would show, to the bit if there are as many, else up to rounding.

        Args:
            n: number of copies of each; copies of one world are adjacent, so world `i` of this env is copied
                to `n * i`, `n * i + 1`, ...
            worlds: indices of the worlds to copy; all by default.
            include_rng: whether the copies keep their worlds' random numbers, see `PromptEnv.fork`.
            seed: seed of the copies' futures if they do not; None leaves them to chance.
        """
        from longlive_env.envs.vector_env import PromptVectorEnv

        if not is_number(n, 1, whole=True):
            raise ConfigError(f"n is {n!r}; expected a whole number of copies from 1 on")
        chosen = [world for world in self._chosen(worlds) for _ in range(n)]
        envs = PromptVectorEnv(
            len(chosen),
            self.world,
            prompt=[self._default_prompts[world] for world in chosen],
            task=self.rules.task,
            recache=self.rules.recache,
            render_mode=None if self.render_mode == "human" else self.render_mode,
            max_episode_steps=self.rules.max_steps,
            autoreset_mode=self.autoreset_mode,
        )
        envs.seed_futures(seed, include_rng)
        generators = [self._generators[world] for world in chosen]
        envs.adopt(self.episodes.select(chosen), generators if include_rng else None)
        return envs

    def seed_futures(self, seed: int | None, include_rng: bool) -> None:
        """Seed the generators of copies that do not keep those of their original worlds.

        Raises:
            ConfigError: they keep them.
        """
        if seed is None:
            return
        if include_rng:
            raise ConfigError("copies that keep their random numbers need no seed; give include_rng=False")
        before = self._generators, self._seeds
        self._generators, self._seeds = seeds_of_worlds(seed, *before, range(self.num_envs))

    def adopt(
        self,
        episodes: Episodes,
        generators: Sequence[np.random.Generator] | None,
        worlds: Sequence[int] | None = None,
    ) -> None:
        """Take over running worlds from elsewhere.

        Args:
            episodes: episodes of these worlds; they belong to this env from now on.
            generators: random generators of these worlds, which are copied; None draws new futures.
            worlds: indices of this env's worlds to replace; all by default.
        """
        self.closed = False  # a running env can be closed again
        chosen = list(range(self.num_envs)) if worlds is None else list(worlds)
        for index, world in enumerate(chosen):
            if generators is None:
                episodes.reseed(index, self._generators[world])
            else:
                self._generators[world], self._seeds[world] = copy.deepcopy(generators[index]), -1
        if chosen == list(range(self.num_envs)):
            episodes.rules = self.rules
            self._episodes = episodes
        else:
            self.episodes.assign(chosen, episodes)
        self._collect(chosen, begun=True)

    def _infos(self, worlds: Sequence[int]) -> dict[str, Any]:
        """Collect infos of some worlds in Gymnasium's batched form; raises as `batched` does."""
        episodes = self.episodes
        with episodes.moving():  # on failure the caller would never get the step's results
            return batched({world: episodes.info(world) for world in worlds}, self.num_envs)

    def _chosen(self, worlds: Sequence[int] | None) -> list[int]:
        """Return indices of worlds, checked to be valid and distinct."""
        if worlds is None:
            return list(range(self.num_envs))
        if not isinstance(worlds, Iterable):
            raise ConfigError(f"worlds is {worlds!r}; expected a list of indices, such as [0]")
        chosen = [int(world) for world in worlds]
        for world in chosen:
            if not 0 <= world < self.num_envs:
                raise ConfigError(f"there is no world {world}; this env has worlds 0 to {self.num_envs - 1}")
        if not chosen or len(set(chosen)) < len(chosen):
            raise ConfigError(f"worlds are {chosen}; give at least one, each once")
        return chosen

    def _show(self) -> None:
        """Play the newest blocks of all worlds side by side in the window."""
        if self.render_mode == "human":
            self._play(tiled(self.episodes.observations), f"{self.num_envs} worlds")
