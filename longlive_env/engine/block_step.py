"""The parts of a block step, issued one after the other: denoising, decoding, remembering.

On a CPU, each part is done when it returns. On CUDA, it is only issued: decoding runs on its own stream, in
parallel with the pass that remembers, and recurring work may be a captured graph.

Shapes: B worlds, F latent frames of a block, C latent channels, h x w latents.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from longlive_env.engine import sampler
from longlive_env.engine.cache_pass import Pass
from longlive_env.engine.codec import CodecState
from longlive_env.engine.compile import Graphs, captures, plain_tensors
from longlive_env.engine.decode_graph import DecodeGraphs
from longlive_env.engine.delivery import Delivery, SideStream
from longlive_env.engine.noise import WorldNoise
from longlive_env.engine.schedule import denoising_sigmas
from longlive_env.engine.stopwatch import Stopwatch
from longlive_env.engine.transfer import to_device
from longlive_env.engine.transformer import KeysValues
from longlive_env.engine.viewpoint import with_viewpoints

if TYPE_CHECKING:
    from longlive_env.engine.state import RolloutState
    from longlive_env.engine.world import World


class BlockSteps:
    """Issues the parts of block steps for one state.

    Attributes:
        stopwatch: timer of the parts.
        graphs: captured graphs; None if the world does not capture.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._beside = SideStream(world.device)
        self.stopwatch = Stopwatch(world.device)
        capturing = captures(world.compiled, world.device)
        self.graphs = Graphs() if capturing else None
        self._decode_graphs = DecodeGraphs() if capturing else None

    def denoise(self, state: RolloutState, steps: int | None = None) -> tuple[Tensor, Pass]:
        """Return clean latents of the next block ``[B, F, C, h, w]``, and the pass for `remember`.

        Args:
            state: state of the worlds.
            steps: see `Rollout.step_latents`.
        """
        config, transformer = self._world.config, self._world.transformer
        sigmas = denoising_sigmas(config.sampler)[:steps]

        def denoise(draws: Tensor, memory: Pass) -> Tensor:
            memory.turn_sink()
            noise, *fresh = draws.unbind()
            cross, next_noise = self._cross(state), iter(fresh).__next__
            steps_in_training = config.sampler.train_steps
            return sampler.denoise(transformer, noise, sigmas, cross, memory, next_noise, steps_in_training)

        with self.arithmetic():
            draws = self._draw(state, len(sigmas))
            memory = state.cache.append(config.frames_per_block)
            with self.stopwatch.phase("denoise_ms"):  # from here on: drawing noise is the host's work
                latents = self._run("denoise", denoise, draws, memory)
        assert latents is not None
        return latents, memory

    def remember(self, state: RolloutState, latents: Tensor, memory: Pass) -> None:
        """Store the keys and values of a block's clean latents, and count the block."""

        def remember(latents: Tensor, memory: Pass) -> None:
            sampler.remember(self._world.transformer, latents, self._cross(state), memory)

        with self.arithmetic(), self.stopwatch.phase("denoise_ms"):
            self._run("remember", remember, latents, memory)
            state.cache.commit(memory)
            state.append_history(latents)

    def decode(self, state: RolloutState, latents: Tensor) -> Delivery:
        """Issue decoding of a block and the copy of its frames to the host, uint8 ``[B, T, H, W, 3]``."""
        before = state.codec
        with self.arithmetic(), self._beside.after(latents, *before.memory.values()):
            with self.stopwatch.phase("decode_ms"):
                if self._decode_graphs is None:
                    frames, state.codec = self._decode(latents, before)
                else:
                    frames, state.codec = self._decode_graphs.run(self._decode, latents, before)
            return Delivery(frames)

    def _decode(self, latents: Tensor, before: CodecState) -> tuple[Tensor, CodecState]:
        codec = self._world.codec
        pixels, after = codec.decode(latents.to(next(codec.parameters()).dtype), before)
        frames = pixels.float().clamp_(-1, 1).add_(1).mul_(127.5).round_().to(torch.uint8)
        return frames.movedim(2, -1).contiguous(), after

    def draw_ahead(self, state: RolloutState) -> None:
        """Draw the next block's noise on the host while a GPU is busy with this one."""
        if self._world.device.type == "cuda" and isinstance(state.noise, WorldNoise):
            config = self._world.config
            state.noise.draw_ahead(config.block_shape, len(denoising_sigmas(config.sampler)))

    def settle(self) -> None:
        """Make what is issued from now on see the complete state."""
        self._beside.join()

    def read_timing(self) -> dict[str, float]:
        """Milliseconds by phase since the last reading, see `Rollout.timing`."""
        return self.stopwatch.read("denoise_ms", "recache_ms", "decode_ms")

    def arithmetic(self) -> AbstractContextManager[object]:
        """Context for all arithmetic: compiled functions need tensors of one kind, whoever calls them."""
        return nullcontext() if self._world.compiled == "off" else plain_tensors()

    def _run(
        self, name: str, function: Callable[[Tensor, Pass], Tensor | None], x: Tensor, memory: Pass
    ) -> Tensor | None:
        return self.graphs.run(name, function, x, memory) if self.graphs else function(x, memory)

    def _draw(self, state: RolloutState, count: int) -> Tensor:
        """Draw all noise of a block in order of use; it is sent in one copy, so the device never waits."""
        config = self._world.config
        draws, viewpoints = state.noise.block(config.block_shape, count), config.viewpoints
        blank = [world for world, timeline in enumerate(state.cache.timelines) if not timeline.stored]
        if viewpoints and blank:
            draws[0, blank] = with_viewpoints(draws[0, blank], *viewpoints)
        return to_device(draws, self._world.device)

    def _cross(self, state: RolloutState) -> list[KeysValues]:
        """The prompts' keys and values, recomputed if gradients have to reach the weights behind them."""
        transformer = self._world.transformer
        if torch.is_grad_enabled() and any(p.requires_grad for p in transformer.parameters()):
            return transformer.cross_keys_values(state.text.clone())  # a switch overwrites the text
        return state.cross.rows(slice(0, state.batch))
