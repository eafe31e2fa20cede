"""The state of running worlds: everything that a rollout's future depends on, except the weights.

Shapes: B worlds, L text tokens, C latent channels, h x w latents.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from longlive_env.engine.codec import CodecState
from longlive_env.engine.config import WorldConfig
from longlive_env.engine.kv_cache import KVCache, Timeline
from longlive_env.engine.noise import NoiseSource, WorldNoise
from longlive_env.engine.prompt_cache import PromptCache
from longlive_env.engine.transfer import rows_of
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.errors import SnapshotError


class RolloutState:
    """State of a batch of worlds, each with its own age, prompt and noise.

    Args:
        config: the world's configuration.
        transformer: network that computes the prompts' keys and values; buffers take its device and type.
        noise: noise source of all worlds.
        batch: B.
        cache: cache of B worlds, which the state then owns; by default a new one.

    Attributes:
        prompts: text of each world's prompt.
        whole_prompts: the same, completed; see `Completion`.
        text: their embeddings ``[B, L, text_dim]``.
        cross: their cross-attention keys and values.
        cache: self-attention keys and values, and the worlds' ages.
        history: the newest clean latents, oldest first, float32 ``[B, context_frames, C, h, w]``; a world
            younger than that has zeros before them.
        noise: noise source.
        codec: state of decoding.
    """

    def __init__(
        self,
        config: WorldConfig,
        transformer: CausalWanTransformer,
        noise: NoiseSource,
        batch: int,
        cache: KVCache | None = None,
    ) -> None:
        weight = transformer.patch_embedding.weight
        device, dtype = weight.device, weight.dtype
        shape = config.transformer
        self.config = config
        self.noise = noise
        self.prompts, self.whole_prompts = [""] * batch, [""] * batch
        if cache is None:
            cache = KVCache(config, batch, device=device, dtype=transformer.kv_dtype or dtype)
        self.cache = cache
        self.cross = PromptCache(config, batch, device=device, dtype=dtype)
        self.codec = CodecState.fresh(batch)
        with torch.inference_mode(False):
            self.text = torch.zeros(batch, shape.text_len, shape.text_dim, device=device, dtype=dtype)
            self.history = torch.zeros(batch, config.context_frames, *config.latent_shape, device=device)
        self._transformer = transformer

    @property
    def batch(self) -> int:
        """Number of worlds."""
        return len(self.prompts)

    def set_prompt(self, world: int, prompt: str, text: Tensor, whole: str) -> None:
        """Give a world a prompt, its embedding ``[L, text_dim]``, and what the latter stands for in words."""
        self.prompts[world], self.whole_prompts[world] = prompt, whole
        self.text[world] = text
        with torch.no_grad():  # one world at a time, so that the numbers do not depend on the batch
            self.cross.assign(world, self._transformer.cross_keys_values(self.text[world : world + 1]))

    def append_history(self, latents: Tensor) -> None:
        """Add a block's clean latents ``[B, F, C, h, w]``; as many older ones stay as a recache reads."""
        kept = torch.cat((self.history, latents.detach()), 1)[:, -self.history.shape[1] :]
        self.history.copy_(kept)

    def give(self, world: int, latents: Tensor, codec: CodecState) -> None:
        """Begin the video of a new world with given latents, which are not cached yet.

        Args:
            world: index of the world.
            latents: clean latents ``[1, F, C, h, w]``, F at most `context_frames`.
            codec: decoding state of one world after these latents.
        """
        frames = latents.shape[1]
        self.cache.timelines[world] = Timeline(position=frames)
        self.history[world, -frames:] = latents[0]
        self.codec = self.codec.assign([world], codec)

    def reset(self, world: int) -> None:
        """Reset a world to its start, except its prompt and noise; the next prompt is the first of a take."""
        self.whole_prompts[world] = ""
        self.cache.reset(world)
        self.history[world] = 0
        self.codec = self.codec.reset([world])

    def select(self, worlds: Sequence[int]) -> RolloutState:
        """Copy some worlds, in the order given, into a state of their own; repeats are allowed."""
        noise, cache = self._seeded_noise().select(worlds), self.cache.select(worlds)
        new = RolloutState(self.config, self._transformer, noise, len(worlds), cache)
        new.prompts = [self.prompts[world] for world in worlds]
        new.whole_prompts = [self.whole_prompts[world] for world in worlds]
        new.codec = self.codec.select(worlds)
        rows = rows_of(worlds, self.batch, self.text.device)
        for mine, theirs in new._tensors(self):
            mine.copy_(theirs.index_select(0, rows))
        return new

    def assign(self, worlds: Sequence[int], source: RolloutState) -> None:
        """Replace some worlds with those of `source`, another state of the same `World`."""
        everyone, noise, other_noise = range(source.batch), self._seeded_noise(), source._seeded_noise()
        all_of_them = list(worlds) == list(range(self.batch))
        # First whatever may allocate memory.
        codec = self.codec.overwrite(source.codec) if all_of_them else self.codec.assign(worlds, source.codec)
        noise.assign(worlds, other_noise, everyone)
        self.cache.assign(worlds, source.cache, everyone)
        self.codec = codec
        for world, other in zip(worlds, everyone, strict=True):
            self.prompts[world] = source.prompts[other]
            self.whole_prompts[world] = source.whole_prompts[other]
            for mine, theirs in self._tensors(source):
                mine[world].copy_(theirs[other])

    def _tensors(self, other: RolloutState) -> list[tuple[Tensor, Tensor]]:
        """Tensors of this state beside those of another, worlds first."""
        cross, other_cross = self.cross.buffer.movedim(2, 0), other.cross.buffer.movedim(2, 0)
        return [(self.text, other.text), (self.history, other.history), (cross, other_cross)]

    def _seeded_noise(self) -> WorldNoise:
        if not isinstance(self.noise, WorldNoise):
            raise SnapshotError(
                f"this rollout draws noise from a {type(self.noise).__name__}, which cannot be copied; "
                "start it with seeds to take snapshots and forks"
            )
        return self.noise
