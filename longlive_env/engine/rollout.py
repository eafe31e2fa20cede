"""Running worlds: step, switch the prompt, snapshot, restore, fork.

Shapes: B worlds, F latent frames of a block, T pixel frames, H x W pixels, C latent channels, h x w latents,
L text tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from longlive_env.engine import snapshot
from longlive_env.engine.block_step import BlockSteps
from longlive_env.engine.config import RECACHE_MODES, RecacheMode
from longlive_env.engine.delivery import Delivery
from longlive_env.engine.noise import WorldNoise
from longlive_env.engine.recache import recache as recache_worlds
from longlive_env.engine.rope import ABSOLUTE_FRAMES
from longlive_env.engine.snapshot import Kept
from longlive_env.engine.state import RolloutState
from longlive_env.engine.tokenizer import prompt_list
from longlive_env.errors import ConfigError, LongLiveError

if TYPE_CHECKING:
    from longlive_env.engine.world import World

logger = logging.getLogger(__name__)


class Rollout:
    """A batch of running worlds that advance one block per step, each with its own age, prompt and noise.

    Attributes:
        world: models and configuration.
        timing: milliseconds of the last step by phase: denoise_ms (cache pass included), recache_ms (prompt
            switches since the previous step), decode_ms, total_ms.
    """

    def __init__(self, world: World, state: RolloutState) -> None:
        self.world = world
        self.timing: dict[str, float] = {}
        self.state = state
        self._warned = world.config.rope == "relative"  # relative positions never run out

    @property
    def state(self) -> RolloutState:
        """Everything that the future depends on; operations issued after reading it see it complete."""
        self._steps.settle()
        return self._state

    @state.setter
    def state(self, state: RolloutState) -> None:
        self._state = state
        self._steps = BlockSteps(self.world)  # its captured graphs belong to one state

    @property
    def batch(self) -> int:
        """Number of worlds."""
        return self._state.batch

    @property
    def prompts(self) -> list[str]:
        """Current prompt of each world."""
        return list(self._state.prompts)

    @property
    def whole_prompts(self) -> list[str]:
        """What the prompt of each world stands for, see `World.completed`."""
        return list(self._state.whole_prompts)

    @property
    def blocks(self) -> list[int]:
        """Length of each world's video in blocks, including the frames it was started from."""
        frames = self.world.config.frames_per_block
        return [timeline.position // frames for timeline in self._state.cache.timelines]

    def step(self) -> Tensor:
        """Generate the next block of every world.

        Returns:
            Frames uint8 ``[B, T, H, W, 3]`` on the CPU, a plain tensor that shares no memory. T is 12 for 3
            latent frames, and 9 when all worlds are new; if only some are, these repeat their first frame
            three times.
        """
        return self._receive(self._begin_block())

    def stream(
        self, prompts: Iterable[str | Sequence[str] | None], *, ahead: bool | None = None
    ) -> Iterator[Tensor]:
        """Generate a block for each prompt; with `ahead`, begin the next one before yielding a block.

        The frames are those of calling `switch_prompt` (where there is a prompt) and `step` in turn. Working
        ahead, the device never waits for the reader of the frames, and prompts are read one block earlier;
        breaking out of the loop leaves the worlds one block past the last one yielded.

        Args:
            prompts: for each block, the prompt to switch to first, or one per world; None changes nothing.
                ``itertools.repeat(None)`` goes on forever.
            ahead: whether to begin each block before yielding the previous one; by default only on CUDA, as
                it gains nothing if one device does all the work.

        Yields:
            Frames, see `step`.

        Raises:
            ConfigError: `prompts` is a string; for other errors, also `PromptError`, see `switch_prompt`.
        """
        if isinstance(prompts, str):
            raise ConfigError(
                f"the prompts are the text {prompts!r:.60}, whose letters would be taken for prompts; give a "
                "list, with one for each block"
            )
        ahead = self.world.device.type == "cuda" if ahead is None else ahead
        under_way: Delivery | None = None
        try:
            for prompt in prompts:
                if prompt is not None:
                    self.switch_prompt(prompt)
                begun: Delivery | None = self._begin_block()
                if ahead:
                    under_way, begun = begun, under_way
                if begun is not None:
                    yield self._receive(begun)
        except LongLiveError:  # an invalid prompt must not lose the block before it
            if under_way is not None:
                yield self._receive(under_way)
            raise
        if under_way is not None:
            yield self._receive(under_way)

    def step_latents(
        self, *, steps: int | None = None, remember: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """Like `step`, without decoding.

        If gradients are enabled and the transformer's weights require them, they flow through the last
        denoising step; the cache and the history never carry any.

        Args:
            steps: number of denoising steps before the prediction counts as clean; all by default. Training
                stops early at random, so that every step gets gradients.
            remember: function from the latents to those that the worlds remember instead, of the same shape;
                for teacher forcing.

        Returns:
            Clean latents, float32 ``[B, F, C, h, w]``, as generated.

        Raises:
            ConfigError: `steps` is out of range, or `remember` returns another shape; in the latter case,
                restore a snapshot, since noise has been drawn.
        """
        most = len(self.world.config.sampler.steps)
        if steps is not None and not 1 <= steps <= most:
            raise ConfigError(f"steps is {steps}; expected 1 to {most}, the denoising steps of the world")
        self._warn_at_the_end()
        latents, memory = self._steps.denoise(self._state, steps)
        kept = latents if remember is None else remember(latents).to(latents)
        if kept.shape != latents.shape:
            raise ConfigError(
                f"remember= returned shape {list(kept.shape)}; "
                f"expected a block's latents, {list(latents.shape)}"
            )
        self._steps.remember(self._state, kept, memory)
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents from `step_latents` to frames, see `step`; decode every latent frame once, in order.

        Args:
            latents: a block ``[B, F, C, h, w]``, or some of its latent frames.

        Raises:
            ConfigError: the latents have another shape.
        """
        of_frame = self.world.config.latent_shape
        fits = latents.ndim == 5 and latents.shape[0] == self.batch and latents.shape[2:] == of_frame
        if not fits or not latents.shape[1]:
            expected = ", ".join(map(str, (self.batch, "F", *of_frame)))
            raise ConfigError(
                f"got latents {list(latents.shape)}; expected [{expected}], as step_latents returns them"
            )
        with torch.inference_mode():
            delivery = self._steps.decode(self._state, latents)
        return self._receive(delivery)

    def _begin_block(self) -> Delivery:
        """Issue a block; on CUDA, it is decoded in parallel with the pass that remembers it."""
        self._warn_at_the_end()
        with torch.inference_mode():
            latents, memory = self._steps.denoise(self._state)
            delivery = self._steps.decode(self._state, latents)
            self._steps.remember(self._state, latents, memory)
        return delivery

    def _warn_at_the_end(self) -> None:
        """Warn once if the next block exceeds the absolute positions; reads only counters on the host."""
        config = self.world.config
        oldest = max(timeline.position for timeline in self._state.cache.timelines)
        if self._warned or oldest + config.frames_per_block <= ABSOLUTE_FRAMES:
            return
        self._warned = True
        logger.warning(
            "a video of world %r goes past %d latent frames (%.0f seconds), where absolute positions end; "
            'load it with rope="relative" (--rope relative) for takes that long',
            config.name,
            oldest,
            oldest * config.codec.temporal_factor / config.fps,
        )

    def _receive(self, delivery: Delivery) -> Tensor:
        """Wait for the frames of a block, and read its timing."""
        self._steps.draw_ahead(self._state)
        frames = delivery.wait()
        self.timing = self._steps.read_timing()
        return frames

    def switch_prompt(
        self,
        prompt: str | Sequence[str],
        recache: RecacheMode = "full",
        worlds: Sequence[int] | None = None,
        *,
        text: Tensor | None = None,
        whole: Sequence[str] | None = None,
    ) -> None:
        """Change prompts from the next block on.

        A world with a `completion` completes them by what is in force.

        Args:
            prompt: the new prompt of all the worlds, or one for each.
            recache: what happens to the cached keys and values: "full" rebuilds them under the new prompt,
                "none" keeps them, "clear" empties the cache.
            worlds: worlds that switch; all by default.
            text: embeddings to use instead of encoding the prompts, ``[worlds, L, text_dim]``.
            whole: with `text`, what it stands for in words, by which later prompts are completed; by default,
                what stood for the prompts before.

        Raises:
            ConfigError: the mode or a world is unknown, a world is named twice, or the number of prompts does
                not match.
            PromptError: a prompt is not text or has too many tokens; nothing has changed then.
        """
        if recache not in RECACHE_MODES:
            raise ConfigError(f"recache is {recache!r}; expected one of {', '.join(RECACHE_MODES)}")
        chosen = self._chosen(worlds, once=True)
        prompts = [prompt] * len(chosen) if isinstance(prompt, str) else prompt_list(prompt)
        before = [self._state.whole_prompts[world] for world in chosen]
        meant, embeddings = self._embeddings(prompts, before, text, whole)
        with torch.no_grad(), self._steps.arithmetic(), self._steps.stopwatch.phase("recache_ms"):
            for world, *given in zip(chosen, prompts, embeddings, meant, strict=True):
                self._state.set_prompt(world, *given)
            if recache == "full":
                keep_sink = self.world.config.keep_sink
                recache_worlds(self.world.transformer, self._state, chosen, keep_sink=keep_sink)
            elif recache == "clear":
                for world in chosen:
                    self._state.cache.clear(world)

    def reset_world(
        self,
        world: int,
        prompt: str,
        seed: int,
        *,
        text: Tensor | None = None,
        whole: Sequence[str] | None = None,
    ) -> None:
        """Restart one world, leaving the others as they are; for `text` and `whole` see `switch_prompt`.

        Raises the errors of `switch_prompt` and `reseed`; nothing has changed then.
        """
        (index,) = self._chosen([world])
        meant, embedding = self._embeddings(prompt_list(prompt), [""], text, whole)
        self.reseed(index, seed)  # the last call that may fail
        self.state.reset(index)
        self.switch_prompt(prompt, "none", [index], text=embedding, whole=meant)

    def snapshot(self, worlds: Sequence[int] | None = None) -> bytes:
        """Return the state of all worlds, or of some, as bytes that `restore` reads; see `snapshot`."""
        state = self.state if worlds is None else self.state.select(self._chosen(worlds))
        return snapshot.to_bytes(state, self.world.fingerprint)

    def keep(self) -> Kept:
        """Return a copy of the state in the host's memory, which `restore` reads too.

        For this process alone; it takes less time and memory than `snapshot`.
        """
        return snapshot.keep(self.state, self.world.fingerprint)

    def restore(self, data: bytes | Kept, worlds: Sequence[int] | None = None) -> None:
        """Continue from a snapshot.

        Args:
            data: what `snapshot` or `keep` returned.
            worlds: worlds to replace, as many as the snapshot holds; by default it replaces the whole batch,
                and the rollout takes its size. If the size stays the same, captured steps are kept.

        Raises:
            SnapshotError: the snapshot is damaged, of another version, or of another world.
            ConfigError: the snapshot holds another number of worlds, or one is named twice.
        """
        if worlds is not None:
            self.assign(worlds, self.world.resume(data))
            return
        restored = self.world.resume(data, self)
        if restored is not self:
            self.state = restored.state

    def forget_timing(self) -> None:
        """Leave what was timed so far, such as a recache, out of the next block's timing."""
        self._steps.stopwatch.clear()

    def assign(self, worlds: Sequence[int], source: Rollout) -> None:
        """Replace some worlds with copies of those in `source`, a rollout of the same `World`.

        Raises:
            ConfigError: `source` holds another number of worlds, or one is named twice.
            SnapshotError: the noise of either rollout is not seeded.
        """
        chosen = self._chosen(worlds, once=True)
        if len(chosen) != source.batch:
            raise ConfigError(
                f"the source holds {source.batch} worlds, and {len(chosen)} are to be replaced; name as many "
                "worlds as it holds"
            )
        self.state.assign(chosen, source.state)
        if chosen == list(range(self.batch)):
            self.forget_timing()  # undone work does not count towards the next block

    def reseed(self, world: int, seed: int) -> None:
        """Continue the noise of a world from another seed, so that its future differs."""
        (index,) = self._chosen([world])
        if not isinstance(self.state.noise, WorldNoise):
            raise ConfigError("a rollout with injected noise has no seeds; start a new one")
        self.state.noise.reseed(index, seed)

    def fork(self, worlds: Sequence[int] | None = None) -> Rollout:
        """Return an independent copy of all or some worlds; repeats branch one world several times."""
        fork = Rollout(self.world, self.state.select(self._chosen(worlds)))
        fork._warned = self._warned  # agents that look ahead fork at every block
        return fork

    def __deepcopy__(self, memo: dict[int, object]) -> Rollout:
        return self.fork()

    def _chosen(self, worlds: Sequence[int] | None, once: bool = False) -> list[int]:
        """Check indices of worlds, counting negative ones from the end; `once` forbids repeats."""
        if worlds is None:
            return list(range(self.batch))
        for world in worlds:
            if not -self.batch <= world < self.batch:
                raise ConfigError(f"there is no world {world}; this rollout has worlds 0 to {self.batch - 1}")
        chosen = [world % self.batch for world in worlds]
        if once and len(set(chosen)) < len(chosen):
            raise ConfigError(f"the worlds are {list(worlds)}; name each once")
        return chosen

    def _embeddings(
        self,
        prompts: Sequence[str],
        before: Sequence[str],
        text: Tensor | None,
        whole: Sequence[str] | None,
    ) -> tuple[Sequence[str], Tensor]:
        """Complete prompts and encode them, or take the embeddings given as `text`, which stand for `whole`.

        Args:
            prompts: the prompts, one for each world.
            before: the whole prompts in force, "" at the start of a take.
            text: embeddings, whose shape is checked.
            whole: what they stand for; None leaves what is in force.
        """
        count = len(before)
        if len(prompts) != count or len(whole or before) != count:
            raise ConfigError(
                f"got {len(prompts)} prompts for {count} worlds; give one for each, or a string"
            )
        if text is None:
            completed = [self.world.completed(*pair) for pair in zip(prompts, before, strict=True)]
            with torch.no_grad(), self._steps.arithmetic():
                return completed, self.world.encode_prompt(completed)
        shape = (count, *self._state.text.shape[1:])
        if tuple(text.shape) != shape:
            raise ConfigError(
                f"text= has shape {list(text.shape)}; expected {list(shape)}, padded with zeros"
            )
        return whole or before, text.to(self.world.device)
