"""Captions say what a scene shows, in words the tokenizer knows."""

import numpy as np
import pytest

from longlive_env.tiny.captions import (
    HELD_OUT_TEMPLATES,
    TEMPLATES,
    TRAIN_TEMPLATES,
    attribute_words,
    caption,
    plain_caption,
    vocabulary,
    words,
)
from longlive_env.tiny.scene import ATTRIBUTES, Scene, sample_scene
from longlive_env.training.world_model import tiny_tokenizer


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
            assert any(phrase in text for phrase in attribute_words(name)[scene.attribute(name)])


def test_the_tokenizer_knows_every_caption_and_it_fits() -> None:
    tokenizer = tiny_tokenizer()
    longest = 0
    for number in range(2000):
        rng = np.random.default_rng(number)
        text = caption(sample_scene(rng), rng, "held_out" if number % 2 else "train", plain=0.0)
        assert tokenizer.unknown_words(text) == []
        longest = max(longest, int(tokenizer([text], 64)[1].sum()))
    assert longest <= 48


def test_vocabulary_covers_captions() -> None:
    known = set(vocabulary())
    for number in range(300):
        rng = np.random.default_rng(number)
        assert set(words(caption(sample_scene(rng), rng))) <= known


def test_plain_caption() -> None:
    scene = Scene("robot", "orange", "moon", "night", "jump")
    assert plain_caption(scene) == "an orange robot jumps on the moon at night"
