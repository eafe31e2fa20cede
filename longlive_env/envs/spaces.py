"""The spaces of observations and prompts."""

from __future__ import annotations

import sys
import unicodedata
from functools import lru_cache
from typing import Any

import numpy as np
from gymnasium import spaces

from longlive_env.engine.config import WorldConfig
from longlive_env.envs.vocabulary import vocabulary_of
from longlive_env.errors import PromptError
from longlive_env.frames import Frames

SAMPLING_TRIES = 100

# Joiners are needed for emoji and several scripts; `str.isprintable` counts them as control characters.
_JOINERS = frozenset("\u200c\u200d")


def frames_space(config: WorldConfig) -> spaces.Space[Frames]:
    """Return the space of a world's newest block of frames, uint8 [T, H, W, 3]."""
    return spaces.Box(0, 255, (config.block_pixel_frames, config.height, config.width, 3), np.uint8)


def is_allowed(character: str) -> bool:
    """Return whether a prompt may contain this character: printable, any kind of space, or a joiner."""
    return character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"


@lru_cache
def _allowed_characters() -> tuple[str, ...]:
    return tuple(c for c in map(chr, range(sys.maxunicode + 1)) if is_allowed(c))


@lru_cache
def _allowed_set() -> frozenset[str]:
    return frozenset(_allowed_characters())


@lru_cache
def _character_index() -> dict[str, int]:
    return {character: index for index, character in enumerate(_allowed_characters())}


class PromptSpace(spaces.Text):
    """Texts that a world accepts as prompts: printable Unicode up to a maximum length, or the empty text.

    This is a `gymnasium.spaces.Text`, so wrappers and vector envs support it. Samples are sensible prompts
    for the world, not random characters; the empty text (which keeps the prompt) is never sampled. The space
    counts characters; that a prompt has no more tokens than the world reads is checked by `step`.

    Args:
        max_length: maximum number of characters.
        vocabulary: name of the vocabulary that samples come from, see `WorldConfig.vocabulary`.
        seed: seed of the samples.

    Raises:
        ConfigError: there is no such vocabulary.
    """

    def __init__(
        self, max_length: int, *, vocabulary: str = "tiny", seed: int | np.random.Generator | None = None
    ) -> None:
        # The constructor of Text would build tables of some 144,000 characters for every space.
        spaces.Space.__init__(self, dtype=str, seed=seed)
        self.min_length = 0
        self.max_length = max_length
        self.vocabulary = vocabulary
        vocabulary_of(vocabulary)  # an unknown one is found here, not in the middle of a game

    def check(self, prompt: Any) -> str:
        """Return `prompt` as a plain `str`.

        Raises:
            PromptError: it is not text, is too long, or contains a character that is not allowed.
        """
        if not isinstance(prompt, str):
            raise PromptError(
                f"the prompt is {prompt!r} ({type(prompt).__name__}); give a text, or '' to keep the prompt"
            )
        if len(prompt) > self.max_length:
            raise PromptError(
                f"the prompt has {len(prompt)} characters; the world takes at most {self.max_length}, so "
                "shorten it"
            )
        for position, character in enumerate(prompt):
            if not is_allowed(character):
                raise PromptError(
                    f"the prompt holds the control character U+{ord(character):04X} at position {position}; "
                    "replace it with a space"
                )
        return str(prompt)

    def contains(self, x: Any) -> bool:
        """Return whether `x` is a valid prompt."""
        try:
            self.check(x)
        except PromptError:
            return False
        return True

    def sample(self, mask: None = None, probability: None = None) -> str:  # type: ignore[override]
        """Sample a sensible prompt for the world.

        Raises:
            PromptError: a mask or a probability was given; prompts are drawn from the world's vocabulary.
        """
        if mask is not None or probability is not None:
            raise PromptError("prompts are drawn from the world's vocabulary; sample without a mask")
        for _ in range(SAMPLING_TRIES):
            prompt = vocabulary_of(self.vocabulary).sample(self.np_random)
            if len(prompt) <= self.max_length:
                return prompt
        return prompt[: self.max_length].rstrip()  # no sampled prompt was short enough

    @property
    def character_set(self) -> frozenset[str]:
        """Every allowed character."""
        return _allowed_set()

    @property
    def character_list(self) -> tuple[str, ...]:
        """Every allowed character, ordered by code point."""
        return _allowed_characters()

    def character_index(self, char: str) -> np.int32:
        """Return the position of `char` in `character_list`."""
        return np.int32(_character_index()[char])

    @property
    def characters(self) -> str:
        """Every allowed character as one text."""
        return "".join(_allowed_characters())

    def __repr__(self) -> str:
        return f"PromptSpace(max_length={self.max_length}, vocabulary={self.vocabulary!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PromptSpace) and (self.max_length, self.vocabulary) == (
            other.max_length,
            other.vocabulary,
        )

    def __hash__(self) -> int:
        return hash((self.max_length, self.vocabulary))
