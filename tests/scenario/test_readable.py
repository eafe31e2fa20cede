"""Prompts that a world cannot read: told without its weights, and as the world itself tells them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longlive_env import World
from longlive_env.engine.config import PRESETS
from longlive_env.engine.tokenizer import Tokenizer
from longlive_env.envs.prompts import checked_prompt
from longlive_env.envs.vocabulary import vocabulary_of
from longlive_env.errors import PromptError
from longlive_env.scenario import parse_scenario
from longlive_env.scenario.readable import check_prompts, is_short, prompt_check

WHOLE = "a red robot walks right through the city on a clear day"
PIECES = vocabulary_of("tiny").pieces
TOKENIZER = Tokenizer.load(Path(__file__).parents[2] / "longlive_env" / "assets" / "tiny")
TEXTS = st.lists(
    st.sampled_from(
        [*sorted(PIECES), ",", ".", ":", "city,", "City.", "sea:,", "red,blue", "it's", "zebra", "…"]
    ),
    max_size=24,
).map(" ".join)


@given(TEXTS, st.integers(4, 24))
def test_the_rough_count_is_never_too_small(text: str, limit: int) -> None:
    counted = int(TOKENIZER([text], 99)[1].sum())
    assert counted <= limit or not is_short(text, PIECES, limit)


def test_what_the_world_samples_needs_no_tokenizer() -> None:
    rng = np.random.default_rng(0)
    assert all(is_short(vocabulary_of("tiny").sample(rng), PIECES, 48) for _ in range(200))


@given(TEXTS.map(lambda text: f"{text} {text}"))
def test_the_tiny_world_says_the_same(small_world: World, small_world_folder: Path, text: str) -> None:
    def said(check: Callable[[str], str]) -> str:
        try:
            check(text)
        except PromptError as error:
            return str(error)
        return ""

    found = said(prompt_check(str(small_world_folder), small_world.config))
    assert found == said(lambda one: checked_prompt(small_world, one))


@pytest.mark.parametrize(
    ("world", "prompt", "message"),
    [
        ("tiny", f"{WHOLE}{', and' * 40}", "a.yaml:3: the prompt 'a red .* is longer than the 48 tokens"),
        ("tiny", r"a\u200Bcat", r"a.yaml:3: the prompt holds the control character U\+200B at position 1"),
        ("tiny", "x" * 2049, "a.yaml:3: the prompt has 2049 characters; the world takes at most 2048"),
        ("1.3b", r"a\acat", r"a.yaml:3: the prompt holds the control character U\+0007 at position 1"),
        ("1.3b", "x" * 4097, "a.yaml:3: the prompt has 4097 characters; the world takes at most 4096"),
    ],
)
def test_what_can_be_told_in_advance(world: str, prompt: str, message: str) -> None:
    scenario = parse_scenario(f'name: a\nduration: 2s\nprompt: "{prompt}"\nworld: {world}\n', "a.yaml")
    with pytest.raises(PromptError, match=message):
        check_prompts(scenario, PRESETS[world])


def test_the_tokens_of_the_published_world_are_left_to_its_own_tokenizer() -> None:
    prompt_check("1.3b", PRESETS["1.3b"])("x " * 1024)


@pytest.mark.parametrize("change", ['"a\\acat"', '{action: jumps, subject: "a\\acat"}'])
def test_keys_are_looked_at_too(change: str) -> None:
    text = f"name: a\nduration: 2s\nprompt: a cat\nkeys:\n  x: {change}\n"
    with pytest.raises(PromptError, match=r"a.yaml:5: the prompt holds the control character U\+0007"):
        check_prompts(parse_scenario(text, "a.yaml"), PRESETS["tiny"])
