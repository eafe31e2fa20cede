"""New words of a trained world begin as words that it knows."""

from pathlib import Path

import pytest
import torch

from longlive_env.engine.tokenizer import Tokenizer, whole_word_tokenizer
from longlive_env.engine.world import World
from longlive_env.errors import ConfigError
from longlive_env.tiny.captions import vocabulary
from longlive_env.training.words import LIKE, main, with_words


@pytest.fixture
def older(small_world: World) -> World:
    """A world that knows two words."""
    encoder = small_world.text_encoding.model
    spec = whole_word_tokenizer(["jumps", "cat"])
    return World(small_world.config, small_world.transformer, small_world.codec, encoder, Tokenizer(spec))


def test_a_new_word_means_what_another_does(older: World) -> None:
    world = with_words(older, {"leap": "jumps", "cat": "jumps", "kitty": "cat"})
    assert world.tokenizer is not None and older.tokenizer is not None
    assert world.tokenizer.unknown_words("a cat jumps, leap kitty") == ["a"]
    assert older.tokenizer.unknown_words("leap") == ["leap"]
    for prompt in ("cat jumps", "jumps"):
        torch.testing.assert_close(world.encode_prompt([prompt]), older.encode_prompt([prompt]))
    texts = world.encode_prompt(["cat jumps", "kitty leap", "cat cat"])
    torch.testing.assert_close(texts[0], texts[1], rtol=0, atol=0)
    assert not torch.equal(texts[0], texts[2])


def test_words_that_cannot_be_added(older: World) -> None:
    with pytest.raises(ConfigError, match="'leap' should begin as 'hops', which the world does not know"):
        with_words(older, {"leap": "hops"})
    room = older.config.text_encoder.vocab_size
    with pytest.raises(ConfigError, match=rf"has {room} embeddings, and 9 are in use: .* do not fit"):
        with_words(older, {f"word{number}": "cat" for number in range(room)})
    encoderless = World(older.config, older.transformer, older.codec)
    with pytest.raises(ConfigError, match="has no text encoder"):
        with_words(encoderless)


def test_likes_are_words_of_captions() -> None:
    known = set(vocabulary())
    assert set(LIKE) <= known and set(LIKE.values()) <= known - set(LIKE)


def test_the_command_adds_what_the_world_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path / "world")]) == 0
    assert str(tmp_path) in capsys.readouterr().out
    assert Tokenizer.load(tmp_path / "world").unknown_words(" ".join(vocabulary())) == []


def test_the_command_refuses_what_is_no_world(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--start", str(tmp_path), "--out", str(tmp_path / "out")])
    assert str(tmp_path) in str(stopped.value) + capsys.readouterr().err
