"""Whether a world can read the prompts of a scenario, as far as is known without its weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from longlive_env.engine.config import SHIPPED, WorldConfig
from longlive_env.envs.spaces import is_allowed
from longlive_env.envs.vocabulary import vocabulary_of
from longlive_env.scenario.model import Scenario, check_words

if TYPE_CHECKING:
    from longlive_env.engine.completion import Completion
    from longlive_env.engine.tokenizer import Tokenizer

_MARKS = ",.:"  # each is a token of its own behind a word


def check_prompts(scenario: Scenario, config: WorldConfig) -> None:
    """Pass if no fault is found in a scenario and its prompts, those of keys included.

    Args:
        scenario: the scenario to check.
        config: configuration of the world that it names.

    Raises:
        ScenarioError: it cannot be played, see `Scenario.plan`.
        PromptError: a prompt cannot be read, see `prompt_check`; the message names file and line.
        WeightsError: the world's folder holds no tokenizer.
    """
    check = prompt_check(scenario.world, config)
    scenario.plan(config).check(check)
    check_words(scenario.bound, check, scenario.file)


def prompt_check(world: str, config: WorldConfig) -> Callable[[str], str]:
    """A function that returns a prompt that the world can read, and raises `PromptError` otherwise.

    It checks characters in every world, and tokens where the vocabulary is known: such worlds have small
    tokenizers.

    Args:
        world: name of the world, or its folder.
        config: configuration of that world.
    """
    limit, pieces = config.transformer.text_len, vocabulary_of(config.vocabulary).pieces

    @cache
    def reader() -> tuple[Tokenizer, Completion | None]:
        from longlive_env.engine.tokenizer import Tokenizer
        from longlive_env.engine.world_files import read_completion
        from longlive_env.engine.world_places import find

        folder = find(world)
        return Tokenizer.load(folder), read_completion(folder)

    def check(text: str) -> str:
        if is_short(text, pieces, limit) and (world in SHIPPED or not pieces):
            return text
        from longlive_env.envs.prompts import prompt_space  # torch loads here

        prompt_space(config).check(text)
        if pieces:
            tokenizer, completion = reader()
            whole = completion.complete(text) if completion else text
            tokenizer.check_length(whole, limit, config.name)
        return text

    return check


def is_short(text: str, pieces: frozenset[str], limit: int) -> bool:
    """Whether a prompt fits by a rough count, which needs no tokenizer and never counts too few tokens.

    Args:
        text: the prompt.
        pieces: words that are one token each; if there are none, each character counts as a token.
        limit: number of tokens that a world reads, the end token included.
    """
    if not all(map(is_allowed, text)):
        return False
    if not pieces:
        return len(text) < limit
    parts = text.lower().split()
    bare = [part.rstrip(_MARKS) for part in parts]
    marks = sum(map(len, parts)) - sum(map(len, bare))
    return len(parts) + marks < limit and pieces.issuperset(bare)
