"""Scores of how well frames show a text, read from pixels and never from the requested prompt.

Shapes: N blocks, T = 12 pixel frames per block, V views of a block, H rows, W columns.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from longlive_env.envs import goals
from longlive_env.envs.checks import as_number
from longlive_env.envs.goals import LOOKS
from longlive_env.errors import ConfigError, MissingExtraError
from longlive_env.frames import Frames
from longlive_env.tiny.scene import ATTRIBUTES, BLOCK_FRAMES

if TYPE_CHECKING:
    from longlive_env.tiny.probe import Probe

Scores = npt.NDArray[np.float64]

ROUNDING = 0.01  # how far rounding may take a score beyond 0 and 1: after 1, bfloat16 has 1.0078


class RewardFn(Protocol):
    """Scores blocks against texts; any callable with this signature can be a task's `reward_fn`."""

    def __call__(self, frames: Frames, texts: Sequence[str], /) -> Sequence[float] | Scores:
        """Score how well each block shows its text.

        Args:
            frames: blocks, uint8 [N, T, H, W, 3].
            texts: N texts.

        Returns:
            N scores from 0 (not at all) to 1 (entirely): a list, or an array or a tensor of any type. Up to
            `ROUNDING` beyond is clipped.
        """


@runtime_checkable
class Describes(Protocol):
    """A reward function that can also describe frames, so that pictures can replace texts."""

    def describe(self, frames: Frames, /) -> str:
        """Return a text for which `frames`, uint8 [H, W, 3] or [T, H, W, 3], would score highest."""


class FramesRead(Protocol):
    """What was read in N blocks of frames."""

    def scores(self, texts: Sequence[str], /) -> Sequence[float] | Scores:
        """Score how well each block shows its text, as `RewardFn` does."""

    def descriptions(self) -> list[str]:
        """Describe what each block shows, in the words of goals."""


@runtime_checkable
class ReadsFrames(Protocol):
    """A reward function that reads frames once, and can then score several texts and say what it sees."""

    def read(self, frames: Frames, /) -> FramesRead:
        """Read blocks, uint8 [N, T, H, W, 3]."""


def scores(reward_fn: RewardFn, frames: Frames, texts: Sequence[str]) -> list[float]:
    """Score blocks, uint8 [N, T, H, W, 3], against their texts with `reward_fn`, and check the result.

    Raises:
        ConfigError: it returned anything but a number from 0 to 1, up to `ROUNDING`, for each block.
    """
    return checked_scores(reward_fn(frames, texts), texts)


def checked_scores(given: Sequence[float] | Scores, texts: Sequence[str]) -> list[float]:
    """Check the scores of blocks, one for each text, and clip what rounding put beyond; see `scores`."""
    values = _plain(given)
    numbers = list(map(as_number, values)) if isinstance(values, Sequence) else []
    found = [one for one in numbers if one is not None and -ROUNDING <= one <= 1 + ROUNDING]
    if len(numbers) != len(texts) or len(found) < len(numbers):
        beyond = [one for one in numbers if one is not None and one not in found]
        raise ConfigError(
            f"the reward function returned {reprlib.repr(beyond or values)} for {len(texts)} blocks; "
            "expected as many scores from 0 to 1"
        )
    return [min(max(one, 0.0), 1.0) for one in found]


def _plain(given: Any) -> Any:
    """Return arrays and tensors, of any type and device, as lists, and anything else as it is."""
    return given.tolist() if hasattr(given, "tolist") else given


@lru_cache
def shared_probe() -> Probe:
    """Return the shipped probe, loaded once per process."""
    from longlive_env.tiny.probe import Probe

    return Probe.load()


@dataclass(frozen=True)
class ProbeReading:
    """What the probe sees in N blocks; see `FramesRead`.

    Attributes:
        probabilities: attribute -> probability of each of its values, float32 [N, values].
    """

    probabilities: Mapping[str, npt.NDArray[np.float32]]

    def scores(self, texts: Sequence[str], /) -> Scores:
        """Return the mean probability of the values that each block's text names.

        Raises:
            ConfigError: a text names nothing that the probe reads, or two values of an attribute.
        """
        wanted = [goals.parse(text) for text in texts]
        found = [
            [self.probabilities[name][row, ATTRIBUTES[name].index(value)] for name, value in values.items()]
            for row, values in enumerate(wanted)
        ]
        return np.array([np.mean(values) for values in found])

    def likeliest(self, attributes: Sequence[str] = tuple(ATTRIBUTES)) -> list[dict[str, tuple[str, float]]]:
        """Return attribute -> its likeliest value and that value's probability, for each block."""
        best = {name: self.probabilities[name].argmax(axis=1) for name in attributes}
        return [
            {
                name: (ATTRIBUTES[name][index], float(self.probabilities[name][row, index]))
                for name, index in zip(best, found, strict=True)
            }
            for row, found in enumerate(zip(*best.values(), strict=True))
        ]

    def descriptions(self, attributes: Sequence[str] = tuple(ATTRIBUTES)) -> list[str]:
        """Name the likeliest value of some attributes in each block."""
        return [
            goals.describe({name: value for name, (value, _) in seen.items()})
            for seen in self.likeliest(attributes)
        ]


@dataclass(frozen=True)
class ProbeReward:
    """Scores scenes of the tiny world by the mean probability of the values that a text names.

    A value that is not the likeliest of its attribute has a probability below 0.5, so one wrong value among n
    keeps the score below 1 - 0.5 / n.

    Attributes:
        probe: classifier; None takes the shipped one.
    """

    probe: Probe | None = None

    def __call__(self, frames: Frames, texts: Sequence[str], /) -> Scores:
        """See `RewardFn`.

        Raises:
            ConfigError: the probe cannot read frames of this size, or a text.
        """
        return self.read(frames).scores(texts)

    def read(self, frames: Frames, /) -> ProbeReading:
        """See `ReadsFrames`."""
        import torch

        from longlive_env.envs.torch_settings import plain_settings

        with plain_settings():
            probe = self.probe or shared_probe()
            found = probe.probabilities(torch.from_numpy(np.ascontiguousarray(frames)))
        return ProbeReading({name: rows.cpu().numpy() for name, rows in found.items()})

    @staticmethod
    def can_read(height: int, width: int) -> bool:
        """Return whether the probe can read pictures of a size."""
        from longlive_env.tiny.probe import readable_scale

        try:
            readable_scale(height, width)
        except ConfigError:
            return False
        return True

    def describe(self, frames: Frames, /) -> str:
        """Name the likeliest values: looks for a picture [H, W, 3], all attributes for a block of 12 frames.

        Raises:
            ConfigError: the frames have another shape or dtype, or a size that the probe cannot read.
        """
        if frames.dtype != np.uint8 or frames.ndim not in (3, 4) or frames.shape[-1] != 3:
            raise ConfigError(
                f"got a goal picture {frames.dtype} {list(frames.shape)}; expected uint8 [H, W, 3], "
                f"or [{BLOCK_FRAMES}, H, W, 3]"
            )
        if frames.ndim == 4 and len(frames) != BLOCK_FRAMES:
            raise ConfigError(f"got a goal of {len(frames)} frames; expected 1 or {BLOCK_FRAMES}")
        names = tuple(ATTRIBUTES) if frames.ndim == 4 else LOOKS  # a picture does not move
        block = frames if frames.ndim == 4 else np.repeat(frames[None], BLOCK_FRAMES, axis=0)
        return self.read(block[None]).descriptions(names)[0]


Similarity = Callable[[Frames, Sequence[str]], npt.NDArray[np.floating[Any]]]


@dataclass(frozen=True)
class ImageTextReward:
    """Scores frames of any world with a model that compares pictures with texts, such as CLIP.

    The absolute similarities of such models mean little, so the score is the goal's share in a softmax over
    the goal and the texts of `contrast`, averaged over a few frames of the block.

    Attributes:
        similarity: function of pictures, uint8 [V, H, W, 3], and M texts that returns similarities [V, M],
            usually cosines.
        contrast: texts of what else the frames might show; must not include the goal itself.
        scale: factor for similarities before the softmax; CLIP was trained with 100.
        views: indices of the frames to compare.
    """

    similarity: Similarity
    contrast: tuple[str, ...] = ("an empty scene", "a blurred picture", "noise")
    scale: float = 100.0
    views: tuple[int, ...] = (5, 11)

    def __post_init__(self) -> None:
        if not self.contrast:
            raise ConfigError("contrast is empty, and so every score would be 1; give at least one text")

    def __call__(self, frames: Frames, texts: Sequence[str], /) -> Scores:
        """See `RewardFn`.

        Raises:
            ConfigError: `similarity` returned another shape.
        """
        found = []
        for block, text in zip(frames, texts, strict=True):
            views = block[list(self.views)]
            candidates = [text, *(other for other in self.contrast if other != text)]
            logits = self.scale * np.asarray(_plain(self.similarity(views, candidates)), dtype=np.float64)
            if logits.shape != (len(views), len(candidates)):
                raise ConfigError(
                    f"similarity returned {list(logits.shape)} for {len(views)} pictures and "
                    f"{len(candidates)} texts; expected [{len(views)}, {len(candidates)}]"
                )
            shares = np.exp(logits - logits.max(axis=1, keepdims=True))
            found.append((shares[:, 0] / shares.sum(axis=1)).mean())
        return np.array(found)


def clip_similarity(model: str = "openai/clip-vit-base-patch32", device: str = "cpu") -> Similarity:
    """Return the cosine similarity of a CLIP model from `transformers`, for `ImageTextReward`.

    Args:
        model: repository on the Hugging Face hub, which is downloaded, or a folder.
        device: device of the model.

    Raises:
        MissingExtraError: transformers is not installed.
    """
    try:
        from transformers import AutoModel, AutoProcessor
    except ImportError as error:
        raise MissingExtraError(
            "a CLIP reward needs transformers, which is not installed; "
            "install it with: pip install transformers"
        ) from error
    import torch

    clip, processor = AutoModel.from_pretrained(model).to(device).eval(), AutoProcessor.from_pretrained(model)

    def similarity(pictures: Frames, texts: Sequence[str]) -> npt.NDArray[np.floating[Any]]:
        inputs = processor(
            text=list(texts), images=list(pictures), return_tensors="pt", padding=True, truncation=True
        )
        with torch.inference_mode():
            out = clip(**inputs.to(device))
        pictures_, texts_ = (
            torch.nn.functional.normalize(vectors, dim=-1) for vectors in (out.image_embeds, out.text_embeds)
        )
        return (pictures_ @ texts_.T).float().cpu().numpy()

    return similarity
