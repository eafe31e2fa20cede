"""Prompts that a given world can read: texts or embeddings.

Shapes: n tokens of a prompt, L tokens that a world reads at most, D width of an embedding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from longlive_env.engine.config import WorldConfig
from longlive_env.engine.tokenizer import clean_prompt
from longlive_env.engine.world import World
from longlive_env.envs.spaces import PromptSpace
from longlive_env.errors import PromptError

CHARACTERS_PER_TOKEN = 8  # generous, so that the number of tokens is what limits a prompt
CHARACTERS = 2048  # at least, as some worlds put any prompt into a few words, see `World.completed`


class EmbeddedPrompt(str):
    """An embedding that conditions a world in place of a text; envs accept it as an action.

    Its text is a name, made of a nearby text and a digest of its numbers: equal embeddings have equal names,
    so repeating one changes nothing. The embedding cannot be recovered from its name.

    Attributes:
        tokens: tokens as the text encoder would output for a prompt, float32 [n, D], n at most L.
        near: the nearby text.
    """

    tokens: Tensor
    near: str

    @classmethod
    def of(cls, tokens: Tensor, near: str) -> EmbeddedPrompt:
        """Create the embedding `tokens` [n, D], named after the text `near`.

        Raises:
            PromptError: it has another number of axes, or contains values that are not finite.
        """
        if tokens.ndim != 2 or not tokens.isfinite().all():
            raise PromptError(f"got an embedding {list(tokens.shape)}; expected tokens [n, D], all finite")
        rows = tokens.detach().float().cpu().contiguous()
        digest = hashlib.blake2b(rows.numpy().tobytes(), digest_size=4).hexdigest()
        prompt = cls(f"{near} [{digest}]")
        prompt.tokens, prompt.near = rows, near
        return prompt


def prompt_space(config: WorldConfig) -> PromptSpace:
    """Return the space of a world's prompts."""
    longest = max(CHARACTERS, config.transformer.text_len * CHARACTERS_PER_TOKEN)
    return PromptSpace(longest, vocabulary=config.vocabulary)


def checked_prompt(world: World, prompt: Any) -> str:
    """Return `prompt` as the world reads it: encoding repaired, white space collapsed, embeddings unchanged.

    Raises:
        PromptError: it is not text, contains control characters, stands for more tokens than the world reads,
            or is an embedding of another width.
    """
    limit, width = world.config.transformer.text_len, world.config.transformer.text_dim
    if isinstance(prompt, EmbeddedPrompt):
        count, got = prompt.tokens.shape
        if not 1 <= count <= limit or got != width:
            raise PromptError(
                f"the embedding is [{count}, {got}]; world {world.config.name!r} reads 1 to {limit} tokens "
                f"of width {width}"
            )
        return prompt
    text = clean_prompt(prompt_space(world.config).check(prompt))
    world.check_prompt_length(text)
    return text


def embeddings(
    world: World, prompts: Sequence[str], before: Sequence[str] | None = None
) -> tuple[Tensor | None, list[str] | None]:
    """Return embeddings [B, L, D] of checked prompts, zero-padded, and what they stand for in words.

    Both are None if all prompts are texts, which a rollout encodes itself.

    Args:
        world: world that they are for.
        prompts: B prompts.
        before: the whole prompts in force, see `World.completed`; None at the start of takes.
    """
    if not any(isinstance(prompt, EmbeddedPrompt) for prompt in prompts):
        return None, None
    shape = (world.config.transformer.text_len, world.config.transformer.text_dim)
    found, whole = torch.zeros(len(prompts), *shape), []
    for row, prompt, shown in zip(found, prompts, before or [""] * len(prompts), strict=True):
        if isinstance(prompt, EmbeddedPrompt):
            row[: len(prompt.tokens)] = prompt.tokens
            whole.append(world.completed(prompt.near, shown))
        else:
            whole.append(world.completed(prompt, shown))
            row.copy_(world.encode_prompt(whole[-1:])[0])
    return found, whole
