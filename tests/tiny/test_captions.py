"""Captions say what a scene shows, in words the tokenizer knows."""

import numpy as np
import pytest

from longlive_env.errors import ConfigError
from longlive_env.tiny import captions
from longlive_env.tiny.captions import (
    HELD_OUT_TEMPLATES,
    PHRASES,
    TEMPLATES,
    TRAIN_TEMPLATES,
    caption,
    vocabulary,
    words,
)
from longlive_env.tiny.scene import ATTRIBUTES, sample_scene
from longlive_env.training.world_model import tiny_tokenizer

DRAWN = [  # with seeds 0, 1, 2
    "a violet snail goes to the right among the snowy peaks in the moonlight",
    "in thick fog, a blue chick moves left in front of a castle",
    "the golden snail stands still. we are in the city at night",
]


def test_every_value_has_phrases() -> None:
    assert {name: tuple(values) for name, values in PHRASES.items()} == ATTRIBUTES
    assert list(PHRASES) == list(ATTRIBUTES)  # the order in which a seed chooses words


def test_captions_of_seeds_are_those_that_the_shipped_weights_learned() -> None:
    drawn = [caption(sample_scene(rng), rng) for rng in map(np.random.default_rng, range(3))]
    assert drawn == DRAWN


def test_a_fifth_of_the_templates_is_held_out() -> None:
    assert len(HELD_OUT_TEMPLATES) / len(TEMPLATES) == pytest.approx(0.2)
    assert not set(HELD_OUT_TEMPLATES) & set(TRAIN_TEMPLATES)


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_every_attribute_is_named(split: str) -> None:
    for number in range(100):
        rng = np.random.default_rng(number)
        scene = sample_scene(rng)
        text = caption(scene, rng, split)
        for name in ATTRIBUTES:
            assert any(phrase in text for phrase in PHRASES[name][scene.attribute(name)])


def test_the_tokenizer_knows_every_caption_and_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captions, "PLAIN_SHARE", 0.0)
    tokenizer = tiny_tokenizer()
    longest = 0
    for number in range(2000):
        rng = np.random.default_rng(number)
        text = caption(sample_scene(rng), rng, "held_out" if number % 2 else "train")
        assert tokenizer.unknown_words(text) == []
        longest = max(longest, int(tokenizer([text], 64)[1].sum()))
    assert longest <= 48


def test_vocabulary_covers_captions() -> None:
    known = set(vocabulary())
    for number in range(300):
        rng = np.random.default_rng(number)
        assert set(words(caption(sample_scene(rng), rng))) <= known


def test_there_are_two_splits() -> None:
    with pytest.raises(ConfigError, match="split is 'test'; expected 'train' or 'held_out'"):
        caption(sample_scene(np.random.default_rng(0)), np.random.default_rng(0), "test")
