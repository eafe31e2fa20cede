"""Prompts that a given world can read."""

from __future__ import annotations

from typing import Any

from longlive_env.engine.tokenizer import clean_prompt
from longlive_env.engine.world import World
from longlive_env.envs.spaces import PromptSpace
from longlive_env.errors import PromptError

CHARACTERS_PER_TOKEN = 8  # generous, so that what makes a prompt over-long is its number of tokens


def prompt_space(world: World) -> PromptSpace:
    """The prompts of a world."""
    return PromptSpace(world.config.transformer.text_len * CHARACTERS_PER_TOKEN, world=world.config.name)


def checked_prompt(world: World, prompt: Any) -> str:
    """`prompt` as the world reads it: encodings repaired, white space collapsed.

    Raises:
        PromptError: it is no text, holds control characters, or has more tokens than the world reads.
    """
    text = clean_prompt(prompt_space(world).check(prompt))
    limit = world.config.transformer.text_len
    if world.tokenizer is not None:
        _, mask = world.tokenizer([text], limit + 1)
        if int(mask.sum()) > limit:
            raise PromptError(
                f"the prompt {text[:60]!r}... is longer than the {limit} tokens that world "
                f"{world.config.name!r} reads; shorten it"
            )
    return text
