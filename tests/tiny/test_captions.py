"""Captions say what a scene shows, in words the tokenizer knows."""

from dataclasses import replace

import numpy as np
import pytest

from longlive_env.envs.goals import parse_leniently
from longlive_env.errors import ConfigError
from longlive_env.tiny import captions
from longlive_env.tiny.captions import (
    HELD_OUT_TEMPLATES,
    PHRASES,
    TEMPLATES,
    TRAIN_TEMPLATES,
    caption,
    known_words,
    phrases_of,
    short_caption,
    vocabulary,
    words,
)
from longlive_env.tiny.scene import (
    ATTRIBUTES,
    Scene,
    change_one,
    completed,
    sample_scene,
    sample_usual,
)
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


def test_no_phrase_means_two_things() -> None:
    meanings: dict[str, tuple[str, str]] = {}
    for name in ATTRIBUTES:
        for value, phrases in phrases_of(name).items():
            for phrase in phrases:
                assert meanings.setdefault(phrase, (name, value)) == (name, value)


def test_short_captions_say_what_differs_and_leave_out_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(captions, "FILLERS", ("",))
    monkeypatch.setattr(captions, "NOUNS", ("",))
    monkeypatch.setattr(captions, "WALKS", ())  # which mean left or right by what is shown
    said = 0
    for number in range(400):
        rng = np.random.default_rng(number)
        before = sample_scene(rng) if number % 2 else None
        scene = change_one(before, str(rng.choice(list(ATTRIBUTES))), rng) if before else sample_usual(rng)
        text = short_caption(scene, rng, before)
        named = parse_leniently(text)
        assert (replace(before, **named) if before else completed(named)) == scene, text
        said += len(named)
        assert not before or len(named) == 1
    assert 1 < said / 400 < 3


def test_a_bare_walk_goes_right_unless_it_went_left() -> None:
    walking = Scene("cat", "orange", "meadow", "clear", "right")
    left = Scene("cat", "orange", "meadow", "clear", "left")
    bare = {word for word in captions.WALKS if word not in ("moves", "move")}
    first = [set(words(short_caption(walking, np.random.default_rng(seed)))) for seed in range(400)]
    turned = [set(words(short_caption(walking, np.random.default_rng(seed), left))) for seed in range(400)]
    assert any("right" not in text and text & bare for text in first)
    assert all("right" in text for text in turned)


def test_short_captions_hold_words_that_the_world_does_not_know() -> None:
    known = set(known_words())
    texts = [
        short_caption(sample_usual(rng), rng) for rng in (np.random.default_rng(seed) for seed in range(300))
    ]
    strange = sum(not {word for word in words(text) if word.isalnum()} <= known for text in texts)
    assert 0.1 < strange / len(texts) < 0.5
    assert all(texts)
