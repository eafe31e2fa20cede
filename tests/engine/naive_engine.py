"""The engine written the slow, obvious way: lists of frames, joined and rotated anew at every call."""

import torch
import torch.nn.functional as F
from torch import Tensor

from longlive_env.engine.config import WorldConfig
from longlive_env.engine.rope import Rope, rotate
from longlive_env.engine.schedule import add_noise, denoising_sigmas, flow_to_x0
from longlive_env.engine.transformer import CausalWanTransformer


class NaiveWorld:
    """One world; `stored` holds the frames in the cache: index and, by layer, unrotated keys and values."""

    def __init__(self, config: WorldConfig, transformer: CausalWanTransformer) -> None:
        self.config, self.transformer = config, transformer
        self.rope = Rope(config.transformer.head_dim, config.grid)
        self.stored: list[dict] = []
        self.latents: list[Tensor] = []  # clean, [1, 1, C, h, w] each
        self.text: Tensor | None = None

    def _pass(self, latents: Tensor, sigma: float, first: int, before: list[dict], drop: int = 0) -> Tensor:
        """Run frames from `first` on, which see `before` and each other, but not the `drop` oldest."""
        count = latents.shape[1]
        self.passing = [{"index": first + i, "k": {}, "v": {}} for i in range(count)]
        self.visible = before + self.passing[drop:]
        self.queries = [self._position(frame) for frame in self.passing]
        cross = self.transformer.cross_keys_values(self.text)
        return self.transformer(latents, torch.full((1, count), sigma * 1000), cross, self)

    def _position(self, frame: dict) -> int:
        if self.config.rope == "absolute" or frame not in self.visible:
            return frame["index"]
        return self.visible.index(frame)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, backend: str) -> Tensor:
        tokens = self.config.frame_tokens
        for i, frame in enumerate(self.passing):
            frame["k"][layer], frame["v"][layer] = (x[:, i * tokens : (i + 1) * tokens] for x in (k, v))
        keys = [
            rotate(frame["k"][layer], self.rope.frames([[self._position(frame)]])) for frame in self.visible
        ]
        q = rotate(q, self.rope.frames([self.queries]))
        k, v = torch.cat(keys, 1), torch.cat([frame["v"][layer] for frame in self.visible], 1)
        return F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2)

    def _evict(self, room: int) -> list[dict]:
        """What stays of the cache when `room` frames enter."""
        sink, context = self.config.sink_frames, self.config.context_frames
        if len(self.stored) + room <= context:
            return self.stored
        newest = context - sink - room
        return self.stored[:sink] + (self.stored[sink:][-newest:] if newest else [])

    @torch.no_grad()
    def block(self, noise: Tensor, fresh: list[Tensor]) -> Tensor:
        first, x = len(self.latents), noise
        before = self._evict(noise.shape[1])
        sigmas = denoising_sigmas(self.config.sampler)
        for step, sigma in enumerate(sigmas):
            x0 = flow_to_x0(x, self._pass(x, sigma, first, before), sigma)
            if step + 1 < len(sigmas):
                x = add_noise(x0, fresh[step], sigmas[step + 1])
        self._pass(x0, 0.0, first, before)
        self.stored = before + self.passing
        self.latents += x0.split(1, 1)
        return x0

    @torch.no_grad()
    def recache(self) -> None:
        """All of the newest frames pass, also those whose keys and values are not kept."""
        count = min(len(self.latents), self.config.context_frames)
        keeps = self.config.keep_sink and len(self.latents) > self.config.context_frames
        sink = self.stored[: self.config.sink_frames] if keeps else []
        self._pass(torch.cat(self.latents[-count:], 1), 0.0, len(self.latents) - count, sink, len(sink))
        self.stored = self.visible
