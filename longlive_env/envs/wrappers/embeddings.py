"""A menu of vectors in the space of a world's text encoder, for agents with continuous actions.

Shapes: P prompts of a table, n tokens of a prompt, L tokens that a world reads, D width of the encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces

from longlive_env.envs import goals
from longlive_env.envs.prompts import EmbeddedPrompt
from longlive_env.envs.torch_settings import plain_settings
from longlive_env.envs.vocabulary import vocabulary_of
from longlive_env.envs.wrappers.menus import checked_prompts
from longlive_env.errors import ConfigError, PromptError

if TYPE_CHECKING:
    from longlive_env.engine.world import World

Vectors = npt.NDArray[np.float32]

SAME = 1e-5  # vectors that differ by less are equal up to float32 rounding
SHARPNESS = 40.0  # of the weights of moved tokens; of 10 and 40, worlds obeyed 40 more often
PATIENCE = 10  # consecutive vain draws allowed, per prompt found so far


class PromptEmbeddings:
    """Vectors that stand for the prompt of a table with the nearest embedding. The space is a Box.

    A prompt's embedding is the mean of what the world's text encoder makes of its tokens. Embeddings are
    shifted and scaled so that the table fills the box from -1 to 1 in every component.

    Args:
        world: world whose text encoder is used.
        prompts: prompts of the table.
        components: number of principal components to keep; None keeps the space of the encoder.
        direct: whether a vector conditions the world directly: the tokens of the nearest prompt are moved
            until their mean is the vector, see `moved`. The vector of a prompt in the table yields that
            prompt.

    Raises:
        ConfigError: the table has fewer than two prompts, or something other than texts, or too few
            components.
    """

    def __init__(
        self, world: World, prompts: Sequence[str], *, components: int | None = None, direct: bool = False
    ) -> None:
        self.prompts = tuple(dict.fromkeys(checked_prompts(prompts)))
        if len(self.prompts) < 2:
            raise ConfigError(f"got the prompts {prompts!r}; expected a list of at least two")
        self.direct = direct
        self._world = world
        vectors = pooled(world, self.prompts)
        self._mean: Vectors = vectors.mean(axis=0)  # [D]
        vectors -= self._mean
        self._axes: Vectors = np.eye(vectors.shape[1], dtype=np.float32)  # [components, D]
        if components is not None:
            most = min(vectors.shape)
            if not 1 <= components <= most:
                raise ConfigError(f"components is {components}; expected 1 to {most}")
            self._axes = np.linalg.svd(vectors, full_matrices=False)[2][:components]
            vectors = vectors @ self._axes.T
        self._scale: Vectors = np.maximum(np.abs(vectors).max(axis=0), 1e-8)  # [components]
        self.entries: Vectors = vectors / self._scale  # [P, components]
        self.space = spaces.Box(-1, 1, (self.entries.shape[1],), np.float32)

    @classmethod
    def of(
        cls,
        world: World,
        prompts: Sequence[str] | None,
        *,
        count: int,
        components: int | None,
        direct: bool,
    ) -> PromptEmbeddings:
        """Create the menu for a table; without `prompts`, for `count` prompts drawn from the vocabulary."""
        table = sampled_prompts(world.config.vocabulary, count) if prompts is None else prompts
        return cls(world, table, components=components, direct=direct)

    def place(self, prompt: str) -> Vectors:
        """Return the vector of any prompt, [components]; those of the table lie within the box."""
        away = pooled(self._world, [prompt])[0] - self._mean
        found: Vectors = (away @ self._axes.T) / self._scale
        return found

    def prompt(self, action: Any, now: str) -> str:
        """See `Menu`."""
        try:
            vector = np.asarray(action, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise PromptError(f"the action is {action!r:.80}; expected {self.space}") from error
        if vector.shape != self.space.shape:
            raise PromptError(f"got an action {list(vector.shape)}; expected {list(self.space.shape or ())}")
        if not np.isfinite(vector).all():
            raise PromptError(f"the action has {vector[~np.isfinite(vector)][0]}; expected finite numbers")
        steps = (vector - self.entries) * self._scale  # in the encoder's scale [P, components]
        nearest = int((steps**2).sum(axis=1).argmin())
        if not self.direct or np.abs(vector - self.entries[nearest]).max() < SAME:
            return self.prompts[nearest]
        tokens = moved(tokens_of(self._world, self.prompts[nearest]), steps[nearest] @ self._axes)
        return EmbeddedPrompt.of(torch.from_numpy(tokens), near=self.prompts[nearest])


def moved(tokens: Vectors, step: Vectors) -> Vectors:
    """Move tokens so that their mean moves by `step`.

    Changing one word of a prompt changes the mean only a little, and all of the change is in one token. So
    nearly all of the step goes to the tokens that point away from it, which are those that it takes back.
    Spread evenly, the step would move no token far enough to change its meaning.

    Args:
        tokens: tokens of a prompt [n, D].
        step: change of the mean [D].

    Returns:
        Tokens [n, D] whose mean is that of `tokens` plus `step`.
    """
    lengths = np.linalg.norm(tokens, axis=1) * np.linalg.norm(step)
    away = -(tokens @ step) / np.maximum(lengths, 1e-8)  # cosines with the step back [n]
    shares = np.exp(SHARPNESS * (away - away.max()))
    shares /= shares.sum()
    result: Vectors = (tokens + len(tokens) * shares[:, None] * step).astype(np.float32)
    return result


def sampled_prompts(name: str, count: int, seed: int = 0) -> tuple[str, ...]:
    """Draw distinct sensible prompts from the vocabulary of that name, the same for the same seed.

    Prompts of the tiny world share one wording, so that their embeddings differ only by meaning.

    Raises:
        ConfigError: there is no such vocabulary, or it has fewer prompts.
    """
    rng, found, vain = np.random.default_rng(seed), dict[str, None](), 0
    vocabulary = vocabulary_of(name)
    while len(found) < count:
        prompt, before = vocabulary.sample(rng), len(found)
        found[goals.describe(goals.parse(prompt)) if vocabulary.attributes else prompt] = None
        vain = 0 if len(found) > before else vain + 1
        if vain > PATIENCE * len(found):
            raise ConfigError(
                f"the vocabulary {name!r} has no {count} prompts to draw; ask for fewer, or give your own"
            )
    return tuple(found)


def tokens_of(world: World, prompt: str) -> Vectors:
    """Encode a prompt's own tokens [n, D]."""
    with plain_settings():
        tokens = world.encode_prompt([prompt])[0].float()  # [L, D], zero beyond the prompt
    rows: Vectors = tokens[tokens.abs().sum(dim=1) > 0].cpu().numpy()
    return rows


def pooled(world: World, prompts: Sequence[str]) -> Vectors:
    """Return the mean embedding of each prompt's tokens [P, D]."""
    return np.stack([tokens_of(world, prompt).mean(axis=0) for prompt in prompts])
