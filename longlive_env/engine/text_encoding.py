"""Prompts to embeddings: a text encoder, loaded when a prompt needs it, and a cache of its results.

Shapes: L text tokens, n tokens of a prompt, D width of the embedding.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from longlive_env.engine.devices import without_autocast
from longlive_env.engine.text_encoder import UMT5Encoder
from longlive_env.engine.tokenizer import Tokenizer, clean_prompt
from longlive_env.engine.transfer import to_device
from longlive_env.engine.weights import read_state
from longlive_env.engine.whole_files import in_one_step
from longlive_env.errors import WeightsError

Placement = Literal["resident", "freed", "cpu"]  # on the device, there only to encode, or on the host
KEPT_IN_MEMORY = 32  # embeddings of recent prompts
KEPT_ON_DISK = 1024  # files; one of 100 tokens at width 4096 in half precision takes 0.8 MB

logger = logging.getLogger(__name__)


class EmbeddingStore:
    """Embeddings on disk, one file per prompt.

    Args:
        folder: folder of one text encoder, tokenizer, type and type of device; see `store_folder`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, prompt: str) -> Tensor | None:
        """The rows ``[n, D]`` of a prompt, or None."""
        file = self._file(prompt)
        if not os.path.isfile(file):  # raises nothing if the folder is not accessible
            return None
        try:
            rows = read_state(file)["text"].clone()
        except (WeightsError, KeyError) as error:
            logger.warning("%s is computed again: %s", file, error)
            return None
        with contextlib.suppress(OSError):  # the folder may be read-only
            os.utime(file)  # the newest are kept
        return rows

    def put(self, prompt: str, rows: Tensor) -> None:
        """Keep the rows ``[n, D]`` of a prompt; a folder that cannot be written is not an error."""
        file = self._file(prompt)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with in_one_step(file) as aside:
                save_file({"text": rows.contiguous().cpu()}, aside)
            files = sorted(self.folder.glob("*.safetensors"), key=lambda one: one.stat().st_mtime_ns)
            for old in files[:-KEPT_ON_DISK]:
                old.unlink()
        except (OSError, SafetensorError) as error:
            logger.warning("the embedding of a prompt is not kept in %s: %s", self.folder, error)

    def _file(self, prompt: str) -> Path:
        name = hashlib.sha256(clean_prompt(prompt).encode()).hexdigest()
        return self.folder / f"{name}.safetensors"


def store_folder(home: Path, sources: str, dtype: torch.dtype, device: torch.device) -> Path:
    """Folder for embeddings computed in one way, so that a cached one equals what would be computed.

    Args:
        home: folder of all stores.
        sources: identity of the text encoder's and tokenizer's files.
        dtype: type of the text encoder.
        device: device it runs on, of which only the type counts.
    """
    key = hashlib.sha256(f"{sources} {dtype} {device.type}".encode()).hexdigest()
    return home / key[:16]


class TextEncoding:
    """A text encoder and the embeddings that it has computed.

    Args:
        encoder: the model, a function that loads it on first use, or None.
        freed: whether to drop a loaded model after each call that needed it.
        store: embeddings on disk.
    """

    def __init__(
        self,
        encoder: UMT5Encoder | Callable[[], UMT5Encoder] | None,
        store: EmbeddingStore | None = None,
        *,
        freed: bool = False,
    ) -> None:
        self.freed = freed
        self.store = store
        self._loaded = encoder if isinstance(encoder, UMT5Encoder) else None
        self._load = None if isinstance(encoder, UMT5Encoder) else encoder
        self._recent: OrderedDict[str, Tensor] = OrderedDict()  # [1, L, D] each

    @property
    def present(self) -> bool:
        """Whether prompts can be encoded; looking does not load the model."""
        return self._loaded is not None or self._load is not None

    @property
    def loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._loaded is not None

    @property
    def model(self) -> UMT5Encoder | None:
        """The text encoder, loaded if need be."""
        model = self._loaded
        if model is None and self._load is not None:
            model = self._loaded = self._load()
        return model

    def embed(
        self,
        tokenizer: Tokenizer,
        prompts: Sequence[str],
        length: int,
        device: torch.device,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """Embed prompts one by one: ``[B, L, D]`` on `device`, zero beyond each prompt.

        Args:
            tokenizer: tokenizer of the text encoder, which must be present.
            prompts: B prompts.
            length: L.
            device: device of the result.
            dtype: type of the result; None takes the text encoder's.
        """
        found = []
        for prompt in prompts:
            text = self._recent.pop(prompt, None)  # another thread may also be reading or dropping it
            if text is None:
                text = self._embedding(tokenizer, prompt, length).to(device, dtype)
            self._recent[prompt] = text
            found.append(text)
        if self.freed and self._load is not None:
            self._loaded = None
        while len(self._recent) > KEPT_IN_MEMORY:
            self._recent.popitem(last=False)
        return torch.cat([text.to(device) for text in found])

    def _embedding(self, tokenizer: Tokenizer, prompt: str, length: int) -> Tensor:
        rows = self.store.get(prompt) if self.store else None
        if rows is not None and rows.shape[0] <= length:
            return torch.nn.functional.pad(rows, (0, 0, 0, length - rows.shape[0]))[None]
        model = self.model
        assert model is not None  # the caller has checked
        ids, mask = tokenizer([prompt], length)
        place = next(model.parameters()).device
        with torch.no_grad(), without_autocast(place):  # it is kept, perhaps on disk
            embedding: Tensor = model(to_device(ids, place), mask)
        if self.store:
            self.store.put(prompt, embedding[0, : int(mask.sum())])
        return embedding
