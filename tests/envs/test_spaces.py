"""The space of prompts: what belongs to it, its samples, and the Gymnasium tools that meet it."""

import copy
import pickle

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate
from hypothesis import given, settings
from hypothesis import strategies as st

from longlive_env.envs.spaces import PromptSpace
from longlive_env.envs.vocabulary import OPEN, VOCABULARIES, vocabulary_of
from longlive_env.errors import PromptError
from longlive_env.tiny import captions

SPACE = PromptSpace(60)


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "a red robot",
        "Émile joue – déjà",
        "一只红色的机器人",
        "قطة حمراء",
        "नमस्ते",
        "👩‍🚀 on the moon",
        "a\u00a0cat",
        "全角　空白",
        "x" * 60,
    ],
)
def test_any_printable_text_is_a_prompt(prompt: str) -> None:
    assert prompt in SPACE and SPACE.check(prompt) == prompt


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (3, r"the prompt is 3 \(int\); give a text"),
        (None, r"the prompt is None \(NoneType\)"),
        (b"cat", "bytes"),
        (np.array("cat"), "ndarray"),
        (["a cat"], "list"),
        ("x" * 61, "has 61 characters; the world takes at most 60"),
        ("a cat\nsits", r"control character U\+000A at position 5; replace it with a space"),
        ("a\tcat", r"U\+0009 at position 1"),
        ("\x00", r"U\+0000 at position 0"),
        ("cat\x7f", r"U\+007F"),
        ("\u202eevil", r"U\+202E"),
        ("\ud800", r"U\+D800"),
    ],
)
def test_what_is_no_prompt(prompt: object, message: str) -> None:
    assert prompt not in SPACE
    with pytest.raises(PromptError, match=message):
        SPACE.check(prompt)


@settings(max_examples=50)
@given(st.text(max_size=80))
def test_membership_is_what_the_character_set_says(text: str) -> None:
    assert (text in SPACE) == (len(text) <= 60 and set(text) <= SPACE.character_set)


def test_texts_of_numpy_become_plain_ones() -> None:
    assert type(SPACE.check(np.str_("a cat"))) is str


def test_repr_is_short() -> None:
    assert repr(SPACE) == "PromptSpace(max_length=60, vocabulary='tiny')"


def test_samples_are_prompts_of_the_world() -> None:
    space = PromptSpace(256, seed=1)
    samples = [space.sample() for _ in range(50)]
    assert len(set(samples)) > 45
    known = set(captions.vocabulary())
    for sample in samples:
        assert sample in space
        assert set(captions.words(sample)) <= known
        assert VOCABULARIES["tiny"].names_subject(sample) and VOCABULARIES["tiny"].names_setting(sample)


def test_worlds_of_any_words_share_the_open_vocabulary() -> None:
    assert vocabulary_of("") is OPEN
    space = PromptSpace(4096, vocabulary="", seed=1)
    for sample in (space.sample() for _ in range(50)):
        assert sample in space and OPEN.names_subject(sample) and OPEN.names_setting(sample)


def test_samples_repeat_with_the_seed() -> None:
    def samples(seed: int) -> list[str]:
        space = PromptSpace(256)
        space.seed(seed)
        return [space.sample() for _ in range(5)]

    assert samples(3) == samples(3) != samples(4)


@pytest.mark.parametrize("length", [0, 10, 50])
def test_samples_keep_to_the_length(length: int) -> None:
    space = PromptSpace(length, seed=1)
    assert all(space.sample() in space for _ in range(5))


def test_samples_take_no_mask() -> None:
    with pytest.raises(PromptError, match="sample without a mask"):
        SPACE.sample(mask=(None, None))  # type: ignore[arg-type]


def test_copies_and_pickles_are_equal_and_go_on_alike() -> None:
    space = PromptSpace(256, seed=5)
    for other in (copy.deepcopy(space), pickle.loads(pickle.dumps(space))):
        assert other == space and hash(other) == hash(space)
        assert other.sample() == copy.deepcopy(space).sample()
    assert len(pickle.dumps(space)) < 2000
    assert PromptSpace(60) != PromptSpace(61) and PromptSpace(60, vocabulary="") != PromptSpace(60)
    assert PromptSpace(60) != spaces.Text(60)


@settings(max_examples=50)
@given(st.text(st.characters(exclude_categories=("C",)), max_size=60))
def test_flattening_comes_back(text: str) -> None:
    assert spaces.utils.unflatten(SPACE, spaces.utils.flatten(SPACE, text)) == text
    assert spaces.utils.flatten(SPACE, text) in spaces.utils.flatten_space(SPACE)


def test_batches() -> None:
    batch = batch_space(SPACE, 3)
    assert batch.sample() in batch
    assert create_empty_array(SPACE, 2) == ("", "")
    assert concatenate(SPACE, ("a", "b"), create_empty_array(SPACE, 2)) == ("a", "b")
    assert list(iterate(batch, ("a", "b", ""))) == ["a", "b", ""]
